from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from mapie.risk_control.fwer_control import control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from scipy import stats as scipy_stats

from stepdown.certificate.certify import is_valid_at
from stepdown.certificate.evidence import Evidence, gather
from stepdown.certificate.ledger import Attempt
from stepdown.certificate.observations import Judged, Observations, outcome
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract

CONTRACT = Contract()
AGREEMENT = Contract(against="agreement")


def _accepted(evidence: Evidence, thresholds: tuple[float, ...]) -> list[bool]:
    """Which rows a cascade answers, the slow and obvious way."""
    columns = evidence.confidences.T.tolist()
    return [any(c >= t for c, t in zip(row, thresholds, strict=True)) for row in columns]


def test_a_walk_is_what_a_naive_reading_of_the_method_gives(bench: Callable[..., Any]) -> None:
    """Agreement: at each point count disagreements, take the exact binomial tail, stop at the first above the error."""
    for seed in range(5):
        made = bench(seed, worst=(0.3,), steepness=(3.0,), incumbent_error=0.0, reference="agreement")
        evidence = made.evidence(AGREEMENT)
        certificate = made.issue(AGREEMENT, evidence=evidence)
        chosen = None
        for index, point in enumerate(evidence.candidate.points):
            taken = _accepted(evidence, point.thresholds)
            wrong = sum(loss for loss, answered in zip(evidence.seen.losses[0], taken, strict=True) if answered)
            if scipy_stats.binom.cdf(wrong, evidence.n, CONTRACT.margin) > 0.75 * 0.05:
                break
            chosen = index
        assert certificate.chosen == chosen
        if chosen is not None:
            share = sum(_accepted(evidence, evidence.candidate.points[chosen].thresholds)) / evidence.n
            assert certificate.offload == pytest.approx(share)


def test_mapie_walks_the_same_path_to_the_same_point(bench: Callable[..., Any]) -> None:
    """Its fixed-sequence test on our p-values stops where we do; on its own, looser p-values never later."""
    for seed in range(5):
        made = bench(seed, worst=(0.3,), steepness=(3.0,), incumbent_error=0.0, reference="agreement")
        evidence = made.evidence(AGREEMENT)
        certificate = made.issue(AGREEMENT, evidence=evidence)
        found = [outcome(evidence.seen, evidence.confidences, p.thresholds).excess for p in evidence.candidate.points]
        exact = np.array([scipy_stats.binom.cdf(excess.sum(), excess.size, 0.02) for excess in found])
        rejected = control_fwer(exact, delta=certificate.error_share, fwer_method="fixed_sequence")
        assert (len(rejected) - 1 if len(rejected) else None) == certificate.chosen
        looser = compute_hoeffding_bentkus_p_value(
            np.array([excess.mean() for excess in found]), evidence.n, np.array([0.02]), True
        ).ravel()
        theirs = control_fwer(looser, delta=certificate.error_share, fwer_method="fixed_sequence")
        assert len(theirs) - 1 <= (-1 if certificate.chosen is None else certificate.chosen)


def test_no_certificate_without_evidence(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.01,), incumbent_error=0.5, certify_rows=0)
    certificate = made.issue(CONTRACT)
    assert certificate.verdict == "refused"
    assert certificate.chosen is None
    assert certificate.labels_needed is not None
    assert certificate.labels_needed > 0
    assert all(rung["threshold"] > 1 for rung in certificate.cascade["rungs"])


def test_evidence_of_another_kind_than_the_contract_asks_for_is_refused(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement")
    certificate = made.issue(CONTRACT, evidence=made.evidence(CONTRACT))
    assert certificate.verdict == "refused"
    assert "asks for gold evidence" in certificate.reasons[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_stricter_contract_never_gives_more_offload(bench: Callable[..., Any], seed: int) -> None:
    """On one candidate and one evidence; a fixed share, so that attempts do not enter."""
    made = bench(seed)
    evidence = made.evidence(CONTRACT)
    for changes in ({"margin": (0.3, 0.1, 0.05, 0.02, 0.005)}, {"confidence": (0.6, 0.9, 0.95, 0.999)}):
        ((name, values),) = changes.items()
        offloads = []
        for value in values:
            contract = Contract(**{name: value})
            spent = Attempt(number=1, error_share=0.75 * (1 - contract.confidence))
            offloads.append(made.issue(contract, spent, evidence).offload)
        assert offloads == sorted(offloads, reverse=True)


def test_the_claim_of_a_certificate_says_what_was_shown(bench: Callable[..., Any]) -> None:
    certificate: Certificate = bench(worst=(0.1,), incumbent_error=0.3).issue(CONTRACT)
    claim = certificate.excess_loss
    assert certificate.verdict == "certified"
    assert claim is not None
    assert claim.holds
    assert claim.estimate < claim.bound <= claim.limit == 0.02
    assert claim.p_value <= certificate.error_share == pytest.approx(0.0375)
    assert certificate.offload_interval is not None
    assert certificate.offload_interval[0] <= certificate.offload <= certificate.offload_interval[1]
    assert certificate.path[0].p_value is not None


def test_a_certificate_lapses(bench: Callable[..., Any]) -> None:
    certificate = bench(worst=(0.1,), incumbent_error=0.3).issue(CONTRACT)
    start = certificate.issued_at
    assert [is_valid_at(certificate, start + days * 86400) for days in (-1, 0, 29, 30)] == [False, True, True, False]
    refused = bench(certify_rows=0).issue(CONTRACT)
    assert not is_valid_at(refused, start)


def _timed(seen: Observations, seconds: float) -> Observations:
    return replace(seen, latency_s=np.full((len(seen.entrants), seen.n), seconds))


def test_latency_is_a_claim_of_its_own(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.3)
    contract = Contract(latency_p95_ms=20)
    fast = made.with_both(lambda seen: _timed(seen, 0.001)).issue(contract)
    slow = made.with_both(lambda seen: _timed(seen, 0.05)).issue(contract)
    untimed = made.issue(contract)
    assert (fast.verdict, slow.verdict, untimed.verdict) == ("certified", "refused", "refused")
    assert [claim.name for claim in fast.claims] == ["excess-loss", "latency-p95"]
    assert fast.claims[1].bound == pytest.approx(1.0)
    assert "could not be shown" in slow.reasons[0]
    assert "No latency was measured" in untimed.reasons[0]
    assert untimed.labels_needed is None


def test_cost_is_a_claim_of_its_own(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.3)
    priced = made.with_both(lambda seen: replace(seen, escalation_cost_usd=np.full(seen.n, 0.002)))
    assert priced.issue(Contract(cost_per_1k=0.5)).verdict == "certified"
    dear = made.with_both(
        lambda seen: replace(
            seen,
            escalation_cost_usd=np.full(seen.n, 0.002),
            entrants=tuple(msgspec.structs.replace(entrant, cost_usd=0.001) for entrant in seen.entrants),
        )
    )
    refused = dear.issue(Contract(cost_per_1k=0.5))
    assert refused.verdict == "refused"
    assert "cost" in refused.reasons[0]


def _sliced(seen: Observations) -> Observations:
    return replace(seen, slices=tuple({"half": "left" if row % 2 else "right"} for row in range(seen.n)))


def test_every_slice_is_a_claim(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.3).with_both(_sliced)
    certificate = made.issue(Contract(slices=("half",)))
    assert certificate.verdict == "certified"
    assert [claim.name for claim in certificate.claims] == ["excess-loss", "slice:half=left", "slice:half=right"]
    assert {claim.limit for claim in certificate.claims[1:]} == {0.10}


def test_a_slice_that_fails_is_named_although_the_whole_holds(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.3).with_both(_sliced)
    left = np.array([each["half"] == "left" for each in made.certify_rows.slices])
    losses = np.where(left & (np.arange(left.size) % 4 == 1), 1.0, made.certify_rows.losses)
    bad = made.with_certify(losses=losses, incumbent_loss=np.where(left, 0.0, 1.0))
    certificate = bad.issue(Contract(slices=("half",)))
    assert certificate.verdict == "refused"
    assert "half=left" in " ".join(certificate.reasons)
    assert {claim.name for claim in certificate.claims if claim.holds} == {"excess-loss", "slice:half=right"}


def test_a_slice_that_nothing_is_known_of_refuses(bench: Callable[..., Any]) -> None:
    certificate = bench(worst=(0.1,), incumbent_error=0.3).issue(Contract(slices=("language",)))
    assert certificate.verdict == "refused"
    assert "language=?" in " ".join(certificate.reasons)


def _judged(seen: Observations, gold: int, generator: np.random.Generator) -> Observations:
    def noisy(losses: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.where(generator.random(losses.shape) < 0.05, 1 - losses, losses))

    unknown = np.arange(seen.n) >= gold
    return replace(
        seen,
        reference="judged",
        judged=Judged(noisy(seen.losses), noisy(seen.incumbent_loss)),
        losses=np.where(unknown, np.nan, seen.losses),
        incumbent_loss=np.where(unknown, np.nan, seen.incumbent_loss),
    )


def test_judged_evidence_says_that_it_is_asymptotic(bench: Callable[..., Any]) -> None:
    contract = Contract(against="judged", margin=0.05)
    made = bench(worst=(0.1,), incumbent_error=0.2, certify_rows=1500)
    judged = type(made)(made.tune, _judged(made.certify_rows, 400, np.random.default_rng(0)), made.manifest)
    certificate = judged.issue(contract)
    assert certificate.verdict == "certified"
    assert certificate.evidence == "judged"
    claim = certificate.excess_loss
    assert claim is not None
    assert claim.asymptotic
    too_few = type(made)(made.tune, _judged(made.certify_rows, 1, np.random.default_rng(0)), made.manifest)
    assert too_few.issue(contract).verdict == "refused"


def test_a_cascade_that_would_answer_nothing_is_refused(bench: Callable[..., Any]) -> None:
    """On the evidence the student is never as sure as on tune: every claim holds, and nothing steps down."""
    made = bench(worst=(0.3,), steepness=(3.0,), incumbent_error=0.0, reference="agreement", certify_rows=1000)
    evidence = made.evidence(AGREEMENT)
    unsure = Evidence(evidence.candidate, evidence.seen, np.zeros_like(evidence.confidences))
    points = [point for point in evidence.candidate.points if point.thresholds[0] > 0]
    unsure = replace(unsure, candidate=msgspec.structs.replace(evidence.candidate, points=tuple(points)))
    certificate = made.issue(AGREEMENT, evidence=unsure)
    assert certificate.verdict == "refused"
    assert "never sure enough" in certificate.reasons[0]


def test_the_order_in_which_rows_arrive_changes_nothing(bench: Callable[..., Any]) -> None:
    made = bench(support="bounded")
    backwards = made.certify_rows.rows(np.arange(made.certify_rows.n)[::-1])
    candidate = made.candidate(CONTRACT)
    first = made.issue(CONTRACT, evidence=gather(candidate, made.certify_rows))
    assert made.issue(CONTRACT, evidence=gather(candidate, backwards)) == first
