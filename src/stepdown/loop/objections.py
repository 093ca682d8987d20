"""Whether rows that somebody else declares to be a random sample look like one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, SplitName
from stepdown.core.draw import Draw
from stepdown.loop.job import Job
from stepdown.loop.measuring import Measured
from stepdown.stats.selection import same_distribution, same_mean

DECLARED = ("random-sample", "split-column")
BEYOND_CHANCE = 0.001
"""Each look at whether labelled calls are like the others errs with this chance."""

PERMUTATIONS = 1999
SHOWN = 3


@dataclass(frozen=True)
class _Side:
    """Calls with the answers that every student gave to them."""

    examples: list[Example]
    said: list[list[Answer]]

    def part(self, kept: Callable[[Example], bool]) -> _Side:
        places = [place for place, one in enumerate(self.examples) if kept(one)]
        return _Side(
            [self.examples[place] for place in places], [[row[place] for place in places] for row in self.said]
        )


def objection(job: Job, measured: Measured, draw: Draw) -> str:
    """Why the labelled calls are no random sample, in a sentence; "" where nothing speaks against it.

    Only of what was declared, not drawn by stepdown. Labelled and other calls must not differ beyond chance in the
    incumbent's answers, nor in how often students that have learned from neither agree with the incumbent. Calls whose
    answer cannot be read are left out on both sides: they are never tuned on.
    """
    evidence, tune = (_side(measured, split).part(_is_answered) for split in ("certify", "tune"))
    if draw.scope == "judged":
        sample, others = evidence.part(lambda one: bool(one.gold_basis)), evidence.part(lambda one: one.gold is None)
    elif draw.scope in DECLARED and not any(one.gold is not None for one in tune.examples):
        sample, others = evidence, tune
    else:
        return ""
    if not sample.examples or not others.examples:
        return ""
    why = _by_answers(job, sample, others) or _by_agreement(measured, sample, others)
    if not why:
        return ""
    return (
        f"The gold was declared a random sample, and is none: {why}. Let stepdown draw the calls: stepdown sample "
        f"{job.task.name}."
    )


def _side(measured: Measured, split: SplitName) -> _Side:
    answered = measured.answered[split]
    return _Side(answered.examples, [each.answers for each in answered.predictions])


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


def _by_agreement(measured: Measured, sample: _Side, others: _Side) -> str:
    for place, entrant in enumerate(measured.entrants):
        sides = [
            [
                canonical_json(answer) == canonical_json(one.incumbent)
                for answer, one in zip(side.said[place], side.examples, strict=True)
            ]
            for side in (sample, others)
        ]
        agrees = np.array([*sides[0], *sides[1]], dtype=np.float64)
        chance = same_mean(np.arange(agrees.size) < len(sides[0]), agrees) * len(measured.entrants)
        if chance <= BEYOND_CHANCE:
            return (
                f"on its {len(sides[0]):,} calls {entrant.kind} gives the incumbent's answer in "
                f"{np.mean(sides[0]):.1%}, on {len(sides[1]):,} others in {np.mean(sides[1]):.1%} (p = {chance:.2g})"
            )
    return ""
