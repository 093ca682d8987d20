"""A fitted calibrator: a student's raw signals to its probability of being right. `stats/calibration.py` fits it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibrator:
    """A fitted map from signals to a probability: plain floats only, cheap to keep, to send and to apply."""

    weights: tuple[float, ...]
    bias: float
    squash: bool
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def probability(self, signals: Sequence[float]) -> float:
        """Probability for one request, in plain Python: a microsecond or two."""
        if len(signals) != len(self.weights):
            raise ValueError(f"Got {len(signals)} signals; expected {len(self.weights)}, as in the fit.")
        score = self.bias
        for weight, signal in zip(self.weights, signals, strict=True):
            score += weight * signal
        if self.knots:
            return self._interpolated(score)
        return _scalar_sigmoid(score) if self.squash else min(max(score, 0.0), 1.0)

    def probabilities(self, signals: ArrayLike) -> Floats:
        """Probabilities (n,) for signals (n, k)."""
        given = np.asarray(signals, dtype=np.float64)
        table = given[:, None] if given.ndim == 1 else given
        if table.shape[1] != len(self.weights):
            raise ValueError(f"Got {table.shape[1]} signals; expected {len(self.weights)}, as in the fit.")
        score: Floats = self.bias + table @ np.asarray(self.weights)
        if self.knots:
            return np.interp(score, self.knots, self.levels)
        return sigmoid(score) if self.squash else np.clip(score, 0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        return {
            "weights": list(self.weights),
            "bias": self.bias,
            "squash": self.squash,
            "knots": list(self.knots),
            "levels": list(self.levels),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Calibrator:
        """The calibrator that `to_dict` wrote; ValueError where the numbers are not finite or do not fit together."""
        weights, knots, levels = (tuple(float(v) for v in state[key]) for key in ("weights", "knots", "levels"))
        bias = float(state["bias"])
        ordered = all(earlier < later for earlier, later in pairwise(knots))
        finite = all(math.isfinite(number) for number in (bias, *weights, *knots, *levels))
        if not (weights and finite and ordered and len(knots) == len(levels)):
            raise ValueError(
                "Got a calibrator whose numbers are not finite, whose knots do not rise, or whose knots and levels "
                "differ in number; expected what to_dict wrote. Fit it again."
            )
        return cls(weights, bias, bool(state["squash"]), knots, levels)

    def _interpolated(self, score: float) -> float:
        above = bisect_right(self.knots, score)
        if above == 0:
            return self.levels[0]
        if above == len(self.knots):
            return self.levels[-1]
        left, right = self.knots[above - 1], self.knots[above]
        share = (score - left) / (right - left)
        return self.levels[above - 1] + share * (self.levels[above] - self.levels[above - 1])


def sigmoid(value: Floats) -> Floats:
    """1 / (1 + exp(-value)) without overflow."""
    small = np.exp(-np.abs(value))
    return np.where(value >= 0.0, 1.0 / (1.0 + small), small / (1.0 + small))


def _scalar_sigmoid(score: float) -> float:
    if score >= 0.0:
        return 1.0 / (1.0 + math.exp(-score))
    small = math.exp(score) if score > -745.0 else 0.0
    return small / (1.0 + small)
