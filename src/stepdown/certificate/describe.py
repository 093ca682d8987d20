"""A certificate in plain text: the statement of what is proved, then a table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from stepdown.certificate.claims import EXCESS, SLICE, is_unbounded
from stepdown.core.certificate import Certificate, Claim
from stepdown.core.figures import clean, moment
from stepdown.core.statement import headline, is_local_only, paragraphs

_MOST_SLICES = 10
_WIDTH = 110


def describe(certificate: Certificate) -> str:
    """The certificate in plain text, without colour; lines of at most about 110 characters."""
    parts = [*_head(certificate), *_table(certificate.claims), *_rungs(certificate)]
    parts += [*_reasons(certificate), *_hashes(certificate)]
    return "\n".join(parts) + "\n"


def _head(certificate: Certificate) -> list[str]:
    verdict = "CERTIFIED" if certificate.verdict == "certified" else "REFUSED"
    return [
        f"{verdict}. Task {certificate.task!r}, issued on {moment(certificate.issued_at)}.",
        *_wrapped(headline(certificate)),
        "",
        *(line for paragraph in paragraphs(certificate) for line in (*_wrapped(paragraph), "")),
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


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
        "-" if unknown or is_unbounded(claim.bound) or claim.bound == claim.limit else f"{claim.bound:{sign}.4g}{unit}",
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
    rest = "nobody: the call is left unanswered" if is_local_only(certificate) else "the incumbent"
    return ["Rungs, asked in this order:", *rungs, f"  else {rest}", ""]


def _reasons(certificate: Certificate) -> list[str]:
    return [f"- {reason}" for reason in certificate.reasons] + ([""] if certificate.reasons else [])


def _hashes(certificate: Certificate) -> list[str]:
    named = {
        "certificate": certificate.digest,
        "contract": certificate.contract_hash,
        "cascade": certificate.cascade_hash,
        "dataset": certificate.dataset_hash,
        "evidence": certificate.evidence_hash,
        "its file": certificate.evidence_file_hash,
        **({"journal": clean(certificate.journal.head)} if certificate.journal.head else {}),
    }
    return [f"{name:<12}{value}" for name, value in named.items()]
