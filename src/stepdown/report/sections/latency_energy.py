"""Latency of one request, as a distribution on a logarithmic axis, and energy per thousand requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import Speed
from stepdown.core.record import BuildRecord
from stepdown.report import svg
from stepdown.report.bars import share_bar
from stepdown.report.format import JOULES, KILOWATT_HOURS, PERCENT, PLAIN, SECONDS, Unit, clean, count, quantity, show
from stepdown.report.reading import incumbent_name, shown_speed
from stepdown.report.sections.verdict import Tile


def view(record: BuildRecord) -> dict[str, Any]:
    timed = shown_speed(record)
    if timed is None:
        return {"who": ""}
    subject, speed = timed
    rules = [
        Rule("p50", speed.latency_p50.value, "cascade"),
        Rule("p95", speed.latency_p95.value, "cascade"),
    ]
    bound = record.contract.latency_p95_ms
    if bound is not None:
        rules.append(Rule("contract p95", bound / 1000, "margin"))
    if record.incumbent.latency_p50 is not None:
        rules.append(Rule("incumbent p50", record.incumbent.latency_p50.value, "incumbent"))
    # One request is no distribution.
    drawn = len(speed.latencies) > 1
    return {
        "who": subject,
        "chart": svg.both(lambda size: draw(speed.latencies, rules, size)) if drawn else None,
        "n": count(len(speed.latencies)),
        "machine": clean(speed.machine),
        "method": clean(speed.latency_p50.method),
        "tiles": _tiles(record, speed),
        "recorded": record.incumbent.latency_p50 is not None,
    }


def _tiles(record: BuildRecord, speed: Speed) -> list[Tile]:
    incumbent, bound = incumbent_name(record), record.contract.latency_p95_ms
    allowed = f"the contract allows {quantity(bound / 1000, SECONDS)}" if bound is not None else ""
    wanted = [
        ("Half answered within (p50)", speed.latency_p50, ""),
        ("95 in 100 within (p95)", speed.latency_p95, allowed),
        (f"{incumbent}, p50", record.incumbent.latency_p50, "as recorded in the traffic"),
        (f"{incumbent}, p95", record.incumbent.latency_p95, "as recorded in the traffic"),
    ]
    shown = [(name, show(estimate, SECONDS), beside) for name, estimate, beside in wanted]
    return [Tile(name, each.value, beside, each.note, each.estimated) for name, each, beside in shown if each]


NEAR = 6.0
"""Lines up to this many times the slowest request are drawn in their place."""


@dataclass(frozen=True)
class Rule:
    """A vertical line at a time in s, with its name."""

    name: str
    seconds: float
    class_: str


def draw(seconds: Sequence[float], rules: Sequence[Rule], size: svg.Size) -> Markup:
    """Share of requests per bin, bins of equal width in log time."""
    kept = [value for value in seconds if 1e-12 < value < 1e12]
    marks = [rule for rule in rules if 1e-12 < rule.seconds < 1e12]
    left, right, bottom, top = svg.plot_area(size, top=104 if size.narrow else 88)
    # A line far to the right would leave the distribution no room: it stands at the edge, with an arrow.
    furthest = max(kept, default=1.0) * NEAR
    scale = svg.logarithmic([*kept, *(rule.seconds for rule in marks if rule.seconds <= furthest)], left, right)
    edges, shares = _bins(kept)
    plot = svg.Plot(size, scale, svg.Scale(0.0, max(shares) * 1.08, bottom, top))
    drawn = [
        svg.element(
            "rect",
            svg.tip(f"{quantity(low, SECONDS)} to {quantity(high, SECONDS)}: {quantity(share, PERCENT)} of requests"),
            x=plot.x.at(low),
            y=plot.y.at(share),
            width=max(0.8, plot.x.at(high) - plot.x.at(low) - 0.6),
            height=plot.bottom - plot.y.at(share),
            class_="bin",
        )
        for low, high, share in zip(edges, edges[1:], shares, strict=False)
        if share > 0
    ]
    labels = svg.Labels((0, size.width, 24, bottom))
    for rule in sorted(marks, key=lambda rule: rule.seconds):
        drawn += [_rule(plot, rule), _rule_label(plot, rule, labels)]
    axes = plot.axes(
        "time for one request (log)", "share of requests, %", _time, lambda value: quantity(value * 100, PLAIN)
    )
    return svg.drawing(size, "Distribution of single-request latencies", axes, *drawn)


def _rule(plot: svg.Plot, rule: Rule) -> Markup:
    x = plot.x.at(rule.seconds)
    return (
        svg.line(x, plot.top - 6, x, plot.bottom, "rule " + rule.class_) if rule.seconds <= plot.x.high else Markup("")
    )


def _rule_label(plot: svg.Plot, rule: Rule, labels: svg.Labels) -> Markup:
    """Above the plot, in the first of four rows that has room."""
    content = f"{rule.name} {quantity(rule.seconds, SECONDS)}" + (" →" if rule.seconds > plot.x.high else "")
    width = svg.text_width(content)
    x = min(max(plot.x.at(rule.seconds), width / 2 + 2), plot.size.width - width / 2 - 2)
    rows = [plot.top - 10 - 15 * row for row in range(4)]
    for y in rows:
        if labels.free(x - width / 2, y - 11, x + width / 2, y + 3):
            break
    labels.avoid(x - width / 2 - 4, y - 11, x + width / 2 + 4, y + 3)
    return svg.text(x, y, content, "label " + rule.class_, "middle")


def _bins(seconds: Sequence[float]) -> tuple[list[float], list[float]]:
    """Edges and shares of up to 60 bins."""
    logs = [math.log10(value) for value in seconds] or [0.0]
    low, high = min(logs), max(logs)
    number = max(6, min(60, round(math.sqrt(len(logs)) * 1.5)))
    width = max((high - low) / number, 0.004)
    number = max(1, math.ceil((high - low) / width + 1e-9))
    counts = [0] * number
    for value in logs:
        counts[min(number - 1, int((value - low) / width))] += 1
    return [10 ** (low + width * index) for index in range(number + 1)], [number / len(logs) for number in counts]


def _time(value: float) -> str:
    unit: Unit = SECONDS
    return quantity(value, unit, 1)


def energy_view(record: BuildRecord) -> dict[str, Any]:
    named: list[tuple[str, Estimate]] = []
    if record.cascade is not None:
        named.append(("Cascade, local answers", record.cascade.speed.energy_j_per_1k))
    named += [(clean(student.kind), student.speed.energy_j_per_1k) for student in record.students]
    most = max((estimate.value for _, estimate in named), default=0.0)
    rows = [
        {"name": name, "energy": show(estimate, JOULES), "bar": share_bar(estimate.value / most if most > 0 else 0.0)}
        for name, estimate in named
    ]
    saved = record.roi.energy_saved_kwh_per_month if record.roi is not None else None
    return {
        "rows": rows,
        "estimated": any(estimate.estimated for _, estimate in named),
        "measured": any(not estimate.estimated for _, estimate in named),
        "saved": show(saved, KILOWATT_HOURS),
    }
