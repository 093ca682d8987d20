"""How many calls of a draw to test, and so to label, planned on tune and entered in the journal before anyone labels.

Planning only: a bad guess costs labels or a further look, never validity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.observations import Observations, outcome
from stepdown.core.contract import Contract
from stepdown.stats.power import Goal, labels_for_betting, labels_for_paired

POWER = 0.8
LEAST_ROWS = 200
COMPLETE = 0.95
"""The share of the rows that need a label from which a test is made; the rest counts as the worst case."""


@dataclass(frozen=True)
class Expected:
    """What tune says of a candidate at the point where its walk will probably end.

    differs: the share of calls on which the answering rung differs from the incumbent. worse, better: the shares on
    which only the cascade and only the incumbent errs.
    """

    differs: float
    worse: float
    better: float


def expect(candidate: Candidate, tune: Observations) -> Expected:
    """Read off tune; where tune has no gold, either is taken to be right as often as the other where they differ."""
    own = tune.students([[each.artefact for each in tune.entrants].index(one.artefact) for one in candidate.entrants])
    own = own.rows(np.flatnonzero(own.labelled))
    last = candidate.points[-1 if candidate.hopeful is None else candidate.hopeful]
    found = outcome(own, candidate.confidences(own), last.thresholds)
    size = own.n + 1.0  # half a row on either side: tune is small
    worse, better = (float(np.maximum(side, 0.0).sum() + 0.5) / size for side in (found.excess, -found.excess))
    if own.reference == "agreement":
        return Expected(worse, worse / 2, worse / 2)
    differs = (found.rung >= 0) & (found.excess != 0.0)
    return Expected(max(float(differs.sum() + 0.5) / size, worse + better), worse, better)


def rows_to_test(expected: Expected, contract: Contract, error: float, graded: bool) -> int | None:
    """How many calls show the margin with chance 0.8, None where no number would."""
    goal = Goal(margin=contract.margin, error=error, power=POWER)
    if graded:
        mean = expected.worse - expected.better
        return labels_for_betting(mean, expected.worse + expected.better, goal)
    return labels_for_paired(expected.worse, expected.better, goal)


def rows_for_labels(expected: Expected, labels: int) -> int:
    """How many calls to draw for about so many that need a label."""
    return max(1, round(labels / max(expected.differs, 1e-4)))


def whole_units_up_to(units: tuple[str, ...], rows: int) -> int:
    """The least number of rows, at least `rows`, that ends with a whole unit; units in the order of the draw."""
    end = min(max(rows, 0), len(units))
    while 0 < end < len(units) and units[end] == units[end - 1]:
        end += 1
    return end
