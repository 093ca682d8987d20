"""A certificate as a person reads it: one paragraph, then a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from stepdown.certificate.claims import EXCESS, SLICE, is_unbounded
from stepdown.core.certificate import Certificate, Claim

_KINDS = {
    "gold": "gold answers",
    "judged": "a judge's verdicts corrected by gold answers",
    "agreement": "the incumbent's own answers (disagreement bounds excess loss from above)",
}
_MOST_SLICES = 10


def describe(certificate: Certificate) -> str:
    """The certificate in plain text, without colour; lines of at most about 110 characters."""
    head = _certified(certificate) if certificate.verdict == "certified" else _refused(certificate)
    parts = [head, *_table(certificate.claims), *_rungs(certificate), *_reasons(certificate), *_hashes(certificate)]
    return "\n".join(parts) + "\n"


def _certified(certificate: Certificate) -> str:
    margin, confidence = certificate.contract["margin"], certificate.contract["confidence"]
    low, high = certificate.offload_interval or (certificate.offload, certificate.offload)
    claim = certificate.excess_loss
    bound = f" ({claim.estimate:+.4f} on the evidence, at most {claim.bound:+.4f})" if claim else ""
    return (
        f"CERTIFIED. For the task {certificate.task!r}, this cascade answers {certificate.offload:.1%} of requests "
        f"[{low:.1%}, {high:.1%}]\nwithout the incumbent, and with {confidence:.0%} confidence its expected "
        f"{_loss(certificate)} is at most {margin:g} above the incumbent's{bound}.\n{_basis(certificate)}\n"
        f"Issued {_day(certificate.issued_at)}; lapses {_day(certificate.expires_at)} unless live evidence renews it.\n"
    )


def _loss(certificate: Certificate) -> str:
    """ "loss", and which one where the contract names it."""
    name = str(certificate.contract.get("loss") or "")
    return f"loss ({name})" if name else "loss"


def _refused(certificate: Certificate) -> str:
    needed = certificate.labels_needed
    what = f"\nAbout {needed} more labels would be needed." if needed else ""
    return (
        f"REFUSED. For the task {certificate.task!r}, no step-down could be shown to keep the contract, so the "
        f"incumbent keeps answering.{what}\n{_basis(certificate)}\n"
    )


def _basis(certificate: Certificate) -> str:
    asymptotic = any(claim.asymptotic for claim in certificate.claims)
    kind = _KINDS.get(certificate.evidence, certificate.evidence)
    return (
        f"Evidence: {certificate.n} rows used for nothing else, against {kind}; attempt {certificate.attempt} on them, "
        f"tested at {certificate.error_share:.4g}.\n"
        + ("The bound is asymptotic: a normal approximation." if asymptotic else "The tests are valid at this n.")
    )


def _table(claims: Sequence[Claim]) -> list[str]:
    slices = [claim for claim in claims if claim.name.startswith(SLICE)]
    worst = sorted(slices, key=lambda claim: -claim.p_value)[:_MOST_SLICES]
    shown = [claim for claim in claims if not claim.name.startswith(SLICE)] + worst
    if not shown:
        return []
    rows: list[tuple[str, ...]] = [("claim", "estimate", "bound", "limit", "p", "n", "", "method")]
    rows += [_row(claim) for claim in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(slices) > len(worst):
        lines.append(f"({len(slices) - len(worst)} more slices, all further from their limit)")
    return [*lines, ""]


def _row(claim: Claim) -> tuple[str, ...]:
    unit = f" {claim.unit}" if claim.unit else ""
    sign = "+" if claim.name == EXCESS or claim.name.startswith(SLICE) else ""
    unknown = not claim.n
    return (
        claim.name,
        "-" if unknown else f"{claim.estimate:{sign}.4g}{unit}",
        "-" if unknown or is_unbounded(claim.bound) else f"{claim.bound:{sign}.4g}{unit}",
        f"{claim.limit:g}{unit}",
        f"{claim.p_value:.2g}",
        str(claim.n),
        "holds" if claim.holds else "not shown",
        claim.method,
    )


def _rungs(certificate: Certificate) -> list[str]:
    if certificate.chosen is None:
        return []
    rungs = [
        f"  {rung['kind']} answers when its confidence is at least {rung['threshold']:.4f}"
        for rung in certificate.cascade["rungs"]
    ]
    return ["Rungs, asked in this order:", *rungs, "  else the incumbent", ""]


def _reasons(certificate: Certificate) -> list[str]:
    return [f"- {reason}" for reason in certificate.reasons] + ([""] if certificate.reasons else [])


def _hashes(certificate: Certificate) -> list[str]:
    named = {
        "certificate": certificate.digest,
        "contract": certificate.contract_hash,
        "cascade": certificate.cascade_hash,
        "dataset": certificate.dataset_hash,
        "evidence": certificate.evidence_file_hash,
    }
    return [f"{name:<12}{value}" for name, value in named.items()]


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
