"""Risk against coverage: what the student gets wrong among the rows that it is surest of, the incumbent beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.estimates import Estimate
from stepdown.core.record import CurvePoint
from stepdown.evaluation.intervals import mean_loss, paired_mean

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def risk_coverage_curve(
    losses: ArrayLike,
    incumbent_losses: ArrayLike | None,
    confidences: ArrayLike,
    points: int = 25,
    threshold: float | None = None,
) -> tuple[CurvePoint, ...]:
    """Points by rising coverage for one student: rows are accepted where confidence ≥ each of the thresholds.

    losses, confidences: (n,). incumbent_losses: (n,) against gold, or None where the incumbent is the reference.
    threshold: the certified one, marked on the curve; above 1 (never used) it marks nothing. Rows of equal confidence
    are accepted together, so there may be fewer than `points`. Intervals hold for each point on its own.
    """
    sure = np.asarray(confidences, dtype=np.float64)
    lost, theirs = _paired(losses, incumbent_losses)
    if sure.shape != lost.shape:
        raise ValueError(f"Got {lost.size} losses and {sure.size} confidences; expected as many.")
    levels = np.sort(sure)[::-1]
    # The first point holds its share of the rows: the risk of a single row would be all or nothing.
    first = max(0, sure.size // max(1, points) - 1)
    steps = np.unique(np.linspace(first, sure.size - 1, min(points, sure.size)).round().astype(np.int64))
    # Rows of confidence 0 are never accepted: there the student says that it has no answer.
    thresholds = {float(levels[step]) for step in steps if levels[step] > 0.0}
    chosen = [threshold] if threshold is not None and threshold <= levels[0] else []
    masks = [(sure >= level, False) for level in thresholds] + [(sure >= level, True) for level in chosen]
    return _points(lost, theirs, masks)


def cascade_curve(
    losses: ArrayLike,
    incumbent_losses: ArrayLike | None,
    accepted: Sequence[Booleans],
    certified: int | None = None,
) -> tuple[CurvePoint, ...]:
    """Points for a cascade walked along its path: row losses (path, n) or (n,), and which rows each step accepts (n,).

    losses: of the cascade's own answer at each step; read only where accepted. certified: the chosen step's index.
    """
    table = np.atleast_2d(np.asarray(losses, dtype=np.float64))
    found: list[CurvePoint] = []
    for step, mask in enumerate(accepted):
        lost, theirs = _paired(table[step if len(table) > 1 else 0], incumbent_losses)
        found += _points(lost, theirs, [(mask, step == certified)])
    return tuple(sorted(found, key=lambda point: (point.coverage, point.certified)))


def _points(lost: Floats, theirs: Floats, masks: Sequence[tuple[Booleans, bool]]) -> tuple[CurvePoint, ...]:
    """One point per set of accepted rows; where two coincide, the certified one stays."""
    by_coverage: dict[float, CurvePoint] = {}
    for accepted, certified in masks:
        if accepted.any():
            by_coverage[float(accepted.mean())] = _point(lost, theirs, accepted, certified)
    return tuple(by_coverage[coverage] for coverage in sorted(by_coverage))


def _point(lost: Floats, theirs: Floats, accepted: Booleans, certified: bool) -> CurvePoint:
    excess: Estimate = paired_mean(np.where(accepted, lost - theirs, 0.0))
    return CurvePoint(
        coverage=float(accepted.mean()),
        risk=mean_loss(lost[accepted]),
        excess=excess,
        incumbent_risk=float(theirs[accepted].mean()),
        certified=certified,
    )


def _paired(losses: ArrayLike, incumbent_losses: ArrayLike | None) -> tuple[Floats, Floats]:
    lost = np.asarray(losses, dtype=np.float64)
    theirs = np.zeros_like(lost) if incumbent_losses is None else np.asarray(incumbent_losses, dtype=np.float64)
    if lost.shape != theirs.shape or lost.ndim != 1 or lost.size == 0:
        raise ValueError(f"Got losses of shapes {lost.shape} and {theirs.shape}; expected two equal, flat, not empty.")
    return lost, theirs
