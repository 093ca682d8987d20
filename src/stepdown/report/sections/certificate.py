"""The certificate: every claim with its bound and evidence, the path that was walked, and what is not claimed."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from stepdown.core.certificate import Certificate, Claim, PathPoint
from stepdown.core.evidence_words import evidence_facts
from stepdown.core.record import BuildRecord
from stepdown.core.statement import paragraphs
from stepdown.report.bars import claim_bar
from stepdown.report.format import (
    ENDLESS,
    NONE,
    PERCENT,
    SECONDS,
    Unit,
    clean,
    count,
    moment,
    p_value,
    quantity,
    signed_points,
    usd,
    wording,
)
from stepdown.report.loss_words import ERROR, LossWords, loss_words
from stepdown.report.reading import incumbent_name
from stepdown.report.sentence import certified

SHOWN = 15
MOST = 500
MOST_STEPS = 120


def view(record: BuildRecord) -> dict[str, Any]:
    certificate = record.certificate
    words = loss_words(record.loss)
    claims = [_claim(claim, words) for claim in sorted(certificate.claims, key=_order)[:MOST]]
    return {
        "certified": certified(record),
        "claims": claims[:SHOWN],
        "more_claims": claims[SHOWN:],
        "left_out": count(max(0, len(certificate.claims) - MOST)),
        "any_left_out": len(certificate.claims) > MOST,
        "statement": paragraphs(certificate),
        "evidence": [(name, clean(value)) for name, value in evidence_facts(certificate)],
        "facts": _facts(record),
        "hashes": _hashes(certificate),
        "path": _path(certificate),
        "not_said": not_said(record),
    }


def _order(claim: Claim) -> tuple[bool, bool, bool, float]:
    """Claims about the whole first, then slices, those that fail first and the worst of them on top."""
    return claim.name != "excess-loss", claim.name.startswith("slice:"), claim.holds, -claim.bound


def claim_figures(claim: Claim, words: LossWords = ERROR) -> dict[str, str]:
    """A claim's figures in words."""
    claim = _with_true_infinity(claim)
    write = _writer(claim)
    return {
        "name": _claim_name(claim, words),
        "verdict": "holds" if claim.holds else "not shown",
        "estimate": write(claim.estimate),
        # A test in several looks, or for a cost of grouped calls, has no bound: the claim then has its limit there.
        "bound": "not worked out" if claim.bound == claim.limit else write(claim.bound),
        "limit": write(claim.limit),
        "p": p_value(claim.p_value),
        "n": count(claim.n),
    }


def _with_true_infinity(claim: Claim) -> Claim:
    """The claim with infinities, for which JSON has stand-ins."""
    figures = {name: value for name in ("estimate", "bound") if (value := getattr(claim, name)) >= ENDLESS}
    return msgspec.structs.replace(claim, **dict.fromkeys(figures, math.inf)) if figures else claim


def _claim(claim: Claim, words: LossWords) -> dict[str, Any]:
    claim = _with_true_infinity(claim)
    return {
        **claim_figures(claim, words),
        "about": f"{words.excess} where" if claim.name.startswith("slice:") else "",
        "share": f"tested at {quantity(claim.share, PERCENT)}" if claim.share > 0 else "",
        "method": clean(claim.method) + (" (asymptotic)" if claim.asymptotic else ""),
        "holds": claim.holds,
        "bar": claim_bar(claim.estimate, claim.bound, claim.limit, claim.holds),
    }


def _claim_name(claim: Claim, words: LossWords) -> str:
    if claim.name.startswith("slice:"):
        return clean(claim.name.removeprefix("slice:")).replace("=", " is ", 1)
    known = {
        "excess-loss": f"{words.excess}, average over all calls",
        "latency-p95": "Latency, 95th percentile",
        "cost-per-1k": "Cost per 1,000 requests",
    }
    return known.get(claim.name, wording(claim.name).capitalize())


def _writer(claim: Claim) -> Any:
    """How this claim's figures are written, by its unit and else by its name."""
    unit = claim.unit.lower()
    if unit in ("usd", "$") or "cost" in claim.name:
        return usd
    if unit == "ms":
        return lambda value: quantity(value / 1000, SECONDS)
    if unit in ("s", "seconds") or "latency" in claim.name:
        return lambda value: quantity(value, SECONDS)
    if claim.name == "excess-loss" or claim.name.startswith("slice:"):
        return lambda value: signed_points(value) if abs(value) < 10 else "without bound"
    return lambda value: quantity(value, Unit(after=" " + clean(claim.unit) if claim.unit else ""))


def _facts(record: BuildRecord) -> list[tuple[str, str]]:
    certificate, contract = record.certificate, record.contract
    facts = [
        (
            "Contract",
            f"at most {loss_words(record.loss).difference(contract.margin)}, at "
            f"{quantity(contract.confidence, PERCENT)} confidence",
        ),
        ("Privacy", clean(contract.privacy)),
        ("Issued", moment(certificate.issued_at)),
    ]
    return [*facts, ("Lapses", moment(certificate.expires_at))] if certified(record) else facts


def _hashes(certificate: Certificate) -> list[tuple[str, str]]:
    journal = certificate.journal.head
    return [
        ("certificate", certificate.digest),
        ("cascade", clean(certificate.cascade_hash)),
        ("contract", clean(certificate.contract_hash)),
        ("dataset", clean(certificate.dataset_hash)),
        ("evidence", clean(certificate.evidence_hash)),
        *([("its file", clean(certificate.evidence_file_hash))] if certificate.evidence_file_hash else []),
        *([("journal", clean(journal))] if journal else []),
    ]


def _path(certificate: Certificate) -> list[dict[str, Any]]:
    steps = list(enumerate(certificate.path))
    if len(steps) > MOST_STEPS:
        stride = -(-len(steps) // MOST_STEPS)
        steps = [pair for pair in steps if pair[0] % stride == 0 or pair[0] == certificate.chosen]
    return [_step(index, point, index == certificate.chosen) for index, point in steps]


def _step(index: int, point: PathPoint, chosen: bool) -> dict[str, Any]:
    return {
        "index": count(index + 1),
        "thresholds": ", ".join(f"{value:.3g}" for value in point.thresholds),
        "tune_offload": quantity(point.tune_offload, PERCENT),
        "tune_excess": signed_points(point.tune_excess_loss),
        "offload": quantity(point.offload, PERCENT) if point.offload is not None else NONE,
        "excess": signed_points(point.excess_loss) if point.excess_loss is not None else NONE,
        "bound": signed_points(point.bound) if point.bound is not None else NONE,
        "p": p_value(point.p_value) if point.p_value is not None else NONE,
        "chosen": chosen,
    }


def not_said(record: BuildRecord) -> list[str]:
    """Statements that a reader might take from a certificate and that it does not make."""
    certificate = record.certificate
    name = incumbent_name(record)
    statements = [
        f"It compares with {name}; it does not say that either is right often enough for your use.",
        "It is about calls drawn like those of its evidence. When the traffic changes the proof does not follow, and "
        "nothing renews it but a new build: that is why it lapses.",
        f"It is about the average call. A {record.part} or a group may fare worse than the average unless it is a "
        "claim in the table.",
        "It is about one exact cascade: these artefacts, thresholds and calibrators, by hash. Change one, and it needs "
        "another certificate.",
    ]
    if certificate.evidence == "agreement":
        statements.insert(1, f"There was no gold: how often {name} itself is right is not known.")
    if certificate.evidence == "judged":
        statements.insert(1, "It rests on a judge's verdicts; the correction is as good as the gold behind it.")
    if not any(claim.name.startswith("latency") for claim in certificate.claims):
        statements.append("The contract asked for no latency, so none is proved; the latencies below are measurements.")
    return statements
