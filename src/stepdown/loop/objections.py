"""Whether gold may be evidence: it is answers of the task, and what is declared a random sample looks like one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import confidences
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, SplitName
from stepdown.core.draw import Draw
from stepdown.loop.job import Job
from stepdown.loop.measuring import Measured
from stepdown.stats.selection import same_distribution, same_mean, same_ranks

DECLARED = ("random-sample", "split-column")
BEYOND_CHANCE = 0.001
"""Each look at whether labelled calls are like the others errs with this chance."""

PERMUTATIONS = 1999
SHOWN = 3
FEWEST_GOLD = 20
MOST_STRANGE = 0.05
"""The share of gold answers that may be labels which the incumbent never gives: it may miss some labels wholly."""

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
    if why := _by_spelling(job, measured):
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


def _by_spelling(job: Job, measured: Measured) -> str:
    """Why gold cannot be answers of this task, in a sentence; "" where it may be.

    Gold in another spelling makes everyone wrong alike, and so would certify anything. Labels must be such as the
    incumbent gives; and gold that is neither the incumbent's answer nor any student's nearly everywhere is about
    something else.
    """
    certify = _side(measured, "certify").part(lambda one: one.gold is not None)
    rows = certify.examples
    if job.contract.against == "agreement" or len(rows) < FEWEST_GOLD:
        return ""
    known = _labels_known(measured)
    strange = Counter(str(one.gold) for one in rows if is_strange(one, known))
    if strange.total() > MOST_STRANGE * len(rows):
        return (
            f"Of {len(rows):,} gold answers {strange.total():,} are none that anybody ever gave ({_shown(strange)}; "
            f"the incumbent gives {_shown(known)}). Gold in another spelling makes everyone wrong alike, and would "
            "certify anything: write it as the answers are written, and import it again."
        )
    answers = [{canonical_json(one.incumbent), *_said(certify, place)} for place, one in enumerate(rows)]
    alone = sum(canonical_json(one.gold) not in given for one, given in zip(rows, answers, strict=True))
    if alone > MOST_ALONE * len(rows):
        return (
            f"Of {len(rows):,} gold answers {alone:,} are neither the incumbent's nor any student's. Such gold would "
            "make everyone wrong alike, and certify anything: check that it belongs to these calls."
        )
    return ""


def without_strange(measured: Measured, examples: list[Example]) -> list[Example]:
    """The rows, less the gold of those whose label nobody ever gave: such a row counts as the worst case."""
    known = _labels_known(measured)
    return [msgspec.structs.replace(one, gold=None) if is_strange(one, known) else one for one in examples]


def is_strange(example: Example, known: Counter[str]) -> bool:
    """Whether a row's gold is a label that neither the incumbent nor a student ever gave."""
    return isinstance(example.gold, str) and bool(known) and example.gold not in known


def _labels_known(measured: Measured) -> Counter[str]:
    known: Counter[str] = Counter()
    for answered in measured.answered.values():
        known.update(one.incumbent for one in answered.examples if isinstance(one.incumbent, str))
        for predictions in answered.predictions:
            known.update(dict.fromkeys((each for each in predictions.answers if isinstance(each, str)), 1))
    return known


def _said(side: _Side, place: int) -> list[bytes]:
    return [canonical_json(answers[place]) for answers in side.said]


def _shown(counts: Counter[str]) -> str:
    return ", ".join(repr(name) for name, _ in counts.most_common(SHOWN))


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
    generator, tests = np.random.default_rng(job.request.seed), 2 * len(measured.entrants)
    labelled = np.arange(len(sample.examples) + len(others.examples)) < len(sample.examples)
    counted = f"on its {len(sample.examples):,} calls", f"on {len(others.examples):,} others"
    for place, entrant in enumerate(measured.entrants):
        agrees = [np.array(_agreement(side, place), dtype=np.float64) for side in (sample, others)]
        chance = same_mean(labelled, np.concatenate(agrees)) * tests
        if chance <= BEYOND_CHANCE:
            shares = [f"{each.mean():.1%}" for each in agrees]
            what = f"{entrant.kind} gives the incumbent's answer in"
            return f"{counted[0]} {what} {shares[0]}, {counted[1]} in {shares[1]} (p = {chance:.2g})"
        sure = [side.sure[place] for side in (sample, others)]
        chance = same_ranks(labelled, np.concatenate(sure), generator, PERMUTATIONS * tests) * tests
        if chance <= BEYOND_CHANCE:
            means = [f"{each.mean():.1%}" for each in sure]
            return f"{counted[0]} {entrant.kind} is {means[0]} sure, {counted[1]} {means[1]} (p = {chance:.2g})"
    return ""


def _agreement(side: _Side, place: int) -> list[bool]:
    pairs = zip(side.said[place], side.examples, strict=True)
    return [canonical_json(answer) == canonical_json(one.incumbent) for answer, one in pairs]
