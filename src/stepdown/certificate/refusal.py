"""Refusals: which claim failed, why, and how many more labels would change that.

How many more labels is answered from the evidence at hand. That is planning, not a claim: the next attempt is tested
anew, at its own share of the budget. Examples are rows of *tune*, so that reading them does not wear out the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.claims import COST, EXCESS, LATENCY, SLICE, Demands
from stepdown.certificate.evidence import Evidence
from stepdown.certificate.observations import Floats, Outcome, needs_label
from stepdown.certificate.planning import rows_of_units
from stepdown.core.certificate import Claim
from stepdown.runtime.cascade import choose_rungs
from stepdown.stats import excess_loss, unit_mean
from stepdown.stats.betting import Bounds
from stepdown.stats.power import Goal, labels_for_betting, labels_for_binomial, labels_for_paired
from stepdown.stats.unit_mean import unit_sums

POWER = 0.8
DOUBT = 0.1
"""The error of the two-sided interval that must lie above the limit before it is said that no labels would help."""

_NAMED = 5
_LEAST_DISCORDANCE = 0.02


@dataclass(frozen=True)
class Refusal:
    """reasons: sentences, the gravest first. labels_needed: rows more to label; None where that is not it."""

    reasons: tuple[str, ...]
    labels_needed: int | None


@dataclass(frozen=True)
class _Failure:
    """A failed claim, and the total rows of evidence that it would need.

    rows: None where no amount will do. open: at the estimate none would, but its interval reaches below the limit.
    """

    claim: Claim
    rows: int | None
    open: bool = False


def refuse(demands: Demands, claims: Sequence[Claim], result: Outcome | None) -> Refusal:
    """The refusal for the claims at the strict end of the path; `found` is None where there is no evidence at all."""
    evidence = demands.evidence
    if not evidence.candidate.points:
        return Refusal((evidence.candidate.why or "No student could be tried.",), None)
    if result is None:
        return _without_evidence(demands)
    if not result.offload and all(claim.holds for claim in claims):
        return Refusal(
            ("On the evidence the students are never sure enough to answer: nothing would step down.",), None
        )
    failures = [_failure(claim, demands, result) for claim in claims if claim.p_value > demands.error]
    reasons = [_reason(failure, evidence) for failure in failures if not failure.claim.name.startswith(SLICE)]
    reasons += _slice_reasons([failure for failure in failures if failure.claim.name.startswith(SLICE)], evidence)
    if any(failure.rows is None for failure in failures):
        reasons += _advice(demands)
        return Refusal(tuple(reasons), None)
    by_labels = [failure for failure in failures if failure.claim.name not in (LATENCY, COST)]
    if not by_labels:
        return Refusal(tuple(reasons), None)
    return Refusal(tuple(reasons), max(_more(failure, evidence) for failure in by_labels))


def label_share(evidence: Evidence) -> float:
    """The share of calls that need a label: all, where it is not known on which a student differs."""
    if evidence.seen.reference != "gold" or evidence.seen.agrees is None or not evidence.n:
        return 1.0
    differs, _ = needed_labels(evidence)
    return float(max(differs.mean(), 1.0 / evidence.n))


def needed_labels(evidence: Evidence) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows (n,) on which some rung differs from the incumbent at a point that may pass, and those without gold."""
    differs, unlabelled = np.zeros(evidence.n, dtype=bool), np.zeros(evidence.n, dtype=bool)
    seen, candidate = evidence.seen, evidence.candidate
    if seen.reference != "gold" or seen.agrees is None:
        return differs, unlabelled
    last = len(candidate.points) if candidate.hopeful is None else candidate.hopeful + 1
    nobody = replace(seen, losses=np.full_like(seen.losses, np.nan), incumbent_loss=np.full(seen.n, np.nan))
    for point in candidate.points[:last]:
        rung = choose_rungs(evidence.confidences, point.thresholds)
        differs |= needs_label(rung, nobody)
        unlabelled |= needs_label(rung, seen)
    return differs, unlabelled


def waiting(evidence: Evidence) -> Refusal:
    """The refusal of evidence whose rows wait for labels: nothing was tested, and no attempt is spent."""
    if not evidence.candidate.points or not evidence.n:
        return Refusal((evidence.candidate.why or "There is no evidence.",), None)
    differs, unlabelled = needed_labels(evidence)
    missing = int(unlabelled.sum())
    return Refusal(
        (
            f"Of {evidence.n:,} calls drawn, the students may differ from the incumbent on {int(differs.sum()):,}, and "
            f"{missing:,} of those have no gold yet. Label them and build again.",
        ),
        missing,
    )


def _without_evidence(demands: Demands) -> Refusal:
    point = demands.evidence.candidate.points[0]
    rate = abs(point.tune_excess_loss) + _LEAST_DISCORDANCE
    mean = 0.0 if demands.evidence.candidate.tune_reference == "agreement" else point.tune_excess_loss
    needed = labels_for_paired((rate + mean) / 2, (rate - mean) / 2, _goal(demands, demands.contract.margin))
    kind = demands.contract.against
    reason = f"There is no {kind} evidence: no row of the certify split has a reference to hold the students against."
    return Refusal((reason,), needed)


def _failure(claim: Claim, demands: Demands, result: Outcome) -> _Failure:
    """Where the estimate says "never" and its interval does not, as many rows again: a few rows prove nothing."""
    rows = _rows_needed(claim, demands, result)
    if rows is not None or claim.name in (LATENCY, COST) or not claim.n:
        return _Failure(claim, rows)
    chosen = _rows_of(claim, demands, result)
    if _least(result.excess[chosen], demands, chosen) >= claim.limit:
        return _Failure(claim, None)
    return _Failure(claim, 2 * demands.evidence.n, open=True)


def _rows_of(claim: Claim, demands: Demands, result: Outcome) -> NDArray[np.bool_]:
    if claim.name == EXCESS:
        return np.ones(result.excess.size, dtype=bool)
    return next(rows for name, rows in demands.slices() if SLICE + name == claim.name)


def _least(excess: Floats, demands: Demands, rows: NDArray[np.bool_]) -> float:
    """The lower end of a two-sided 90 % interval for the mean excess loss on these rows."""
    known = excess[~np.isnan(excess)]
    if not known.size:
        return -1.0
    if demands.clustered and known.size == excess.size:
        units = demands.evidence.seen.units
        sums, sizes = unit_sums(excess, [units[row] for row in np.flatnonzero(rows)])
        largest = max(demands.evidence.basis.population.largest_unit, int(sizes.max()))
        return -unit_mean.upper_bound(-sums, sizes, DOUBT / 2, largest)
    support = "bounded" if demands.evidence.seen.reference == "judged" else demands.support
    return excess_loss.excess_interval(known, DOUBT, support)[0]


def _rows_needed(claim: Claim, demands: Demands, result: Outcome) -> int | None:
    if not claim.n and claim.name != EXCESS and not claim.name.startswith(SLICE):
        return None
    if claim.name == LATENCY:
        return _latency_rows(claim, demands, result)
    if claim.name == COST:
        return _cost_rows(claim, demands, result)
    if claim.name == EXCESS:
        return _excess_rows(result.excess, claim.limit, demands, np.ones(result.excess.size, dtype=bool))
    rows = next(rows for name, rows in demands.slices() if SLICE + name == claim.name)
    if not rows.any():
        return None
    needed = _excess_rows(result.excess[rows], claim.limit, demands, rows)
    return None if needed is None else math.ceil(needed * rows.size / rows.sum())


def _excess_rows(excess: Floats, limit: float, demands: Demands, rows: NDArray[np.bool_]) -> int | None:
    known = excess[~np.isnan(excess)]
    if not known.size:
        return None
    goal = _goal(demands, limit)
    if demands.clustered and known.size == excess.size:
        units = demands.evidence.seen.units
        sums, sizes = unit_sums(excess, [units[row] for row in np.flatnonzero(rows)])
        above = sums - limit * sizes
        largest = max(demands.evidence.basis.population.largest_unit, int(sizes.max()))
        moments = float(above.mean()), float(above.var()) + float(largest) ** 2 / (sums.size + 1.0) ** 2
        return rows_of_units(moments, float(sizes.mean()), largest, goal)
    # Half a row on either side: a handful of rows without a fault does not prove that there are none.
    size = known.size + 1.0
    worse, better = (float(np.maximum(side, 0.0).sum() + 0.5) / size for side in (known, -known))
    if demands.evidence.seen.reference == "judged" or demands.support == "bounded":
        return labels_for_betting(float(known.mean()), float(known.var()) + 1.0 / size, goal)
    if demands.support == "zero_one":
        return labels_for_binomial(worse, goal)
    return labels_for_paired(worse, better, goal)


def _latency_rows(claim: Claim, demands: Demands, result: Outcome) -> int | None:
    timed = np.zeros(0) if result.latency_s is None else result.latency_s[~np.isnan(result.latency_s)]
    late = float((timed * 1000.0 > claim.limit).mean()) if timed.size else 1.0
    needed = labels_for_binomial(late, _goal(demands, 0.05))
    return None if needed is None else math.ceil(needed * demands.evidence.n / timed.size)


def _cost_rows(claim: Claim, demands: Demands, result: Outcome) -> int | None:
    if result.cost_usd is None:
        return None
    costs = result.cost_usd * 1000.0
    bounds = Bounds(0.0, max(float(costs.max()), claim.limit) * (1.0 + 1e-9))
    return labels_for_betting(float(costs.mean()), float(costs.var()), _goal(demands, claim.limit), bounds)


def _goal(demands: Demands, margin: float) -> Goal:
    return Goal(margin=margin, error=demands.error, power=POWER)


def _reason(failure: _Failure, evidence: Evidence) -> str:
    claim = failure.claim
    if claim.name == LATENCY:
        if not claim.n:
            return f"No latency was measured, so p95 ≤ {claim.limit:g} ms cannot be shown."
        return f"Latency p95 is {claim.estimate:.3g} ms (n = {claim.n}); at most {claim.limit:g} ms could not be shown."
    if claim.name == COST:
        if not claim.n:
            return "The incumbent's price is unknown, so the cost of the requests that escalate is too."
        return f"A thousand requests cost {claim.estimate:.3g} USD; at most {claim.limit:g} could not be shown."
    known = f"Excess loss is {claim.estimate:+.4f} on {claim.n} rows, at most {claim.bound:.4f}"
    if failure.rows is None:
        return (
            f"{known}. That is not below the margin of {claim.limit:g} by enough for any amount of labels to show it."
        )
    more = _more(failure, evidence)
    if failure.open:
        return (
            f"{known}: too few rows to tell it from the margin of {claim.limit:g}. About {more} more labels would tell "
            "more, and may show either."
        )
    return f"{known}: too little evidence for a margin of {claim.limit:g}. About {more} more labels would be needed."


def _more(failure: _Failure, evidence: Evidence) -> int:
    """The number of further labels that a claim needs: only calls on which a student differs need one."""
    return max(1, math.ceil(((failure.rows or 0) - evidence.n) * label_share(evidence)))


def _slice_reasons(failures: list[_Failure], evidence: Evidence) -> list[str]:
    bad = [failure for failure in failures if failure.rows is None]
    thin = sorted(
        (failure for failure in failures if failure.rows is not None), key=lambda failure: -(failure.rows or 0)
    )
    reasons = []
    if bad:
        bad.sort(key=lambda each: -each.claim.estimate)
        reasons.append(f"{len(bad)} slices do not keep the slice margin: {_names(bad)}.")
    if thin:
        more = _more(thin[0], evidence)
        reasons.append(
            f"{len(thin)} slices have too few rows to show it: {_names(thin)}. "
            f"About {more} more labels would be needed."
        )
    return reasons


def _names(failures: list[_Failure]) -> str:
    shown = [
        f"{failure.claim.name.removeprefix(SLICE)} ({failure.claim.estimate:+.3f} on {failure.claim.n})"
        if failure.claim.n
        else f"{failure.claim.name.removeprefix(SLICE)} (no row)"
        for failure in failures[:_NAMED]
    ]
    return ", ".join(shown) + (f" and {len(failures) - _NAMED} more" if len(failures) > _NAMED else "")


def _advice(demands: Demands) -> list[str]:
    examples = demands.evidence.candidate.examples
    if not examples:
        return []
    return [f"Rows of the tune split on which the students are surest and wrong: {', '.join(examples[:_NAMED])}."]
