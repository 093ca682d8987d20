"""From a student's raw signals to its probability of being right, fitted on tune only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepdown.certificate.observations import Floats, Observations
from stepdown.core.cascade import Confidence
from stepdown.core.contract import Evidence as Reference
from stepdown.core.errors import NotEnoughData
from stepdown.stats.calibration import Calibrator, fit_calibrator

ENOUGH_GOLD = 100
"""Rows of tune with gold from which a logistic fit to gold is steadier than a fit to the incumbent's answers."""


def choose_reference(gold_rows: int, rows: int) -> Reference:
    """What to calibrate and plan against on tune: gold where there is enough of it, else the incumbent's answers."""
    return "gold" if gold_rows >= min(ENOUGH_GOLD, max(rows, 1)) else "agreement"


def fit_confidence(signals: Floats, loss: Floats, reference: str) -> dict[str, Any]:
    """A calibrator as plain numbers, from signals (n, k) and losses (n,), for `core.cascade.Rung.calibrator`.

    Platt's logistic fit on the standardised signals: smooth, so that thresholds can be set anywhere. Rows without a
    loss (NaN) are left out. `reference` and the number of rows are recorded with it. Raises NotEnoughData without rows.
    """
    known = ~np.isnan(loss)
    if not known.any():
        raise NotEnoughData(
            "The tune split has no row with a reference answer.",
            "Calibrating a student takes at least one, and about a hundred to be of use.",
            "Import more traffic, or gold for it.",
        )
    fitted = fit_calibrator(signals[known], 1.0 - loss[known]).to_dict()
    return {**fitted, "reference": reference, "rows": int(known.sum())}


def open_confidence(calibrator: Mapping[str, Any]) -> Confidence:
    """The calibrator of a rung as a function of one answer's signals, for serving: about a microsecond a call.

    Raises ValueError when the numbers are not a calibrator's.
    """
    return Calibrator.from_dict(calibrator).probability


def confidences(calibrator: Mapping[str, Any], signals: Floats) -> Floats:
    """Probabilities of being right (n,) from signals (n, k)."""
    return Calibrator.from_dict(calibrator).probabilities(signals)


def fit_all(seen: Observations) -> tuple[dict[str, Any], ...]:
    """A calibrator for every student of tune's observations."""
    pairs = zip(seen.signals, seen.losses, strict=True)
    return tuple(fit_confidence(signals, loss, seen.reference) for signals, loss in pairs)


def all_confidences(calibrators: Sequence[Mapping[str, Any]], seen: Observations) -> Floats:
    """Confidences (s, n) of every student on the rows seen."""
    rows = [confidences(each, signals) for each, signals in zip(calibrators, seen.signals, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, seen.n))
