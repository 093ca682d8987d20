"""Whether rows that somebody else declares to be a random sample look like one."""

from __future__ import annotations

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Dataset, Example
from stepdown.core.draw import Draw
from stepdown.loop.job import Job
from stepdown.loop.measuring import Measured
from stepdown.stats.selection import same_distribution, same_mean

DECLARED = ("random-sample", "split-column")
BEYOND_CHANCE = 0.001
"""Each look at whether labelled calls are like the others errs with this chance."""

PERMUTATIONS = 1999
SHOWN = 3


def objection(job: Job, dataset: Dataset, measured: Measured, draw: Draw) -> str:
    """Why the labelled calls are no random sample, in a sentence; "" where nothing speaks against it.

    Only of what was declared, not drawn by stepdown. Labelled and other calls must not differ beyond chance in the
    incumbent's answers, nor in how often students that have seen neither agree with the incumbent.
    """
    if draw.scope not in DECLARED:
        return ""
    sample = dataset.split("certify")
    others = [one for one in dataset.examples if one.split != "certify" and one.gold is None]
    others = others or [one for one in dataset.examples if one.split != "certify"]
    return _by_answers(job, sample, others) or _by_agreement(job, measured)


def _by_answers(job: Job, sample: list[Example], others: list[Example]) -> str:
    rows = [*sample, *others]
    if not sample or not others:
        return ""
    kinds = ["" if one.incumbent is None else str(job.family.slice_of(one.incumbent)) for one in rows]
    labelled = np.arange(len(rows)) < len(sample)
    chance = same_distribution(labelled, kinds, np.random.default_rng(job.request.seed), PERMUTATIONS)
    if chance > BEYOND_CHANCE:
        return ""
    shares = {
        kind: (
            sum(one == kind for one in kinds[: len(sample)]) / len(sample),
            sum(one == kind for one in kinds[len(sample) :]) / len(others),
        )
        for kind in set(kinds)
    }
    furthest = sorted(shares, key=lambda kind: -abs(shares[kind][0] - shares[kind][1]))[:SHOWN]
    shown = ", ".join(f"{kind!r} {shares[kind][0]:.1%} to {shares[kind][1]:.1%}" for kind in furthest)
    return (
        f"The gold was declared a random sample, and is none: the incumbent's answers on its {len(sample):,} calls "
        f"differ from those on {len(others):,} others beyond chance (p = {chance:.2g}; {shown}). Let stepdown draw "
        f"the calls: stepdown sample {job.task.name}."
    )


def _by_agreement(job: Job, measured: Measured) -> str:
    """Against tune, whose rows no student has learned from and which has none of this gold."""
    drawn, tune = measured.answered["certify"], measured.answered["tune"]
    if not drawn.examples or not tune.examples or any(one.gold is not None for one in tune.examples):
        return ""
    for place, entrant in enumerate(measured.entrants):
        sides = []
        for answered in (drawn, tune):
            pairs = zip(answered.predictions[place].answers, answered.examples, strict=True)
            sides.append([canonical_json(answer) == canonical_json(one.incumbent) for answer, one in pairs])
        labelled = np.arange(len(sides[0]) + len(sides[1])) < len(sides[0])
        agrees = np.array([*sides[0], *sides[1]], dtype=np.float64)
        chance = same_mean(labelled, agrees) * len(measured.entrants)
        if chance <= BEYOND_CHANCE:
            return (
                f"The gold was declared a random sample, and is none: on its {len(sides[0]):,} calls {entrant.kind} "
                f"gives the incumbent's answer in {np.mean(sides[0]):.1%}, on {len(sides[1]):,} other calls in "
                f"{np.mean(sides[1]):.1%} (p = {chance:.2g}). Let stepdown draw the calls: stepdown sample "
                f"{job.task.name}."
            )
    return ""
