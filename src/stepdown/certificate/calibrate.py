"""From a student's raw signals to its probability of being right, fitted on tune only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.calibrator import Calibrator
from stepdown.core.contract import Evidence as Reference
from stepdown.core.errors import NotEnoughData
from stepdown.runtime.cascade import ABSTAINS
from stepdown.stats.calibration import fit_calibrator

Floats = NDArray[np.float64]

ENOUGH_GOLD = 100
"""Rows of tune with gold from which a logistic fit to gold is steadier than a fit to the incumbent's answers."""


def choose_reference(gold_rows: int, rows: int) -> Reference:
    """The reference to calibrate against on tune: gold where there is enough of it, else agreement."""
    return "gold" if gold_rows >= min(ENOUGH_GOLD, max(rows, 1)) else "agreement"


def fit_confidence(signals: Floats, loss: Floats, reference: str, names: Sequence[str] = ()) -> dict[str, Any]:
    """A calibrator as plain numbers, from signals (n, k) and losses (n,), for `core.cascade.Rung.calibrator`.

    Platt's logistic fit on the standardised signals: smooth, so that thresholds can be set anywhere. Rows without a
    loss (NaN) are left out. `reference` and the number of rows are recorded with it. Raises NotEnoughData without rows.

    names: of the signals. Where one is "abstains", the student itself says when it has no answer: those rows are not
    fitted to, and their confidence is 0.
    """
    known = ~np.isnan(loss)
    if not known.any():
        raise NotEnoughData(
            "The tune split has no row with a reference answer.",
            "Calibrating a student takes at least one, and about a hundred to be of use.",
            "Import more traffic, or gold for it.",
        )
    gate = {ABSTAINS: list(names).index(ABSTAINS)} if ABSTAINS in names else {}
    answered = known & ~_abstaining(gate, signals)
    fitted_to = answered if answered.any() else known
    fitted = fit_calibrator(signals[fitted_to], 1.0 - loss[fitted_to]).to_dict()
    return {**fitted, **gate, "reference": reference, "rows": int(fitted_to.sum())}


def confidences(calibrator: Mapping[str, Any], signals: Floats) -> Floats:
    """Probabilities of being right (n,) from signals (n, k)."""
    fitted = Calibrator.from_dict(calibrator).probabilities(signals)
    return np.where(_abstaining(calibrator, signals), 0.0, fitted)


def _abstaining(calibrator: Mapping[str, Any], signals: Floats) -> NDArray[np.bool_]:
    """Which rows (n,) the student abstains on."""
    if ABSTAINS not in calibrator:
        return np.zeros(len(signals), dtype=bool)
    abstains: NDArray[np.bool_] = signals[:, int(calibrator[ABSTAINS])] >= 0.5
    return abstains
