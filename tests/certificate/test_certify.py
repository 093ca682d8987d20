from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mapie.risk_control.fwer_control import control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from scipy import stats as scipy_stats

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.claims import Demands
from stepdown.certificate.evidence import Basis, Evidence, Terms, gather
from stepdown.certificate.ledger import Attempt
from stepdown.certificate.observations import JudgedLosses, Observations, outcome
from stepdown.certificate.refusal import needed_labels
from stepdown.core.certificate import Certificate, Population
from stepdown.core.contract import Contract
from stepdown.core.statement import statement
from stepdown.stats import judged, unit_mean
from stepdown.stats.stages import level_left, stage_level

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
    assert [certificate.is_valid_at(start + days * 86400) for days in (-1, 0, 29, 30)] == [False, True, True, False]
    refused = bench(certify_rows=0).issue(CONTRACT)
    assert not refused.is_valid_at(start)


def _timed(seen: Observations, seconds: float) -> Observations:
    return replace(seen, latency_s=np.full((len(seen.candidate_students), seen.n), seconds))


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

    def issued(holdback: float) -> str:
        contract = Contract(cost_per_1k=0.5, holdback=holdback)
        evidence = gather(priced.candidate(contract), priced.certify_rows, Terms(cost_ceiling_usd=0.002))
        return str(priced.issue(contract, evidence=evidence).verdict)

    assert issued(holdback=0.0) == "certified"
    assert issued(holdback=0.3) == "refused"  # 0.6 USD go to the holdback
    dear = made.with_both(
        lambda seen: replace(
            seen,
            escalation_cost_usd=np.full(seen.n, 0.002),
            candidate_students=tuple(
                msgspec.structs.replace(candidate_student, cost_usd=0.001)
                for candidate_student in seen.candidate_students
            ),
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
        judged=JudgedLosses(noisy(seen.losses), noisy(seen.incumbent_loss)),
        losses=np.where(unknown, np.nan, seen.losses),
        incumbent_loss=np.where(unknown, np.nan, seen.incumbent_loss),
    )


@pytest.mark.skipif(not judged.__doc__, reason="stats.judged is a placeholder")
def test_judged_evidence_is_proved_in_finite_samples_with_some_gold(bench: Callable[..., Any]) -> None:
    contract = Contract(against="judged", margin=0.05)
    made = bench(worst=(0.1,), incumbent_error=0.2, certify_rows=1500)
    seen = type(made)(made.tune, _judged(made.certify_rows, 400, np.random.default_rng(0)), made.manifest)
    certificate = seen.issue(contract)
    assert certificate.verdict == "certified"
    assert certificate.evidence == "judged"
    claim = certificate.excess_loss
    assert claim is not None
    assert not claim.asymptotic
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


def test_the_order_of_rows_changes_nothing_where_the_test_is_exact(bench: Callable[..., Any]) -> None:
    made = bench()
    backwards = made.certify_rows.rows(np.arange(made.certify_rows.n)[::-1])
    candidate = made.candidate(CONTRACT)
    first = made.issue(CONTRACT, evidence=gather(candidate, made.certify_rows))
    again = made.issue(CONTRACT, evidence=gather(candidate, backwards))
    assert msgspec.structs.replace(again, evidence_file_hash=first.evidence_file_hash) == first


# Labels are needed only where a student differs


def _partly_labelled(seen: Observations, missing: np.ndarray[Any, Any]) -> Observations:
    """Agreement known for every row, gold not on those that are missing."""
    agrees = seen.losses == seen.incumbent_loss  # of two answers: both right, or both wrong and then the same
    return replace(
        seen,
        agrees=agrees,
        losses=np.where(missing, np.nan, seen.losses),
        incumbent_loss=np.where(missing, np.nan, seen.incumbent_loss),
        references=tuple("" if each else "x" for each in missing),
    )


def _known(seen: Observations) -> Observations:
    return _partly_labelled(seen, np.zeros(seen.n, dtype=bool))


@pytest.mark.parametrize("support", ["zero_one", "bounded"])
def test_rows_on_which_all_students_agree_need_no_label(bench: Callable[..., Any], support: str) -> None:
    """The certificate is the same, but for what it says of the labels."""
    made = bench(worst=(0.3,), incumbent_error=0.2)
    if support == "bounded":
        made = made.with_both(lambda seen: replace(seen, support="bounded"))
    seen = made.certify_rows
    agree = (seen.losses == seen.incumbent_loss).all(axis=0)
    candidate = made.candidate(CONTRACT)
    full = made.issue(CONTRACT, evidence=gather(candidate, _known(seen)))
    part = made.issue(CONTRACT, evidence=gather(candidate, _partly_labelled(seen, agree)))
    assert agree.sum() > 100
    assert part.claims == full.claims
    assert part.path == full.path
    assert (part.verdict, part.chosen, part.offload) == (full.verdict, full.chosen, full.offload)
    assert full.verdict == "certified"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), share=st.floats(0.0, 1.0))
def test_a_row_without_gold_counts_nothing_where_it_agrees_and_the_worst_where_it_differs(
    bench: Callable[..., Any], seed: int, share: float
) -> None:
    seen = bench(worst=(0.5, 0.4), steepness=(2.0, 2.0), certify_rows=60, tune_rows=40).certify_rows
    generator = np.random.default_rng(seed)
    missing = generator.random(seen.n) < share
    found = outcome(_partly_labelled(seen, missing), generator.random((2, seen.n)), (0.5, 0.5))
    for row in range(seen.n):
        rung = found.rung[row]
        if rung < 0:
            assert found.excess[row] == 0.0
        elif missing[row]:
            agrees = seen.losses[rung, row] == seen.incumbent_loss[row]
            assert found.excess[row] == (0.0 if agrees else 1.0)
        else:
            assert found.excess[row] == seen.losses[rung, row] - seen.incumbent_loss[row]


def test_leaving_out_labels_never_helps(bench: Callable[..., Any]) -> None:
    """Who labels only what is easy gains nothing: every p-value is as large or larger."""
    made = bench(worst=(0.5,), incumbent_error=0.2)
    candidate = made.candidate(CONTRACT)
    generator = np.random.default_rng(3)
    full = made.issue(CONTRACT, evidence=gather(candidate, _known(made.certify_rows)))
    for share in (0.02, 0.1, 0.5):
        missing = generator.random(made.certify_rows.n) < share
        part = made.issue(CONTRACT, evidence=gather(candidate, _partly_labelled(made.certify_rows, missing)))
        for one, other in zip(part.path, full.path, strict=True):
            if one.p_value is not None and other.p_value is not None:
                assert one.p_value >= other.p_value
        assert part.offload <= full.offload


def test_rows_wait_for_the_labels_that_are_needed_and_no_more(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.3,), incumbent_error=0.2)
    seen = made.certify_rows
    evidence = gather(made.candidate(CONTRACT), _partly_labelled(seen, np.ones(seen.n, dtype=bool)))
    differs, unlabelled = needed_labels(evidence)
    assert np.array_equal(differs, unlabelled)
    assert 0 < differs.sum() < 0.5 * seen.n
    agree = (seen.losses == seen.incumbent_loss).all(axis=0)
    assert not (differs & agree).any()
    refused = made.issue(CONTRACT, Attempt(number=0, error_share=0.0375), evidence)
    assert (refused.verdict, refused.attempt, refused.claims) == ("refused", 0, ())
    assert refused.labels_needed == differs.sum()
    assert "no attempt on this evidence is spent" in statement(refused)
    assert f"{int(differs.sum()):,} of those have no gold yet" in refused.reasons[0]
    assert all(point.p_value is None for point in refused.path)


def test_an_objection_refuses_whatever_the_rows_show(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.3)
    terms = Terms(basis=Basis(objection="The gold was declared a random sample, and is none."))
    refused = made.issue(CONTRACT, Attempt(number=0, error_share=0.0375), made.evidence(CONTRACT, terms=terms))
    assert refused.verdict == "refused"
    assert refused.reasons == ("The gold was declared a random sample, and is none.",)
    assert refused.labels_needed is None


# Further looks


def _staged(evidence: Evidence, *stages: int, final: bool = True) -> Evidence:
    return replace(evidence, terms=replace(evidence.terms, stages=stages, final=final))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 500), first=st.integers(30, 300), final=st.booleans())
def test_a_staged_p_value_rejects_exactly_where_the_staged_rule_does(
    bench: Callable[..., Any], seed: int, first: int, final: bool
) -> None:
    made = bench(seed % 7, worst=(0.5,), incumbent_error=0.0, reference="agreement", certify_rows=400)
    generator = np.random.default_rng(seed)
    wrong = generator.random((1, 400)) < generator.choice([0.002, 0.01, 0.03])
    evidence = _staged(
        gather(_whole(made), replace(made.certify_rows, losses=wrong.astype(float))), first, 400, final=final
    )
    error = 0.0375
    p_value = Demands(evidence, AGREEMENT, error).p_value(outcome(evidence.seen, evidence.confidences, (0.0,)))
    one = scipy_stats.binom.cdf(wrong[0, :first].sum(), first, AGREEMENT.margin)
    two = scipy_stats.binom.cdf(wrong[0, first:].sum(), 400 - first, AGREEMENT.margin)
    rejected = bool(one <= stage_level(error))
    if not rejected:
        left = level_left(error, one)
        rejected = bool(two <= (left if final else stage_level(left)))
    assert (p_value <= error) == rejected


def _whole(made: Any) -> Candidate:
    """A candidate whose path is one point, at which everything is answered."""
    tried = made.candidate(AGREEMENT)
    return msgspec.structs.replace(tried, points=(msgspec.structs.replace(tried.points[-1], thresholds=(0.0,)),))


def test_one_look_at_all_rows_is_tested_as_ever(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.5,), incumbent_error=0.2)
    evidence = made.evidence(CONTRACT)
    plain, staged = (made.issue(CONTRACT, evidence=each) for each in (evidence, _staged(evidence, evidence.n)))
    assert staged.claims == plain.claims
    assert staged.path == plain.path


def test_a_look_that_may_go_on_keeps_a_part_of_its_error(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.5,), incumbent_error=0.2)
    evidence = made.evidence(CONTRACT)
    found = outcome(evidence.seen, evidence.confidences, evidence.candidate.points[-1].thresholds)
    p_values = [
        Demands(_staged(evidence, evidence.n, final=final), CONTRACT, 0.0375).p_value(found) for final in (True, False)
    ]
    assert p_values[1] == pytest.approx(p_values[0] / 0.75)


# Units


def test_rows_of_one_unit_are_one_piece_of_evidence(bench: Callable[..., Any]) -> None:
    """Eight copies of fifty rows show no more than the fifty do."""
    made = bench(worst=(0.1,), incumbent_error=0.3, certify_rows=50)
    seen = made.certify_rows
    eight = _copied(seen, 8)
    terms = Terms(basis=Basis(population=Population(largest_unit=8), unit="metadata.session"))
    candidate = made.candidate(CONTRACT)
    alone = made.issue(CONTRACT, evidence=gather(candidate, seen))
    apart = made.issue(CONTRACT, evidence=gather(candidate, replace(eight, units=())))
    together = made.issue(CONTRACT, evidence=gather(candidate, eight, terms))
    assert (alone.n, apart.n, together.n) == (50, 400, 50)
    assert together.unit == "metadata.session"
    claims = [each.excess_loss for each in (alone, apart, together)]
    assert [claim.n for claim in claims] == [50, 400, 50]
    assert claims[2].method == "betting, once a unit"
    assert claims[1].p_value < 1e-3 * claims[0].p_value
    assert claims[2].p_value > 0.1 * claims[0].p_value


def _copied(seen: Observations, times: int) -> Observations:
    rows = np.repeat(np.arange(seen.n), times)
    ids = tuple(f"{seen.ids[row]}-{place % times}" for place, row in enumerate(rows))
    return Observations(
        ids=ids,
        reference=seen.reference,
        references=tuple(seen.references[row] for row in rows),
        candidate_students=seen.candidate_students,
        signals=tuple(each[rows] for each in seen.signals),
        losses=seen.losses[:, rows],
        incumbent_loss=seen.incumbent_loss[rows],
        support=seen.support,
        units=tuple(f"unit {row}" for row in rows),
    )


def test_clustered_rows_are_tested_by_unit_sums(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.3)
    units = tuple(f"u{row // 2}" for row in range(made.certify_rows.n))
    terms = Terms(basis=Basis(population=Population(largest_unit=5)))
    evidence = gather(made.candidate(CONTRACT), replace(made.certify_rows, units=units), terms)
    found = outcome(evidence.seen, evidence.confidences, evidence.candidate.points[-1].thresholds)
    sums = found.excess.reshape(-1, 2).sum(axis=1)
    expected = unit_mean.p_value(sums, np.full(sums.size, 2), 0.02, 5, 0.0375)
    claim = Demands(evidence, CONTRACT, 0.0375).claims(found)[0]
    assert claim.p_value == pytest.approx(expected)
    assert claim.n == made.certify_rows.n // 2


def test_large_units_that_were_not_drawn_are_not_taken_to_be_absent(bench: Callable[..., Any]) -> None:
    """One unit in a thousand with half of all calls, wrong throughout, is rarely drawn: rows that happen to be units of
    their own are no sample of calls."""
    made = bench(worst=(0.1,), incumbent_error=0.3)
    candidate = made.candidate(CONTRACT)
    terms = Terms(basis=Basis(population=Population(largest_unit=1_000)))
    alone, drawn = (
        made.issue(CONTRACT, evidence=gather(candidate, made.certify_rows, each)) for each in (Terms(), terms)
    )
    assert alone.verdict == "certified"
    assert drawn.verdict == "refused"
    assert drawn.claims[0].method == "betting, once a unit"
