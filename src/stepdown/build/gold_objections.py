"""Whether gold may be evidence: it is about these calls, and what is declared a random sample looks like one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import confidences
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, SplitName
from stepdown.core.draw import Draw
from stepdown.build.job import Job
from stepdown.build.measure import Measured
from stepdown.stats.agreement import matches_beyond_chance
from stepdown.stats.selection import same_distribution, same_mean, same_ranks

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
class _Side:
    """Calls with the answers that every student gave to them."""

    examples: list[Example]
    said: list[list[Answer]]
    sure: list[NDArray[np.float64]]

    def part(self, kept: Callable[[Example], bool]) -> _Side:
        places = [place for place, one in enumerate(self.examples) if kept(one)]
        said = [[row[place] for place in places] for row in self.said]
        return _Side([self.examples[place] for place in places], said, [row[places] for row in self.sure])


def objection(job: Job, measured: Measured, draw: Draw) -> str:
    """Why nothing may be tested on this gold, in a sentence; "" where nothing speaks against it.

    Whether it is a random sample is asked only of what was declared, not drawn by stepdown. Labelled and other calls
    must not differ beyond chance in the incumbent's answers, nor in how often students that have learned from neither
    agree with the incumbent, nor in how sure they are. Calls whose answer cannot be read are left out on both sides:
    they are never tuned on.
    """
    if why := _by_company(job, measured):
        return why
    evidence, tune = (_side(measured, split).part(_is_answered) for split in ("certify", "tune"))
    if draw.scope == "judged":
        sample, others = evidence.part(lambda one: bool(one.gold_basis)), evidence.part(lambda one: one.gold is None)
    elif draw.scope in DECLARED:
        sample, others = evidence, tune
    else:
        return ""
    if not sample.examples or not others.examples:
        return ""
    why = _by_answers(job, sample, others) or _by_students(job, measured, sample, others)
    if not why:
        return ""
    return (
        f"The gold was declared a random sample, and is none: {why}. Let stepdown draw the calls: stepdown sample "
        f"{job.task.name}."
    )


def _by_company(job: Job, measured: Measured) -> str:
    """Why gold cannot be about these calls, in a sentence; "" where it may be.

    Gold of other calls makes everyone wrong alike, and so would certify anything. Where only calls are labelled on
    which a student differs from the incumbent, one of them is mostly right: gold that is neither's nearly everywhere,
    or one of theirs no more often than gold of other calls would be, is about something else.
    """
    certify = _side(measured, "certify").part(lambda one: one.gold is not None)
    rows = certify.examples
    if job.contract.against == "agreement" or job.reading.trusted or len(rows) < FEWEST_GOLD:
        return ""
    given = [{canonical_json(one.incumbent), *_said(certify, place)} for place, one in enumerate(rows)]
    golds = [canonical_json(one.gold) for one in rows]
    theirs = sum(gold in answers for gold, answers in zip(golds, given, strict=True))
    if len(rows) - theirs > MOST_ALONE * len(rows):
        found = f"{len(rows) - theirs:,} are neither the incumbent's nor any student's"
    elif (beyond := matches_beyond_chance(golds, given)) is not None and beyond < LEAST_BEYOND:
        found = f"{theirs:,} are the incumbent's or a student's, hardly more than chance brings"
    elif len(set(golds)) == 1 and theirs < MOST_ALONE * len(rows):
        found = f"all are the same, and only {theirs:,} are the incumbent's or a student's"
    else:
        return ""
    return (
        f"Of {len(rows):,} gold answers {found}. Such gold would make everyone wrong alike, and certify anything: "
        "check that it belongs to these calls. If it is right all the same, write trust_gold = true in stepdown.toml."
    )


def _said(side: _Side, place: int) -> list[bytes]:
    return [canonical_json(answers[place]) for answers in side.said]


def _side(measured: Measured, split: SplitName) -> _Side:
    answered = measured.answered[split]
    pairs = zip(measured.calibrators, answered.predictions, strict=False)
    sure = [confidences(calibrator, each.signals) for calibrator, each in pairs]
    return _Side(answered.examples, [each.answers for each in answered.predictions], sure)


def _is_answered(example: Example) -> bool:
    return example.incumbent is not None


def _by_answers(job: Job, sample: _Side, others: _Side) -> str:
    sides = [[str(job.family.slice_of(one.incumbent)) for one in side.examples] for side in (sample, others)]
    kinds = [*sides[0], *sides[1]]
    labelled = np.arange(len(kinds)) < len(sides[0])
    chance = same_distribution(labelled, kinds, np.random.default_rng(job.request.seed), PERMUTATIONS)
    if chance > BEYOND_CHANCE:
        return ""
    counts = [Counter(side) for side in sides]
    shares = {kind: tuple(count[kind] / count.total() for count in counts) for kind in counts[0] | counts[1]}
    furthest = sorted(shares, key=lambda kind: -abs(shares[kind][0] - shares[kind][1]))[:SHOWN]
    shown = ", ".join(f"{kind!r} {shares[kind][0]:.1%} to {shares[kind][1]:.1%}" for kind in furthest)
    return (
        f"the incumbent's answers on its {len(sides[0]):,} calls differ from those on {len(sides[1]):,} others beyond "
        f"chance (p = {chance:.2g}; {shown})"
    )


def _by_students(job: Job, measured: Measured, sample: _Side, others: _Side) -> str:
    generator, tests = np.random.default_rng(job.request.seed), 2 * len(measured.candidate_students)
    labelled = np.arange(len(sample.examples) + len(others.examples)) < len(sample.examples)
    counted = f"on its {len(sample.examples):,} calls", f"on {len(others.examples):,} others"
    for place, student_of_candidate in enumerate(measured.candidate_students):
        agrees = [np.array(_agreement(side, place), dtype=np.float64) for side in (sample, others)]
        chance = same_mean(labelled, np.concatenate(agrees)) * tests
        if chance <= BEYOND_CHANCE:
            shares = [f"{each.mean():.1%}" for each in agrees]
            what = f"{student_of_candidate.kind} gives the incumbent's answer in"
            return f"{counted[0]} {what} {shares[0]}, {counted[1]} in {shares[1]} (p = {chance:.2g})"
        sure = [side.sure[place] for side in (sample, others)]
        chance = same_ranks(labelled, np.concatenate(sure), generator, PERMUTATIONS * tests) * tests
        if chance <= BEYOND_CHANCE:
            means = [f"{each.mean():.1%}" for each in sure]
            return f"{counted[0]} {student_of_candidate.kind} is {means[0]} sure, {counted[1]} {means[1]} (p = {chance:.2g})"
    return ""


def _agreement(side: _Side, place: int) -> list[bool]:
    pairs = zip(side.said[place], side.examples, strict=True)
    return [canonical_json(answer) == canonical_json(one.incumbent) for answer, one in pairs]
