"""The saving in money, what it rests on, and its sensitivity to each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stepdown.core.estimates import Estimate
from stepdown.core.record import BuildRecord, Roi, RoiInput
from stepdown.report import svg
from stepdown.report.format import (
    HOURS,
    KILOWATT_HOURS,
    MONTHS,
    PERCENT,
    SPACE,
    TIMES,
    USD,
    Unit,
    bounded,
    clean,
    quantity,
    shorten,
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
    swings = [Swing(input_in_words(each.name), each.at_low, each.at_high) for each in roi.sensitivity]
    return {
        "roi": True,
        "tiles": _tiles(roi),
        "inputs": [_input(input_) for input_ in roi.inputs],
        "chart": svg.both(lambda size: draw(swings, centre, size)) if ranged else None,
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


ROW = 34


@dataclass(frozen=True)
class Swing:
    """The figure with one input at its low and at its high."""

    name: str
    at_low: float
    at_high: float


def draw(rows: Sequence[Swing], centre: float, size: svg.Size) -> Markup:
    """USD along x; the line is the figure with every input at its value. At most twelve inputs."""
    known = [row for row in rows if bounded(row.at_low) and bounded(row.at_high)]
    known = sorted(known, key=lambda row: -abs(row.at_high - row.at_low))[:12]
    names = 8.0 if size.narrow else 240.0
    row_height = ROW + (16 if size.narrow else 0)
    size = svg.Size(size.width, 88 + row_height * len(known), size.narrow)
    left, right, bottom, top = svg.plot_area(size, left=names, right=30 if size.narrow else 60, top=36)
    values = [centre, *(end for row in known for end in (row.at_low, row.at_high))]
    # Room for the figures written at both ends of the bars.
    air = (max(values) - min(values)) * (0.22 if size.narrow else 0.16) or 1.0
    x = svg.Scale(min(values) - air, max(values) + air, left, right)
    parts = [svg.text(2, 14, "saving per month, USD", "axis-name")]
    ticks = x.ticks(3 if size.narrow else 6)
    for value in ticks:
        parts += [svg.line(x.at(value), top, x.at(value), bottom, "grid")]
        parts += [svg.text(x.at(value), bottom + 19, usd(value), "tick", "middle")]
    parts += [svg.line(x.at(centre), top, x.at(centre), bottom, "axis")]
    for index, row in enumerate(known):
        parts += _row(row, centre, x, top + row_height * index)
    return svg.drawing(size, "Sensitivity of the monthly saving to each input", *parts)


def _row(row: Swing, centre: float, x: svg.Scale, top: float) -> list[Markup]:
    narrow = x.start < 100
    middle = top + (32 if narrow else ROW / 2)
    name = shorten(clean(row.name), 46 if narrow else 33)
    label = svg.text(2, top + 16, name, "label") if narrow else svg.text(x.start - 8, middle + 4, name, "label", "end")
    low, high = sorted((row.at_low, row.at_high))
    rising = row.at_high >= row.at_low
    split = x.at(min(max(centre, low), high))
    tip = f"{row.name}: {usd(row.at_low)} at its low, {usd(row.at_high)} at its high"
    ends = ("low", "high") if rising else ("high", "low")
    return [
        label,
        *(
            svg.element(
                "rect",
                svg.tip(tip),
                x=start,
                y=middle - 7,
                width=max(1.0, end - start),
                height=14,
                class_="swing " + which,
            )
            for start, end, which in ((x.at(low), split, ends[0]), (split, x.at(high), ends[1]))
        ),
        svg.text(x.at(low) - 5, middle + 4, f"{usd(low)}{SPACE}", "tick", "end"),
        svg.text(x.at(high) + 5, middle + 4, usd(high), "tick"),
    ]
