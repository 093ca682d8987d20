"""Cost against quality: students, the cascade and the incumbent, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from stepdown.core.estimates import Estimate
from stepdown.core.record import BuildRecord
from stepdown.report import svg
from stepdown.report.format import PERCENT, PLAIN, USD, bounded, clean, quantity, shorten, show
from stepdown.report.reading import incumbent_name, read


def view(record: BuildRecord) -> dict[str, Any]:
    marks = _marks(record)
    reading = read(record)
    chart = svg.both(lambda size: draw(marks, reading.loss_name, size)) if marks else None
    return {
        "chart": chart,
        "rows": reading.rows,
        "priced": record.incumbent.cost_per_1k is not None,
        "price_source": clean(record.incumbent.price_source),
        "dominated": any(mark.role == "dominated" for mark in marks),
        "agreement": reading.reference != "gold",
    }


def _marks(record: BuildRecord) -> list[Mark]:
    reading = read(record)
    marks = []
    incumbent_error = reading.error(record.incumbent.quality)
    if incumbent_error is not None and reading.reference == "gold":
        marks.append(Mark(incumbent_name(record), "incumbent", incumbent_error, record.incumbent.cost_per_1k))
    if record.cascade is not None and (error := reading.error(record.cascade.quality)) is not None:
        marks.append(Mark("cascade", "cascade", error, record.cascade.cost_per_1k))
    for student in record.students:
        error = reading.error(student.quality)
        role = "dominated" if student.dominated_by else "student"
        if error is not None:
            marks.append(Mark(clean(student.kind), role, error, student.speed.cost_per_1k))
    return marks


@dataclass(frozen=True)
class Mark:
    """One option. role: "incumbent", "cascade", "student" or "dominated". cost: None where no price is known."""

    name: str
    role: str
    error: Estimate
    cost: Estimate | None


def draw(marks: Sequence[Mark], error_name: str, size: svg.Size) -> Markup:
    """cost per thousand requests in USD (log) against error; an option without a price is a level line."""
    left, right, bottom, top = svg.plot_area(size)
    priced = [mark for mark in marks if mark.cost is not None and mark.cost.value > 0 and bounded(mark.cost.value)]
    unpriced = [mark for mark in marks if mark not in priced]
    plot = svg.Plot(
        size,
        svg.logarithmic([mark.cost.value for mark in priced if mark.cost], left, right),
        svg.linear([end for mark in marks for end in (mark.error.value, _top(mark))], bottom, top),
    )
    # The most wanted labels are placed first, and every point is kept clear of all of them.
    priced.sort(key=lambda mark: ["cascade", "incumbent", "student", "dominated"].index(mark.role))
    labels = svg.Labels((left - 6, right + 10, top - 8, bottom))
    for mark in priced:
        x, y = _position(plot, mark)
        labels.avoid(x - 8, y - 8, x + 8, y + 8)
        if mark.cost and mark.cost.low < mark.cost.high:
            labels.avoid(plot.x.at(max(mark.cost.low, plot.x.low)), y - 2, plot.x.at(mark.cost.high), y + 2)
    drawn = [_level(plot, mark, labels) for mark in unpriced]
    drawn += [_frontier(plot, priced)]
    drawn += [_bars(plot, mark) for mark in priced]
    drawn += [_symbol(plot, mark) for mark in reversed(priced)]
    drawn += [labels.place(*_position(plot, mark), shorten(mark.name, 26), mark.role) for mark in priced]
    axes = plot.axes("cost per 1,000 requests, USD (log)", f"{error_name}, %", _dollars, _percent)
    return svg.drawing(size, f"{error_name} against cost per thousand requests", axes, *drawn)


def _top(mark: Mark) -> float:
    """An interval's end, unless it would squeeze all else into a corner."""
    return min(mark.error.high, mark.error.value + 0.25)


def _position(plot: svg.Plot, mark: Mark) -> tuple[float, float]:
    return plot.x.at(mark.cost.value if mark.cost else plot.x.low), plot.y.at(mark.error.value)


def _frontier(plot: svg.Plot, marks: Sequence[Mark]) -> Markup:
    """The steps that no option is below and left of."""
    steps: list[tuple[float, float]] = []
    least = math.inf
    for mark in sorted(marks, key=lambda mark: (mark.cost.value if mark.cost else 0.0, mark.error.value)):
        if mark.error.value < least:
            least = mark.error.value
            steps.append(_position(plot, mark))
    corners = [point for (_, above), (x, y) in pairwise(steps) for point in ((x, above), (x, y))]
    return svg.polyline([*steps[:1], *corners, (plot.right, steps[-1][1])], "frontier") if steps else Markup("")


def _bars(plot: svg.Plot, mark: Mark) -> Markup:
    x, y = _position(plot, mark)
    low, high = plot.y.at(mark.error.low), plot.y.at(mark.error.high)
    parts = [svg.line(x, low, x, high, f"bar {mark.role}")]
    if mark.cost and mark.cost.low < mark.cost.high:
        ends = plot.x.at(max(mark.cost.low, plot.x.low)), plot.x.at(mark.cost.high)
        parts.append(svg.line(ends[0], y, ends[1], y, f"bar {mark.role}"))
    return Markup("").join(parts)


def _symbol(plot: svg.Plot, mark: Mark) -> Markup:
    """A shape of its own for each role: colour is never the only sign."""
    x, y = _position(plot, mark)
    inside = svg.tip(_tooltip(mark))
    if mark.role == "incumbent":
        return svg.element("rect", inside, x=x - 6, y=y - 6, width=12, height=12, class_="point incumbent")
    if mark.role == "cascade":
        corners = f"{x:.1f},{y - 9:.1f} {x + 9:.1f},{y:.1f} {x:.1f},{y + 9:.1f} {x - 9:.1f},{y:.1f}"
        return svg.element("polygon", inside, points=corners, class_="point cascade")
    return svg.element("circle", inside, cx=x, cy=y, r=5.5, class_=f"point {mark.role}")


def _level(plot: svg.Plot, mark: Mark, labels: svg.Labels) -> Markup:
    y = plot.y.at(mark.error.value)
    label = f"{shorten(mark.name, 26)} (price not known)"
    labels.avoid(plot.left, y - 3, plot.right, y + 3)
    line = svg.element(
        "line", svg.tip(_tooltip(mark)), x1=plot.left, y1=y, x2=plot.right, y2=y, class_=f"level {mark.role}"
    )
    return line + labels.place(plot.right - svg.text_width(label) / 2, y, label, mark.role)


def _tooltip(mark: Mark) -> str:
    error, cost = show(mark.error, PERCENT), show(mark.cost, USD)
    return f"{mark.name}: error {error.value if error else ''} ({error.note if error else ''})" + (
        f"; {cost.value} per 1,000 ({cost.note})" if cost else ""
    )


def _percent(value: float) -> str:
    return quantity(value * 100, PLAIN)


def _dollars(value: float) -> str:
    return quantity(value, USD, 1 if value < 1 else 3)
