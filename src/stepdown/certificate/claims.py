"""The claims of a contract at one point of the path, each tested on the evidence by a p-value valid at any n.

| claim | hypothesis against it | test |
| --- | --- | --- |
| excess-loss | mean excess loss > margin | exact or betting, by the support and the units; on verdicts when judged |
| slice:NAME=VALUE | mean excess loss there > slice_margin | the same, on the slice's rows |
| latency-p95 | p95 of answers given locally > limit | order statistics (binomial) |
| cost-per-1k | mean cost of a request > limit | betting, for costs up to the ceiling |
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.observations import Floats, Outcome
from stepdown.core.canonical import digest
from stepdown.core.certificate import Claim
from stepdown.core.contract import Contract
from stepdown.stats import betting, excess_loss, intervals, judged, unit_mean
from stepdown.stats.binomial import proportion_interval
from stepdown.stats.stages import level_left, stage_level

UNBOUNDED = sys.float_info.max
"""A bound that says nothing, in a format that has no infinity."""

_LEAST_SHARE = 1e-9

EXCESS, LATENCY, COST, SLICE = "excess-loss", "latency-p95", "cost-per-1k", "slice:"

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Demands:
    """The demands of a contract, each tested on the evidence at the error of this attempt."""

    evidence: Evidence
    contract: Contract
    error: float

    def p_value(self, result: Outcome) -> float:
        """P-value of "the contract is broken at this point": the largest of its claims' (intersection–union)."""
        return max(claim.p_value for claim in self.claims(result, bounded=False))

    def claims(self, result: Outcome, bounded: bool = True) -> tuple[Claim, ...]:
        """Every claim at this point; `bounded` also computes upper bounds, which takes longer."""
        return tuple(self._each(result, bounded))

    def _each(self, result: Outcome, bounded: bool) -> Iterator[Claim]:
        yield self._excess(EXCESS, result, self.contract.margin, None, bounded)
        for name, rows in self.slices():
            yield self._excess(SLICE + name, result, self.contract.slice_margin, rows, bounded)
        if self.contract.latency_p95_ms is not None:
            yield self._latency(result, self.contract.latency_p95_ms, bounded)
        if self.contract.cost_per_1k is not None:
            yield self._cost(result, self.contract.cost_per_1k, bounded)

    def slices(self) -> list[tuple[str, Rows]]:
        """Every slice that the contract names, "NAME=VALUE", with its rows (n,): those of the evidence and of tune."""
        masks = []
        for name in self.contract.slices:
            nobody = np.zeros(self.evidence.n, dtype=bool)
            seen = self.evidence.seen.slices_named(name)
            expected = {value for known, value in self.evidence.candidate.slices if known == name}
            masks += [(f"{name}={value}", seen.get(value, nobody)) for value in sorted({*seen, *expected})]
            if not seen and not expected:
                masks.append((f"{name}=?", nobody))
        return masks

    def _excess(self, name: str, result: Outcome, limit: float, rows: Rows | None, bounded: bool) -> Claim:
        within = np.ones(self.evidence.n, dtype=bool) if rows is None else rows
        if self.evidence.seen.reference == "judged":
            return self._judged(name, result, limit, within, bounded)
        if not within.any():
            return _unknown(name, limit, 1.0)
        clustered = self.clustered
        largest = self.evidence.basis.population.largest_unit

        def test(chosen: Rows, error: float) -> float:
            if clustered:
                sums = unit_mean.unit_sums(result.excess[chosen], self._units(chosen))
                return unit_mean.p_value(*sums, limit, max(largest, int(sums[1].max())), error)
            return excess_loss.excess_p_value(result.excess[chosen], limit, self.support, error)

        excess = result.excess[within]
        bound = limit
        if bounded and len(self.evidence.stages) == 1:
            if clustered:
                sums = unit_mean.unit_sums(excess, self._units(within))
                bound = unit_mean.upper_bound(*sums, self.error, max(largest, int(sums[1].max())))
            else:
                bound = excess_loss.excess_upper_bound(excess, self.error, self.support)
        method = "betting, once a unit" if clustered else excess_loss.METHODS[self.support]
        count = len(set(self._units(within)))
        return self._claim(name, (float(excess.mean()), bound, limit), self._staged(test, within), count, method)

    def _staged(self, test: Callable[[Rows, float], float], within: Rows) -> float:
        """The p-value of a claim over every look so far, scaled to the whole error: at most `error` where some look
        rejects at the level that was left to it (`stats.stages`)."""
        level, least = self.error, 1.0
        stages = self.evidence.stages
        for number, stage in enumerate(stages):
            chosen = np.zeros(self.evidence.n, dtype=bool)
            chosen[stage] = within[stage]
            last = number + 1 == len(stages) and self.evidence.terms.final
            share = level if last else stage_level(level)
            p_value = test(chosen, max(share, _LEAST_SHARE)) if chosen.any() else 1.0
            least = min(least, p_value * self.error / share) if share > 0.0 else least
            if p_value <= share:
                break
            level = level_left(level, p_value)
        return least

    def _units(self, chosen: Rows) -> list[str]:
        units = self.evidence.seen.units
        return [units[row] for row in np.flatnonzero(chosen)]

    @property
    def clustered(self) -> bool:
        """Whether units have several rows, in the evidence or in what it was drawn from: that a few large units were
        not drawn says nothing of the calls in them."""
        largest = self.evidence.basis.population.largest_unit
        return largest > 1 or len(set(self.evidence.seen.units)) < self.evidence.n

    @property
    def support(self) -> excess_loss.Support:
        """The support of the excess loss, from what family and evidence declare; never from the losses seen."""
        if self.evidence.seen.support == "bounded":
            return "bounded"
        return "zero_one" if self.evidence.seen.reference == "agreement" else "paired"

    def share_interval(self, accepted: Rows) -> tuple[float, float]:
        """Two-sided interval for the share of calls that are accepted, at the error of this attempt."""
        if not self.clustered:
            return proportion_interval(int(accepted.sum()), self.evidence.n, self.error)
        everything = np.ones(self.evidence.n, dtype=bool)
        totals, sizes = unit_mean.unit_sums(accepted.astype(np.float64), self._units(everything))
        largest = max(self.evidence.basis.population.largest_unit, int(sizes.max()))
        upper = unit_mean.upper_bound(totals, sizes, self.error / 2, largest)
        lower = 1.0 - unit_mean.upper_bound(sizes - totals, sizes, self.error / 2, largest)
        return max(0.0, lower), min(1.0, upper)

    def _judged(self, name: str, result: Outcome, limit: float, within: Rows, bounded: bool) -> Claim:
        """The claim on the excess loss from verdicts on every row and gold on a random sample of them; valid in finite
        samples."""
        gold = within & ~np.isnan(result.excess)
        if result.judged_excess is None or not within.any() or self.clustered:
            return _unknown(name, limit, 1.0)
        order = self._shuffled[within[self._shuffled]]
        values = result.judged_excess[order], np.where(gold, result.excess, np.nan)[order]
        p_value = judged.judged_p_value(*values, None, limit, self.error)
        bound = judged.judged_upper_bound(*values, None, self.error) if bounded else limit
        method = f"betting on rectified verdicts ({gold.sum()} with gold of {within.sum()})"
        if gold.sum() < judged.LEAST_GOLD:
            method = f"no evidence: {gold.sum()} rows with gold, at least {judged.LEAST_GOLD} are needed"
        rectified = float((result.excess[gold] - result.judged_excess[gold]).mean()) if gold.any() else 0.0
        estimate = float(result.judged_excess[within].mean()) + rectified
        return self._claim(name, (estimate, bound, limit), p_value, int(within.sum()), method)

    @cached_property
    def _shuffled(self) -> NDArray[np.int64]:
        """The rows in an order that is independent of which of them have gold."""
        names = [digest(f"judged {id_}".encode("utf-8", "surrogatepass")) for id_ in self.evidence.seen.ids]
        return np.array(sorted(range(self.evidence.n), key=names.__getitem__), dtype=np.int64)

    def _latency(self, result: Outcome, limit: float, bounded: bool) -> Claim:
        latency = np.full(self.evidence.n, np.nan) if result.latency_s is None else result.latency_s * 1000.0
        within = ~np.isnan(latency)
        if not within.any():
            return _unknown(LATENCY, limit, UNBOUNDED, "ms")

        def test(chosen: Rows, error: float) -> float:
            return intervals.quantile_p_value(latency[chosen], 0.95, limit)

        timed = latency[within]
        single = bounded and len(self.evidence.stages) == 1
        bound = intervals.quantile_upper_bound(timed, 0.95, self.error) if single else limit if bounded else UNBOUNDED
        figures = (float(np.quantile(timed, 0.95)), min(bound, UNBOUNDED), limit)
        return self._claim(LATENCY, figures, self._staged(test, within), timed.size, "order statistics", unit="ms")

    def _cost(self, result: Outcome, limit: float, bounded: bool) -> Claim:
        if result.cost_usd is None or not result.cost_usd.size:
            return _unknown(COST, limit, UNBOUNDED, "USD")
        costs, dearest = self._with_holdback(result.cost_usd) * 1000.0, self._dearest * 1000.0
        mean, count = float(costs.mean()), len(set(self.evidence.seen.units))
        if costs.max() > dearest:
            method = f"not tested: a request cost {costs.max() / 1000.0:.3g} USD, above the ceiling that is stated"
            return self._claim(COST, (mean, UNBOUNDED, limit), 1.0, count, method, unit="USD")
        largest = self.evidence.basis.population.largest_unit

        def test(chosen: Rows, error: float) -> float:
            if self.clustered:
                sums = unit_mean.unit_sums(costs[chosen] / dearest, self._units(chosen))
                return unit_mean.p_value(*sums, limit / dearest, max(largest, int(sums[1].max())), error)
            return betting.p_value(costs[chosen], limit, betting.Bounds(0.0, dearest), error)

        single = bounded and len(self.evidence.stages) == 1 and not self.clustered
        bound = betting.upper_bound(costs, self.error, betting.Bounds(0.0, dearest)) if single else limit
        p_value = self._staged(test, np.ones(self.evidence.n, dtype=bool))
        method = f"betting, for requests of at most {dearest / 1000.0:.3g} USD"
        return self._claim(COST, (mean, bound, limit), p_value, count, method, unit="USD")

    def _with_holdback(self, costs: Floats) -> Floats:
        """Costs (n,) with the holdback: a share of all requests goes to the incumbent without a rung."""
        share = 0.0 if self.contract.privacy == "local-only" else self.contract.holdback
        price = self.evidence.seen.escalation_cost_usd
        return costs if price is None or not share else (1.0 - share) * costs + share * price

    @property
    def _dearest(self) -> float:
        """The ceiling on one request, in USD: the incumbent's as stated, and every rung that was asked before it."""
        local = sum(candidate_student.cost_usd for candidate_student in self.evidence.seen.candidate_students)
        return max((self.evidence.cost_ceiling_usd or 0.0) + local, 1e-12) * (1.0 + 1e-9)

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
    """A claim that the evidence cannot test."""
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
