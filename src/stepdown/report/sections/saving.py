"""What it is worth in money, what that rests on, and what would change it most."""

from __future__ import annotations

from typing import Any

from stepdown.core.estimates import Estimate
from stepdown.core.record import BuildRecord, Roi, RoiInput
from stepdown.report import svg
from stepdown.report.charts import tornado
from stepdown.report.format import (
    HOURS,
    KILOWATT_HOURS,
    MONTHS,
    PERCENT,
    TIMES,
    USD,
    Unit,
    bounded,
    clean,
    quantity,
    show,
    usd,
    wording,
)
from stepdown.report.sections.verdict import Tile, volume_note


def view(record: BuildRecord) -> dict[str, Any]:
    roi = record.roi
    if roi is None:
        return {"roi": False, "why": _why_not(record)}
    centre = roi.saving_per_month.value
    ranged = bounded(centre) and bool(roi.sensitivity)
    swings = [tornado.Swing(input_in_words(each.name), each.at_low, each.at_high) for each in roi.sensitivity]
    return {
        "roi": True,
        "tiles": _tiles(roi),
        "inputs": [_input(each) for each in roi.inputs],
        "chart": svg.both(lambda size: tornado.draw(swings, centre, size)) if ranged else None,
        "method": clean(roi.saving_per_month.method),
        "confidence": quantity(roi.saving_per_month.confidence, PERCENT),
        "price_source": clean(record.incumbent.price_source),
    }


def _why_not(record: BuildRecord) -> str:
    if record.incumbent.cost_per_1k is None:
        return "No price is known for the incumbent, so no saving can be worked out. Set one and build again."
    if record.incumbent.calls_per_month is None:
        return "The traffic does not say how many calls come in a month, so no saving per month can be worked out."
    return "Nothing was certified, so nothing is saved yet."


def _tiles(roi: Roi) -> list[Tile]:
    wanted: list[tuple[str, Estimate | None, Unit, str]] = [
        ("Saving per month", roi.saving_per_month, USD, volume_note(roi)),
        ("One-off cost", roi.one_off_cost, USD, "labelling, set-up and build"),
        ("Payback", roi.payback_months, MONTHS, ""),
        ("Return over 12 months", roi.roi_12_months, TIMES, "of the one-off cost, after paying it back"),
        ("Time saved per month", roi.hours_saved_per_month, HOURS, "of waiting for answers"),
        ("Energy saved per month", roi.energy_saved_kwh_per_month, KILOWATT_HOURS, ""),
    ]
    shown = [(name, show(estimate, unit), beside) for name, estimate, unit, beside in wanted]
    return [Tile(name, each.value, beside, each.note, each.estimated) for name, each, beside in shown if each]


def input_in_words(name: str) -> str:
    """ "machine_usd_per_month" → "Machine, per month"."""
    known = {
        "offload": "Share answered locally",
        "incumbent_usd_per_1k": "The incumbent's price per 1,000",
        "machine_usd_per_month": "Machine, per month",
        "machine_capacity": "What one machine can answer",
        "licence_usd_per_month": "Licence, per month",
        "shadow_share": "Share checked by the incumbent",
        "upkeep_hours_per_month": "Upkeep, per month",
        "labels": "Labels that people still give",
        "usd_per_label": "Price of a label",
        "engineer_hours": "Engineer's time to set up",
        "usd_per_engineer_hour": "Engineer, per hour",
        "build_machine_hours": "Machine time to build",
        "usd_per_build_hour": "Build machine, per hour",
        "incumbent_latency_s": "The incumbent's time for a call",
        "own_latency_s": "Own time for a call",
        "incumbent_joules": "The incumbent's energy for a call",
        "own_joules": "Own energy for a call",
    }
    return known.get(name, wording(name)[:1].upper() + wording(name)[1:])


def _input(each: RoiInput) -> dict[str, Any]:
    fixed = each.low == each.high == each.value
    return {
        "name": input_in_words(each.name),
        "value": _write(each.value, each.unit),
        "range": "fixed" if fixed else f"{_write(each.low, each.unit)} to {_write(each.high, each.unit)}",
        "source": clean(each.source),
        "assumed": "assum" in each.source.lower() or "estimat" in each.source.lower(),
    }


def _write(value: float, unit: str) -> str:
    """A figure in whatever unit the input is stated in; dollars before, all else after."""
    unit = clean(unit).strip()
    if unit.upper().startswith("USD") or unit.startswith("$"):
        rest = unit[3:] if unit[:3].upper() == "USD" else unit[1:]
        return usd(value) + (" " + rest.strip() if rest.strip() else "")
    if unit == "share":
        return quantity(value, PERCENT)
    if abs(value) >= 1000 and bounded(value):
        return f"{value:,.0f}" + (f" {unit}" if unit else "")
    return quantity(value, Unit(after=f" {unit}" if unit else ""))
