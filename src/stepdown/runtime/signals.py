"""Raw signals of being right, from a student's logits: what the certificate's calibration is fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.students import Predictions

SIGNALS = ("top", "margin", "entropy", "energy")
"""top: the highest probability. margin: how far it is above the second. entropy: as a share of log(labels).
energy: log-sum-exp of the logits; low for inputs like nothing that was learned (Liu et al. 2020, Energy-based
out-of-distribution detection), which the probabilities alone cannot tell."""

FloatArray = NDArray[np.float32]


def softmax(logits: FloatArray) -> NDArray[np.float64]:
    """Probabilities (n, labels), float64, rows that sum to 1. Safe for any finite logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def logit_signals(logits: FloatArray) -> NDArray[np.float64]:
    """SIGNALS for (n, labels) logits with at least two labels: float (n, 4)."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    exponents = np.exp(wide - top[:, None])
    total = exponents.sum(axis=1)
    second = -np.partition(-wide, 1, axis=1)[:, 1]
    # entropy = log Z − Σ p·z, with z counted from the top logit.
    entropy = np.log(total) - (exponents * (wide - top[:, None])).sum(axis=1) / total
    columns = (
        1.0 / total,
        (1.0 - np.exp(second - top)) / total,
        np.maximum(entropy, 0.0) / log(wide.shape[1]),
        top + np.log(total),
    )
    return np.stack(columns, axis=1)


def label_predictions(labels: Sequence[str], logits: FloatArray, *more: ArrayLike) -> Predictions:
    """The most likely label of each row of logits (n, labels), with probabilities and signals: SIGNALS, then `more`
    columns."""
    answers = [labels[best] for best in logits.argmax(axis=1).tolist()]
    return Predictions(answers, np.column_stack([logit_signals(logits), *more]), softmax(logits))


def one_answer(logits: FloatArray) -> tuple[int, float, float, float, float]:
    """The best label and its SIGNALS for one row of logits (labels,). The hot path: few numpy calls, then floats."""
    best = int(logits.argmax())
    top = float(logits[best])
    shifted = logits - logits[best]
    exponents = np.exp(shifted)
    total = float(exponents.sum())
    weighted = float(exponents.dot(shifted))
    exponents[best] = 0.0
    second = float(exponents.max())
    entropy = max(0.0, log(total) - weighted / total) / log(len(logits))
    return best, 1.0 / total, (1.0 - second) / total, entropy, top + log(total)
