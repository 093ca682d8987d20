"""Certify: walk the candidate's path on the evidence, and issue a certificate or a refusal.

Why the guarantee holds. Let α be the error share of this attempt. A point of the path *breaks* the contract when any
demanded claim (excess loss, a slice, latency, cost) is false there.

1. At one fixed point, test "the contract is broken here" with the largest of the claims' p-values. If it is broken,
   some one claim is false, and the largest p-value is at most α only if that claim's is: chance ≤ α. So each claim may
   use the whole of α and nothing is paid for their number (intersection–union test, Berger 1982, Technometrics 24).
   Holm would pay, and is needed only where some claims are stated although others fail: in a refusal.
2. The path and its order were fixed on other rows (tune). Walk it and stop at the first point not rejected. To certify
   any broken point, the first broken one on the path must have been rejected: chance ≤ α (fixed sequence, Learn then
   Test, arXiv:2110.01052), however many points there are.
3. α is the k-th share of 1 − confidence for the k-th attempt on these rows (`ledger`), and the shares sum to one.

What holds with confidence 1 − α is therefore: the cascade at the chosen point keeps every limit of the contract. When
the walk passed every point, the chosen point is one fixed beforehand, so that the tighter upper bound computed there
holds too, for each claim on its own (Hsu & Berger 1999, JASA 94). When it stopped earlier, the point was picked by its
p-value; what is proved of it is the limit, and the limit is what `bound` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from stepdown.certificate.claims import Demands
from stepdown.certificate.evidence import Basis, Evidence
from stepdown.certificate.hashes import cascade_hash, contract_hash, contract_table
from stepdown.certificate.ledger import Attempt
from stepdown.certificate.observations import Outcome, outcome
from stepdown.certificate.refusal import Refusal, refuse, waiting
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate, Claim, Journalled, PathPoint, Verdict
from stepdown.core.contract import Contract
from stepdown.core.dataset import DatasetManifest
from stepdown.stats.multiple_testing import holm_adjusted, walk_sequence


@dataclass(frozen=True)
class Issue:
    """When a certificate is issued (seconds since the epoch), the seed of the build that it belongs to, and the journal
    as it stood when the attempt was entered."""

    at: float
    seed: int = 0
    journal: Journalled = field(default_factory=Journalled)


def certify(
    evidence: Evidence, contract: Contract, attempt: Attempt, dataset: DatasetManifest, issue: Issue
) -> Certificate:
    """The certificate of a candidate, or a refusal with reasons. Deterministic. Journal `attempt.event` first."""
    return issue_certificate(evidence, contract, attempt, digest_of(dataset), issue)


def issue_certificate(
    evidence: Evidence, contract: Contract, attempt: Attempt, dataset_hash: str, issue: Issue
) -> Certificate:
    """The same certificate from the hash of the dataset's manifest, as a verifier recomputes it."""
    contract = msgspec.convert(msgspec.to_builtins(contract), Contract)  # 20 becomes 20.0, as it is read back
    demands = Demands(evidence, contract, attempt.error_share)
    finding = _examine(demands) if attempt.number else _untested(demands)
    cascade = evidence.candidate.cascade(finding.chosen)
    # Evidence of before it was drawn does not say what it is of, and its certificates have none of these fields.
    drawn = evidence.basis != Basis()
    n_labelled = int(evidence.seen.labelled.sum()) if drawn and evidence.seen.reference != "agreement" else 0
    return Certificate(
        task=evidence.candidate.task,
        verdict=finding.verdict,
        reasons=finding.reasons,
        contract=contract_table(contract),
        contract_hash=contract_hash(contract),
        cascade=msgspec.to_builtins(cascade),
        cascade_hash=cascade_hash(cascade),
        dataset_hash=dataset_hash,
        evidence=evidence.seen.reference,
        evidence_hash=evidence.rows_hash,
        n=len(set(evidence.seen.units)),
        attempt=attempt.number,
        error_share=attempt.error_share,
        offload=finding.offload,
        claims=finding.claims,
        path=finding.path,
        chosen=finding.chosen,
        labels_needed=finding.labels_needed,
        seed=issue.seed,
        issued_at=issue.at,
        expires_at=issue.at + (contract.expires_after_s if finding.chosen is not None else 0.0),
        offload_interval=finding.offload_interval,
        evidence_file_hash=evidence.content_hash,
        candidate_hash=evidence.candidate.digest,
        unit=evidence.basis.unit,
        n_drawn=evidence.n if drawn else 0,
        n_labelled=n_labelled,
        population=evidence.basis.population,
        excluded=evidence.basis.excluded,
        journal=issue.journal,
        dearest_call_usd=evidence.cost_ceiling_usd if drawn and contract.cost_per_1k is not None else None,
    )


@dataclass(frozen=True)
class _Finding:
    verdict: Verdict
    reasons: tuple[str, ...]
    claims: tuple[Claim, ...]
    path: tuple[PathPoint, ...]
    chosen: int | None
    offload: float = 0.0
    offload_interval: tuple[float, float] | None = None
    labels_needed: int | None = None


def _examine(demands: Demands) -> _Finding:
    evidence = demands.evidence
    points = evidence.candidate.points
    if evidence.seen.reference != demands.contract.against:
        return _refused(demands, _wrong_kind(demands), points, ())
    if not points or not evidence.n:
        return _refused(demands, refuse(demands, (), None), points, ())
    outcomes = [outcome(evidence.seen, evidence.confidences, point.thresholds) for point in points]
    walk = walk_sequence((demands.p_value(each) for each in outcomes), demands.error)
    chosen = walk.last_rejected
    path = tuple(_tested(*pair) for pair in zip(points, outcomes, _padded(walk.p_values, len(points)), strict=True))
    if chosen is None or not outcomes[chosen].offload:
        claims = _holm(demands.claims(outcomes[0]), demands.error)
        return _refused(demands, refuse(demands, claims, outcomes[0]), _with_bound(path, 0, claims), claims)
    claims = _proved(demands, outcomes[chosen], whole=chosen + 1 == len(points))
    return _Finding(
        verdict="certified",
        reasons=_why(demands, path, chosen, len(walk.p_values)),
        claims=claims,
        path=_with_bound(path, chosen, claims),
        chosen=chosen,
        offload=outcomes[chosen].offload,
        offload_interval=demands.share_interval(outcomes[chosen].rung >= 0),
    )


def _untested(demands: Demands) -> _Finding:
    """The finding where nothing is tested and no attempt is spent: the rows are not a random sample, or need labels."""
    objection = demands.evidence.basis.objection
    refusal = Refusal((objection,), None) if objection else waiting(demands.evidence)
    return _refused(demands, refusal, demands.evidence.candidate.points, ())


def _refused(demands: Demands, refusal: Refusal, path: tuple[PathPoint, ...], claims: tuple[Claim, ...]) -> _Finding:
    return _Finding("refused", refusal.reasons, claims, path, None, labels_needed=refusal.labels_needed)


def _wrong_kind(demands: Demands) -> Refusal:
    got, demanded = demands.evidence.seen.reference, demands.contract.against
    return Refusal((f"The contract asks for {demanded} evidence; this is {got} evidence.",), None)


def _proved(demands: Demands, result: Outcome, whole: bool) -> tuple[Claim, ...]:
    claims = demands.claims(result, bounded=whole)
    return claims if whole else tuple(msgspec.structs.replace(claim, bound=claim.limit) for claim in claims)


def _holm(claims: tuple[Claim, ...], error: float) -> tuple[Claim, ...]:
    """The claims with `holds` by Holm's procedure, for a refusal in which others fail."""
    adjusted = holm_adjusted([claim.p_value for claim in claims])
    pairs = zip(claims, adjusted, strict=True)
    return tuple(msgspec.structs.replace(claim, holds=bool(value <= error)) for claim, value in pairs)


def _tested(point: PathPoint, result: Outcome, p_value: float | None) -> PathPoint:
    known = result.excess[~np.isnan(result.excess)]
    excess = float(known.mean()) if known.size else None
    return msgspec.structs.replace(point, offload=result.offload, excess_loss=excess, p_value=p_value)


def _padded(p_values: tuple[float, ...], length: int) -> list[float | None]:
    return [*p_values, *[None] * (length - len(p_values))]


def _with_bound(path: tuple[PathPoint, ...], index: int, claims: tuple[Claim, ...]) -> tuple[PathPoint, ...]:
    bounded = msgspec.structs.replace(path[index], bound=claims[0].bound)
    return (*path[:index], bounded, *path[index + 1 :])


def _why(demands: Demands, path: tuple[PathPoint, ...], chosen: int, tested: int) -> tuple[str, ...]:
    if chosen + 1 == len(path):
        end = "Every point of the path passed, so the cascade answers as much as was planned."
    else:
        stopped = path[tested - 1]
        end = (
            f"The next point, at offload {stopped.offload:.1%}, could not be shown: "
            f"p = {stopped.p_value:.2g}, above {demands.error:.2g}."
        )
    return tuple(reason for reason in (end, demands.evidence.candidate.why) if reason)
