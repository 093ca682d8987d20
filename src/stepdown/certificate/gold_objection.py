"""Objections to gold as evidence: it is about other calls, or a declared random sample is not one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import confidences
from stepdown.certificate.observations import CandidateStudent
from stepdown.certificate.split_answers import SplitAnswers
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, SplitName
from stepdown.core.draw import Scope
from stepdown.stats.label_checks import matches_beyond_chance, same_distribution, same_mean, same_ranks

DECLARED = ("random-sample", "split-column")
BEYOND_CHANCE = 0.001
"""Each look at whether labelled calls are like the others errs with this chance."""

PERMUTATIONS = 1999
SHOWN = 3
FEWEST_GOLD = 10
LEAST_BEYOND = 0.2
"""How often gold must be the incumbent's answer or a student's, from 0 for as often as by chance to 1 for always."""

MOST_ALONE = 0.9
"""The share of gold answers that may be neither the incumbent's nor any student's. Where only calls are labelled on
which these differ, a hard task has half of them or so."""


@dataclass(frozen=True)
class GoldToCheck:
    """The splits *tune* and *certify* as every student answered them, and how gold is to be read.

    calibrators: one for each student, fitted on tune. slice_of: the kind of an answer. checks_relevance: whether gold
    may be refused as being about other calls.
    """

    task: str
    answered: Mapping[SplitName, SplitAnswers]
    students: Sequence[CandidateStudent]
    calibrators: Sequence[Mapping[str, Any]]
    slice_of: Callable[[Answer], str]
    checks_relevance: bool
    seed: int


@dataclass(frozen=True)
class _Rows:
    """Calls with each student's answers to them, and its confidences."""

    examples: list[Example]
    answers: list[list[Answer]]
    confidences: list[NDArray[np.float64]]

    def where(self, keeps: Callable[[Example], bool]) -> _Rows:
        places = [place for place, example in enumerate(self.examples) if keeps(example)]
        answers = [[column[place] for place in places] for column in self.answers]
        return _Rows(
            [self.examples[place] for place in places], answers, [column[places] for column in self.confidences]
        )


def objection(gold: GoldToCheck, scope: Scope) -> str:
    """Why nothing may be tested on this gold, in a sentence; "" where nothing speaks against it.

    Whether gold is a random sample is checked only where that was declared: `scope`, of the draw. Labelled and other
    calls must not differ beyond chance in the incumbent's answers, nor in how often students that have learned from
    neither agree with the incumbent, nor in how sure they are. Calls whose answer cannot be read are left out on both
    sides: they are never tuned on.
    """
    if reason := _by_relevance(gold):
        return reason
    evidence, tune = (_rows(gold, split).where(lambda row: row.incumbent is not None) for split in ("certify", "tune"))
    if scope == "judged":
        sample, rest = evidence.where(lambda row: bool(row.gold_basis)), evidence.where(lambda row: row.gold is None)
    elif scope in DECLARED:
        sample, rest = evidence, tune
    else:
        return ""
    if not sample.examples or not rest.examples:
        return ""
    reason = _by_answers(gold, sample, rest) or _by_students(gold, sample, rest)
    if not reason:
        return ""
    return (
        f"The gold was declared a random sample, and is none: {reason}. Let stepdown draw the calls: stepdown sample "
        f"{gold.task}."
    )


def _by_relevance(gold: GoldToCheck) -> str:
    """Why gold cannot be about these calls, in a sentence; "" where it may be.

    Gold of other calls makes every answer wrong alike, and so would certify anything. Where only calls are labelled on
    which a student differs from the incumbent, one of them is mostly right: gold that is neither's nearly everywhere,
    or one of theirs no more often than gold of other calls would be, is about something else.
    """
    certify = _rows(gold, "certify").where(lambda row: row.gold is not None)
    rows = certify.examples
    if not gold.checks_relevance or len(rows) < FEWEST_GOLD:
        return ""
    answers = [
        {canonical_json(row.incumbent), *(canonical_json(column[place]) for column in certify.answers)}
        for place, row in enumerate(rows)
    ]
    labels = [canonical_json(row.gold) for row in rows]
    matches = sum(label in row for label, row in zip(labels, answers, strict=True))
    if len(rows) - matches > MOST_ALONE * len(rows):
        finding = f"{len(rows) - matches:,} are neither the incumbent's nor any student's"
    elif (beyond := matches_beyond_chance(labels, answers)) is not None and beyond < LEAST_BEYOND:
        finding = f"{matches:,} are the incumbent's or a student's, hardly more than chance brings"
    elif len(set(labels)) == 1 and matches < MOST_ALONE * len(rows):
        finding = f"all are the same, and only {matches:,} are the incumbent's or a student's"
    else:
        return ""
    return (
        f"Of {len(rows):,} gold answers {finding}. Such gold would make every answer wrong alike, and certify "
        "anything: check that it belongs to these calls. If it is right all the same, write trust_gold = true in "
        "stepdown.toml."
    )


def _rows(gold: GoldToCheck, split: SplitName) -> _Rows:
    predictions = gold.answered[split].predictions
    pairs = zip(gold.calibrators, predictions, strict=False)
    sure = [confidences(calibrator, column.signals) for calibrator, column in pairs]
    return _Rows(gold.answered[split].examples, [column.answers for column in predictions], sure)


def _by_answers(gold: GoldToCheck, sample: _Rows, rest: _Rows) -> str:
    sides = [[str(gold.slice_of(row.incumbent)) for row in side.examples] for side in (sample, rest)]
    kinds = [*sides[0], *sides[1]]
    labelled = np.arange(len(kinds)) < len(sides[0])
    chance = same_distribution(labelled, kinds, np.random.default_rng(gold.seed), PERMUTATIONS)
    if chance > BEYOND_CHANCE:
        return ""
    counts = [Counter(side) for side in sides]
    shares = {kind: tuple(count[kind] / count.total() for count in counts) for kind in counts[0] | counts[1]}
    furthest = sorted(shares, key=lambda kind: -abs(shares[kind][0] - shares[kind][1]))[:SHOWN]
    examples = ", ".join(f"{kind!r} {shares[kind][0]:.1%} to {shares[kind][1]:.1%}" for kind in furthest)
    return (
        f"the incumbent's answers on its {len(sides[0]):,} calls differ from those on {len(sides[1]):,} others beyond "
        f"chance (p = {chance:.2g}; {examples})"
    )


def _by_students(gold: GoldToCheck, sample: _Rows, rest: _Rows) -> str:
    generator, tests = np.random.default_rng(gold.seed), 2 * len(gold.students)
    labelled = np.arange(len(sample.examples) + len(rest.examples)) < len(sample.examples)
    counted = f"on its {len(sample.examples):,} calls", f"on {len(rest.examples):,} others"
    for place, student in enumerate(gold.students):
        agrees = [np.array(_agreement(side, place), dtype=np.float64) for side in (sample, rest)]
        chance = same_mean(labelled, np.concatenate(agrees)) * tests
        if chance <= BEYOND_CHANCE:
            shares = [f"{side.mean():.1%}" for side in agrees]
            claim = f"{student.kind} gives the incumbent's answer in"
            return f"{counted[0]} {claim} {shares[0]}, {counted[1]} in {shares[1]} (p = {chance:.2g})"
        sure = [side.confidences[place] for side in (sample, rest)]
        chance = same_ranks(labelled, np.concatenate(sure), generator, PERMUTATIONS * tests) * tests
        if chance <= BEYOND_CHANCE:
            means = [f"{side.mean():.1%}" for side in sure]
            return f"{counted[0]} {student.kind} is {means[0]} sure, {counted[1]} {means[1]} (p = {chance:.2g})"
    return ""


def _agreement(side: _Rows, place: int) -> list[bool]:
    pairs = zip(side.answers[place], side.examples, strict=True)
    return [canonical_json(answer) == canonical_json(example.incumbent) for answer, example in pairs]
