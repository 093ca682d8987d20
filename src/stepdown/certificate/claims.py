"""The claims of a contract at one point of the path, each tested on the evidence by a p-value valid at any n.

| claim | hypothesis against it | test |
| --- | --- | --- |
| excess-loss | mean excess loss > margin | exact or betting, by the support; prediction-powered when judged |
| slice:NAME=VALUE | mean excess loss there > slice_margin | the same, on the slice's rows |
| latency-p95 | p95 of answers given locally > limit | order statistics (binomial) |
| cost-per-1k | mean cost of a request > limit | betting, for costs up to the ceiling |
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.observations import Floats, Outcome
from stepdown.core.certificate import Claim
from stepdown.core.contract import Contract
from stepdown.stats import betting, excess_loss, intervals, prediction_powered

UNBOUNDED = sys.float_info.max
"""A bound that says nothing, in a format that has no infinity."""

EXCESS, LATENCY, COST, SLICE = "excess-loss", "latency-p95", "cost-per-1k", "slice:"

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Demands:
    """What the contract asks of the evidence, and the error at which each demand is tested."""

    evidence: Evidence
    contract: Contract
    error: float

    def p_value(self, found: Outcome) -> float:
        """P-value of "the contract is broken at this point": the largest of its claims' (intersection–union)."""
        return max(claim.p_value for claim in self.claims(found, bounded=False))

    def claims(self, found: Outcome, bounded: bool = True) -> tuple[Claim, ...]:
        """Every claim at this point; `bounded` also computes upper bounds, which takes longer."""
        return tuple(self._each(found, bounded))

    def _each(self, found: Outcome, bounded: bool) -> Iterator[Claim]:
        yield self._excess(EXCESS, found, self.contract.margin, None, bounded)
        for name, rows in self.slices():
            yield self._excess(SLICE + name, found, self.contract.slice_margin, rows, bounded)
        if self.contract.latency_p95_ms is not None:
            yield self._latency(found, self.contract.latency_p95_ms, bounded)
        if self.contract.cost_per_1k is not None:
            yield self._cost(found, self.contract.cost_per_1k, bounded)

    def slices(self) -> list[tuple[str, Rows]]:
        """Every slice that the contract names, "NAME=VALUE", with its rows (n,): those of the evidence and of tune."""
        found = []
        for name in self.contract.slices:
            nobody = np.zeros(self.evidence.n, dtype=bool)
            seen = self.evidence.seen.slices_named(name)
            expected = {value for known, value in self.evidence.candidate.slices if known == name}
            found += [(f"{name}={value}", seen.get(value, nobody)) for value in sorted({*seen, *expected})]
            if not seen and not expected:
                found.append((f"{name}=?", nobody))
        return found

    def _excess(self, name: str, found: Outcome, limit: float, rows: Rows | None, bounded: bool) -> Claim:
        excess = found.excess if rows is None else found.excess[rows]
        if self.evidence.seen.reference == "judged":
            return self._judged(name, found, limit, rows)
        if not excess.size:
            return _unknown(name, limit, 1.0)
        support = self.support
        p_value = excess_loss.excess_p_value(excess, limit, support, self.error)
        bound = excess_loss.excess_upper_bound(excess, self.error, support) if bounded else 1.0
        return self._claim(
            name, (float(excess.mean()), bound, limit), p_value, excess.size, excess_loss.METHODS[support]
        )

    @property
    def support(self) -> excess_loss.Support:
        """The support of the excess loss, from what family and evidence declare; never from the losses seen."""
        if self.evidence.seen.support == "bounded":
            return "bounded"
        return "zero_one" if self.evidence.seen.reference == "agreement" else "paired"

    def _judged(self, name: str, found: Outcome, limit: float, rows: Rows | None) -> Claim:
        judged = found.judged_excess
        within = np.ones(found.excess.size, bool) if rows is None else rows
        gold = within & ~np.isnan(found.excess)
        rest = within & np.isnan(found.excess)
        if judged is None or gold.sum() < 2 or rest.sum() < 2:
            return _unknown(name, limit, 1.0)
        values = prediction_powered.judged_evidence(found.excess[gold], judged[gold], judged[rest])
        result = prediction_powered.prediction_powered_mean(values, limit, self.error)
        method = f"prediction-powered (PPI++, asymptotic; {gold.sum()} gold, {rest.sum()} judged)"
        figures = (result.estimate, result.upper, limit)
        return self._claim(name, figures, result.p_value, int(within.sum()), method, asymptotic=True)

    def _latency(self, found: Outcome, limit: float, bounded: bool) -> Claim:
        timed = np.zeros(0) if found.latency_s is None else found.latency_s[~np.isnan(found.latency_s)] * 1000.0
        if not timed.size:
            return _unknown(LATENCY, limit, UNBOUNDED, "ms")
        p_value = intervals.quantile_p_value(timed, 0.95, limit)
        bound = intervals.quantile_upper_bound(timed, 0.95, self.error) if bounded else UNBOUNDED
        figures = (float(np.quantile(timed, 0.95)), min(bound, UNBOUNDED), limit)
        return self._claim(LATENCY, figures, p_value, timed.size, "order statistics", unit="ms")

    def _cost(self, found: Outcome, limit: float, bounded: bool) -> Claim:
        if found.cost_usd is None or not found.cost_usd.size:
            return _unknown(COST, limit, UNBOUNDED, "USD")
        costs, dearest = found.cost_usd * 1000.0, self._dearest(found.cost_usd)
        bounds = betting.Bounds(0.0, dearest * 1000.0)
        p_value = betting.p_value(costs, limit, bounds, self.error)
        bound = betting.upper_bound(costs, self.error, bounds) if bounded else UNBOUNDED
        method = f"betting, for requests of at most {dearest:.3g} USD"
        return self._claim(COST, (float(costs.mean()), bound, limit), p_value, costs.size, method, unit="USD")

    def _dearest(self, costs: Floats) -> float:
        """The ceiling on one request: the incumbent's, and every rung that was asked before it."""
        local = sum(entrant.cost_usd for entrant in self.evidence.seen.entrants)
        return max((self.evidence.cost_ceiling_usd or 0.0) + local, float(costs.max()), 1e-12) * (1.0 + 1e-9)

    def _claim(
        self, name: str, figures: tuple[float, float, float], p_value: float, n: int, method: str, **more: object
    ) -> Claim:
        estimate, bound, limit = figures
        return Claim(
            name=name,
            estimate=estimate,
            bound=bound,
            limit=limit,
            p_value=p_value,
            holds=p_value <= self.error,
            n=n,
            method=method,
            share=self.error,
            **more,  # type: ignore[arg-type]
        )


def _unknown(name: str, limit: float, worst: float, unit: str = "") -> Claim:
    """A claim of which the evidence says nothing."""
    return Claim(
        name=name,
        estimate=worst,
        bound=worst,
        limit=limit,
        p_value=1.0,
        holds=False,
        n=0,
        method="no evidence",
        unit=unit,
    )


def is_unbounded(value: float) -> bool:
    return value >= UNBOUNDED
