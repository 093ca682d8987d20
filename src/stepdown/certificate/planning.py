"""The number of calls of a draw to test, and so to label: planned on tune, and journalled before labelling begins.

Planning only: a bad guess costs labels or a further look, never validity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.observations import Observations, outcome
from stepdown.core.contract import Contract
from stepdown.stats.betting import Bounds
from stepdown.stats.power import Goal, labels_for_betting, labels_for_paired
from stepdown.stats.unit_mean import unit_sums

POWER = 0.8
LEAST_ROWS = 200
COMPLETE = 0.95
"""The share of the rows that need a label from which a test is made; the rest counts as the worst case."""


@dataclass(frozen=True)
class Expected:
    """The expected result of a candidate, from tune, at the point where its walk will probably end.

    differs: the share of calls on which the answering rung differs from the incumbent. worse, better: the shares on
    which only the cascade and only the incumbent errs. size, size_square, square: of a unit, the mean number of calls,
    the mean of its square, and the mean square of the sum of differences; largest: the most calls that a unit has.
    """

    differs: float
    worse: float
    better: float
    size: float = 1.0
    size_square: float = 1.0
    square: float = 0.0
    largest: int = 1


def expect(candidate: Candidate, tune: Observations) -> Expected:
    """The expectation from tune. Without gold, student and incumbent are taken to be right equally often where they
    differ."""
    own = tune.students(
        [
            [candidate_student.artefact for candidate_student in tune.candidate_students].index(
                candidate_student.artefact
            )
            for candidate_student in candidate.candidate_students
        ]
    )
    own = own.rows(np.flatnonzero(own.labelled))
    last = candidate.points[-1 if candidate.hopeful is None else candidate.hopeful]
    result = outcome(own, candidate.confidences(own), last.thresholds)
    size = own.n + 1.0  # half a row on either side: tune is small
    differing = (result.rung >= 0) & (result.excess != 0.0)
    sums, sizes = unit_sums(differing.astype(np.float64), own.units)
    worse, better = (float(np.maximum(side, 0.0).sum() + 0.5) / size for side in (result.excess, -result.excess))
    expected = Expected(
        differs=worse,
        worse=worse / 2,
        better=worse / 2,
        size=float(sizes.mean()),
        size_square=float((sizes.astype(np.float64) ** 2).mean()),
        square=float((sums**2).sum() + 0.5) / (sums.size + 1.0),
        largest=int(sizes.max()),
    )
    if own.reference == "agreement":
        return expected
    differs = max(float(differing.sum() + 0.5) / size, worse + better)
    return replace(expected, differs=differs, worse=worse, better=better)


def rows_to_test(expected: Expected, contract: Contract, error: float, graded: bool) -> int | None:
    """The number of calls that show the margin with power 0.8; None where no number would."""
    goal = Goal(margin=contract.margin, error=error, power=POWER)
    if expected.largest > 1:
        return rows_of_units(_of_unit(expected, contract.margin), expected.size, expected.largest, goal)
    if graded:
        mean = expected.worse - expected.better
        return labels_for_betting(mean, expected.worse + expected.better, goal)
    return labels_for_paired(expected.worse, expected.better, goal)


def _of_unit(expected: Expected, margin: float) -> tuple[float, float]:
    """Mean and variance of a unit's contribution: its excess less the margin for each of its calls."""
    mean = (expected.worse - expected.better - margin) * expected.size
    spread = margin**2 * max(expected.size_square - expected.size**2, 0.0)
    return mean, expected.square + spread


def rows_of_units(moments: tuple[float, float], size: float, largest: int, goal: Goal) -> int | None:
    """How many calls, in whole units of `size` calls on average, the test that bets once a unit takes; None where no
    number would do. moments: mean and variance of a unit's excess less the margin for each of its calls."""
    bounds = Bounds(-largest * (1.0 + goal.margin), largest * (1.0 - goal.margin))
    wanted = labels_for_betting(*moments, replace(goal, margin=0.0), bounds)
    return None if wanted is None else math.ceil(wanted * size)


def rows_for_labels(expected: Expected, labels: int) -> int:
    """The number of calls to draw so that about `labels` of them need a label."""
    return max(1, round(labels / max(expected.differs, 1e-4)))


def whole_units_up_to(units: tuple[str, ...], rows: int) -> int:
    """The least number of rows, at least `rows`, that ends with a whole unit; units in the order of the draw."""
    end = min(max(rows, 0), len(units))
    while 0 < end < len(units) and units[end] == units[end - 1]:
        end += 1
    return end
