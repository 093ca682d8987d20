"""A forecast from tune: each point's chance of passing the test on certify, and the expected saving of the walk.

Planning only. Nothing here is a claim: a bad guess costs power, never validity. Normal approximations suffice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.observations import Floats, Observations, Outcome
from stepdown.core.contract import Contract

_SLICE_PRIOR_ROWS = 20.0
_UNKNOWN_ADVANTAGE = 0.5
_LATENCY_QUANTILE = 0.95
_FEWER_TIMED = 0.8
_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class PathForecast:
    """The forecast of a test: tune's observations, the contract, the number of rows of evidence, and the error.

    timed_rows: of how many of them the students' latency will be measured.
    """

    seen: Observations
    contract: Contract
    evidence_rows: int
    error: float
    timed_rows: float = 400.0

    def saving(self, result: Outcome) -> float:
        """Share of the incumbent's bill that is saved; the offload where its price is unknown or nothing."""
        escalation = self.seen.escalation_cost_usd
        if result.cost_usd is None or escalation is None or not escalation.sum() > 0:
            return result.offload
        return 1.0 - float(result.cost_usd.sum() / escalation.sum())

    def chance(self, result: Outcome) -> float:
        """Chance that this point passes every test that the contract asks for."""
        chance = self._excess_chance(result.excess) * self._slice_chance(result.excess)
        return chance * self._cost_chance(result) * self._latency_chance(result)

    @property
    def _is_guess(self) -> bool:
        """Whether tune has only disagreement while the evidence will be gold: which answer is right where they differ
        is then unknown."""
        return self.seen.reference == "agreement" and self.contract.against != "agreement"

    def _excess_chance(self, excess: Floats) -> float:
        if not excess.size:
            return 0.0
        mean, variance, prior = self._moments(excess.mean(), (excess**2).mean(), excess.size)
        spread = variance / excess.size + prior
        return float(_chance(self.contract.margin - mean, variance, spread, self._test(self.contract.margin)))

    def _slice_chance(self, excess: Floats) -> float:
        members = self._members
        if not members.size:
            return 1.0
        sizes = members.sum(axis=1)
        weight = sizes + _SLICE_PRIOR_ROWS
        mean = (members @ excess + _SLICE_PRIOR_ROWS * excess.mean()) / weight
        square = (members @ excess**2 + _SLICE_PRIOR_ROWS * (excess**2).mean()) / weight
        mean, variance, prior = self._moments(mean, square, weight)
        rows = np.maximum(sizes / excess.size * self.evidence_rows, 1.0)
        test = _Test(self.contract.slice_margin, rows, self._quantile)
        return float(np.prod(_chance(self.contract.slice_margin - mean, variance, variance / weight + prior, test)))

    def _cost_chance(self, result: Outcome) -> float:
        limit = self.contract.cost_per_1k
        if limit is None:
            return 1.0
        if result.cost_usd is None:
            return 0.0
        gap = limit / 1000.0 - float(result.cost_usd.mean())
        variance = float(result.cost_usd.var()) + 1e-18
        test = _Test(0.0, self.evidence_rows, self._quantile)
        return float(_chance(gap, variance, variance / result.cost_usd.size, test))

    def _latency_chance(self, result: Outcome) -> float:
        limit = self.contract.latency_p95_ms
        timed = None if result.latency_s is None else result.latency_s[~np.isnan(result.latency_s)]
        if limit is None:
            return 1.0
        if timed is None:
            # Not timed yet: the test needs so many timed answers even if none of them is late.
            needed = math.log(self.error) / math.log(_LATENCY_QUANTILE)
            rows = min(float(self.evidence_rows), self.timed_rows) * result.offload
            return 1.0 if rows * _FEWER_TIMED >= needed else 0.0
        if not timed.size:
            return 0.0
        late = float((timed > limit / 1000.0).mean())
        rows = max(1.0, self.evidence_rows * result.offload)
        variance = late * (1.0 - late) + 1.0 / (timed.size + 2)
        test = _Test(1.0 - _LATENCY_QUANTILE, rows, self._quantile)
        return float(_chance(test.margin - late, variance, variance / timed.size, test))

    def _moments(
        self, mean: float | Floats, square: float | Floats, rows: float | Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Mean and variance of the excess to expect on the evidence, and how unsure a guess makes the mean."""
        mean, square = np.asarray(mean), np.asarray(square)
        if self._is_guess:
            return np.zeros_like(mean), square + 1.0 / (rows + 2.0), (_UNKNOWN_ADVANTAGE * square) ** 2
        return mean, square - mean**2 + 1.0 / (np.asarray(rows) + 2.0), np.zeros_like(mean)

    def _test(self, margin: float) -> _Test:
        return _Test(margin, self.evidence_rows, self._quantile)

    @cached_property
    def _quantile(self) -> float:
        return NormalDist().inv_cdf(1.0 - self.error)

    @cached_property
    def _members(self) -> NDArray[np.float64]:
        """Which rows are in which slice, (slices, n)."""
        rows = []
        for name in self.contract.slices:
            rows += [members.astype(np.float64) for members in self.seen.slices_named(name).values()]
        return np.stack(rows) if rows else np.zeros((0, self.seen.n))


@dataclass(frozen=True)
class _Test:
    margin: float
    rows: float | Floats
    quantile: float


def _chance(gap: float | Floats, variance: float | Floats, tune_spread: float | Floats, test: _Test) -> Floats:
    """Chance that a one-sided test of a mean `gap` below its limit rejects, the mean itself being a guess from tune.

    Under the hypothesis the mean is at the margin, which takes at least the variance of a coin of that rate.
    """
    at_limit = np.maximum(variance, test.margin * (1.0 - test.margin))
    needed = test.quantile * np.sqrt(at_limit / test.rows)
    spread = np.sqrt(np.asarray(variance) / test.rows + tune_spread)
    return np.asarray(0.5 * (1.0 + _erf((gap - needed) / spread / math.sqrt(2.0))), dtype=np.float64)


def expected_saving(savings: Floats, chances: Floats) -> float:
    """The expected saving of a walk. Points share their rows, so each is reached as often as the worst before it."""
    if not savings.size:
        return 0.0
    reached = np.minimum.accumulate(chances)
    return float(np.sum(np.diff(savings, prepend=0.0) * reached))
