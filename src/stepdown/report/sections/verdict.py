"""The verdict, its reasons, and the key figures as tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepdown.core.record import BuildRecord, Roi
from stepdown.core.statement import claim_sentence
from stepdown.report.format import (
    JOULES,
    MEGABYTES,
    MONTHS,
    PERCENT,
    SECONDS,
    USD,
    Shown,
    clean,
    count,
    hash_head,
    moment,
    quantity,
    sample,
    show,
    signed_points,
    usd,
)
from stepdown.report.loss_words import loss_words
from stepdown.report.notes import notes
from stepdown.report.reading import incumbent_name, read, shown_speed
from stepdown.report.sentence import certified, next_steps, verdict_sentence


@dataclass(frozen=True)
class Tile:
    """One key figure: what it is, the figure, what it compares with, and its interval and n."""

    name: str
    value: str
    beside: str
    note: str
    estimated: bool = False


def view(record: BuildRecord) -> dict[str, Any]:
    certificate = record.certificate
    return {
        "certified": certified(record),
        "sentence": verdict_sentence(record),
        "claim": claim_sentence(certificate),
        "notes": notes(record),
        "reasons": [clean(reason) for reason in certificate.reasons],
        "next_steps": next_steps(record),
        "tiles": [tile for tile in _tiles(record) if tile is not None],
        "task": clean(record.task),
        "incumbent": clean(record.incumbent.model) or "not named",
        "created": moment(record.created_at) if record.created_at > 0 else "",
        "certificate": hash_head(certificate.digest),
        "rows": read(record).rows,
    }


def _tiles(record: BuildRecord) -> list[Tile | None]:
    return [
        _offload(record),
        _excess(record),
        _error(record),
        _cost(record),
        _latency(record),
        _saving(record),
        _size(record),
        _energy(record),
    ]


def _tile(name: str, shown: Shown | None, beside: str = "") -> Tile | None:
    return Tile(name, shown.value, beside, shown.note, shown.estimated) if shown else None


def _offload(record: BuildRecord) -> Tile | None:
    if record.cascade is None:
        return None
    beside = f"of the {clean(record.task)} calls in the evidence" + _were_it(record)
    return _tile("Answered without the incumbent", show(record.cascade.offload, PERCENT), beside)


def _excess(record: BuildRecord) -> Tile | None:
    claim = record.certificate.excess_loss
    if claim is None:
        return None
    words = loss_words(record.loss)
    by_agreement = record.certificate.evidence == "agreement"
    write = (lambda value: quantity(value, PERCENT)) if by_agreement else signed_points
    sure = quantity(record.contract.confidence, PERCENT)
    unlike = "Answers unlike the incumbent's" if words.share else f"{words.name} lost, against the incumbent's answers"
    bound = write(claim.bound)
    beside = f"at most {bound}; {write(claim.limit)} allowed"
    if claim.bound == claim.limit:
        shown = f"at most {bound}, as allowed; no tighter bound" if claim.holds else f"{bound} allowed; no bound"
        beside = f"{shown} was worked out"
    return Tile(
        unlike if by_agreement else words.excess,
        write(claim.estimate),
        beside,
        f"one-sided {sure} bound · {sample(claim.n)}",
    )


def _were_it(record: BuildRecord) -> str:
    return "" if certified(record) else ", were it certified"


def _error(record: BuildRecord) -> Tile | None:
    reading = read(record)
    if record.cascade is not None:
        ours = reading.shown_error(record.cascade.quality)
        theirs = reading.shown_error(record.incumbent.quality) if reading.reference == "gold" else None
        beside = f"{incumbent_name(record)}: {_value(show(theirs, PERCENT))}" if theirs else ""
        return _tile(reading.error_name, show(ours, PERCENT), beside)
    return None


def _cost(record: BuildRecord) -> Tile | None:
    ours = record.cascade.cost_per_1k if record.cascade is not None else None
    theirs = record.incumbent.cost_per_1k
    if ours is not None:
        beside = (f"instead of {usd(theirs.value)}" if theirs else "price of the incumbent not known") + _were_it(
            record
        )
        return _tile("Cost per 1,000 requests", show(ours, USD), beside)
    return _tile("The incumbent's cost per 1,000", show(theirs, USD))


def _latency(record: BuildRecord) -> Tile | None:
    timed = shown_speed(record)
    if timed is None:
        return None
    subject, speed = timed
    p95 = _value(show(speed.latency_p95, SECONDS))
    theirs = record.incumbent.latency_p50
    beside = f"p95 {p95}" + (f"; incumbent p50 {_value(show(theirs, SECONDS))}" if theirs else "")
    return _tile(f"Latency p50, {subject}", show(speed.latency_p50, SECONDS), beside)


def _saving(record: BuildRecord) -> Tile | None:
    roi = record.roi
    if roi is None:
        return None
    payback = show(roi.payback_months, MONTHS)
    beside = "; ".join(part for part in (f"paid back in {payback.value}" if payback else "", volume_note(roi)) if part)
    return _tile("Saving per month", show(roi.saving_per_month, USD), beside)


def volume_note(roi: Roi) -> str:
    """That the volume is a stand-in, where it is."""
    volume = next((input_ for input_ in roi.inputs if input_.name.startswith("calls")), None)
    if volume is None or "unknown" not in volume.source.lower():
        return ""
    return f"if there were {count(volume.value)} calls a month: the volume is not known"


def _size(record: BuildRecord) -> Tile | None:
    timed = shown_speed(record)
    if timed is None:
        return None
    subject, speed = timed
    memory = show(speed.memory_mb, MEGABYTES)
    size = quantity(speed.size_mb, MEGABYTES)
    return Tile(f"Size on disk, {subject}", size, f"{_value(memory)} of memory", memory.note if memory else "")


def _energy(record: BuildRecord) -> Tile | None:
    timed = shown_speed(record)
    return _tile("Energy per 1,000 local answers", show(timed[1].energy_j_per_1k, JOULES)) if timed else None


def _value(shown: Shown | None) -> str:
    return shown.value if shown else "not known"
