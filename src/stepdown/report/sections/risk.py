"""Risk against coverage: what is gained by having the students answer more, and where the certificate lies.

A chart shows a quantity with its interval along coverage, the share of requests answered without the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from stepdown.core.estimates import Estimate
from stepdown.core.record import BuildRecord, CurvePoint
from stepdown.report import svg
from stepdown.report.format import PERCENT, PLAIN, bounded, plural, points, quantity, show
from stepdown.report.loss_words import loss_words
from stepdown.report.reading import curve_of_evidence, read
from stepdown.report.sentence import certified


def view(record: BuildRecord) -> dict[str, Any]:
    points_of_curve = sorted(record.risk_coverage, key=lambda point: point.coverage)
    hidden = bool(points_of_curve) and curve_of_evidence(record)
    if not points_of_curve or hidden:
        return {"risk": None, "excess": None, "hidden": hidden}
    risk, excess = _risk(record, points_of_curve), _excess(record, points_of_curve)
    return {
        "risk": svg.both(lambda size: draw(risk, size), svg.HALF, svg.NARROW),
        "excess": svg.both(lambda size: draw(excess, size), svg.HALF, svg.NARROW),
        "points": plural(len(points_of_curve), "point"),
        "rows": read(record).rows,
        "margin": points(record.contract.margin),
        "confidence": quantity(points_of_curve[0].risk.confidence, PERCENT),
        "marked": any(point.certified for point in points_of_curve),
        "certified": certified(record),
        "agreement": read(record).reference != "gold",
        "words": loss_words(record.loss),
    }


def _risk(record: BuildRecord, points_of_curve: list[CurvePoint]) -> Curve:
    lines = (
        Line("incumbent, same requests", tuple(point.incumbent_risk for point in points_of_curve), "level incumbent"),
    )
    words = loss_words(record.loss)
    loss = words.as_loss
    where = "where it answers itself" if words.measure else "on the requests it answers itself"
    return Curve(
        name=f"{loss[:1].upper() + loss[1:]} on the requests the cascade answers itself, against coverage",
        axis=f"{loss} {where}, %",
        coverage=tuple(point.coverage for point in points_of_curve),
        values=tuple(point.risk for point in points_of_curve),
        lines=lines if read(record).reference == "gold" else (),
        chosen=_certified_place(points_of_curve),
        chosen_name=_chosen_name(record),
    )


def _excess(record: BuildRecord, points_of_curve: list[CurvePoint]) -> Curve:
    margin, excess = record.contract.margin, loss_words(record.loss).excess
    return Curve(
        name=f"{excess} over all requests, against coverage, with the contract's margin",
        axis=f"{excess[:1].lower() + excess[1:]} over all requests, points",
        coverage=tuple(point.coverage for point in points_of_curve),
        values=tuple(point.excess for point in points_of_curve),
        lines=(
            Line(f"margin {points(margin)}", (margin,), "level margin"),
            Line("the incumbent", (0.0,), "level incumbent"),
        ),
        chosen=_certified_place(points_of_curve),
        chosen_name=_chosen_name(record),
    )


def _certified_place(points_of_curve: list[CurvePoint]) -> int | None:
    return next((index for index, point in enumerate(points_of_curve) if point.certified), None)


def _chosen_name(record: BuildRecord) -> str:
    return "certified" if certified(record) else "chosen"


@dataclass(frozen=True)
class Line:
    """A labelled line beside the curve. values: one per coverage, or a single one for a level line."""

    name: str
    values: tuple[float, ...]
    class_: str


@dataclass(frozen=True)
class Curve:
    """What is drawn. coverage: ascending, in [0, 1]; chosen: index of the certified point, None where there is none."""

    name: str
    axis: str
    coverage: tuple[float, ...]
    values: tuple[Estimate, ...]
    lines: tuple[Line, ...]
    chosen: int | None
    chosen_name: str


def draw(curve: Curve, size: svg.Size) -> Markup:
    """Coverage in percent along x; the curve's value in percent or percentage points along y."""
    left, right, bottom, top = svg.plot_area(size)
    plot = svg.Plot(size, svg.Scale(0.0, 1.0, left, right), svg.linear(_extent(curve), bottom, top))
    points = list(zip(curve.coverage, curve.values, strict=True))
    labels = svg.Labels((left, right, top - 8, bottom))
    band = [(plot.x.at(x), plot.y.at(value.high)) for x, value in points]
    band += [(plot.x.at(x), plot.y.at(value.low)) for x, value in reversed(points)]
    path = [(plot.x.at(x), plot.y.at(value.value)) for x, value in points]
    for x, y in _along(path):
        labels.avoid(x - 5, y - 5, x + 5, y + 5)
    drawn = [svg.polygon(band, "band")] if len(points) > 1 else []
    for line in curve.lines:
        drawn.append(_line(plot, curve, line))
        for x, y in _along(_level_points(plot, curve, line)):
            labels.avoid(x - 4, y - 2, x + 4, y + 2)
    drawn += [svg.polyline(path, "curve")]
    drawn += _chosen_mark(plot, curve, labels)
    drawn += [_line_label(plot, curve, line, labels) for line in curve.lines]
    drawn += [_hit(plot, x, value, curve) for x, value in _thinned(points)]
    axes = plot.axes("answered without the incumbent, %", curve.axis, _percent, _percent)
    return svg.drawing(size, curve.name, axes, *drawn)


def _extent(curve: Curve) -> list[float]:
    ends = [value.value for value in curve.values] + [end for line in curve.lines for end in line.values]
    known = [end for end in ends if bounded(end)] or [0.0]
    span = max(max(known) - min(known), 0.01)
    # At low coverage few rows are left and the band is very wide; it may leave the chart rather than flatten it.
    lows = [max(value.low, min(known) - span) for value in curve.values]
    highs = [min(value.high, max(known) + span) for value in curve.values]
    # Room above the topmost line for its name.
    return [*known, *lows, *highs, max(known) + 0.12 * span]


def _level_points(plot: svg.Plot, curve: Curve, line: Line) -> list[tuple[float, float]]:
    if len(line.values) == 1:
        return [(plot.left, plot.y.at(line.values[0])), (plot.right, plot.y.at(line.values[0]))]
    pairs = zip(curve.coverage, line.values, strict=True)
    return [(plot.x.at(x), plot.y.at(value)) for x, value in pairs if bounded(value)]


def _along(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points on a polyline, close enough together that no label slips between them."""
    points_drawn = []
    for (x1, y1), (x2, y2) in pairwise(points):
        steps = max(1, math.ceil(math.hypot(x2 - x1, y2 - y1) / 6))
        points_drawn += [(x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps) for step in range(steps + 1)]
    return points_drawn


def _line(plot: svg.Plot, curve: Curve, line: Line) -> Markup:
    return svg.polyline(_level_points(plot, curve, line), line.class_)


def _line_label(plot: svg.Plot, curve: Curve, line: Line, labels: svg.Labels) -> Markup:
    points = _level_points(plot, curve, line)
    if not points:
        return Markup("")
    x, y = points[len(points) // 2]
    if len(line.values) == 1:
        x = (plot.left + plot.right) / 2
    half = svg.text_width(line.name) / 2
    x = min(max(x, plot.left + half), plot.right - half)
    return labels.place(x, y + (-12 if "margin" in line.class_ else 12), line.name, line.class_)


def _chosen_mark(plot: svg.Plot, curve: Curve, labels: svg.Labels) -> list[Markup]:
    if curve.chosen is None:
        return []
    value = curve.values[curve.chosen]
    x, y = plot.x.at(curve.coverage[curve.chosen]), plot.y.at(value.value)
    corners = [(x, y - 9), (x + 9, y), (x, y + 9), (x - 9, y)]
    written = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
    name = f"{curve.chosen_name} {quantity(curve.coverage[curve.chosen], PERCENT)}"
    return [
        svg.line(x, plot.top, x, plot.bottom, "chosen-line"),
        svg.line(x, plot.y.at(value.low), x, plot.y.at(value.high), "bar cascade"),
        svg.element(
            "polygon", svg.tip(_tooltip(curve.coverage[curve.chosen], value)), points=written, class_="point cascade"
        ),
        labels.place(x, y, name, "cascade"),
    ]


def _hit(plot: svg.Plot, x: float, value: Estimate, curve: Curve) -> Markup:
    return svg.element(
        "circle", svg.tip(_tooltip(x, value)), cx=plot.x.at(x), cy=plot.y.at(value.value), r=7, class_="hit"
    )


def _thinned(points: Sequence[tuple[float, Estimate]]) -> Sequence[tuple[float, Estimate]]:
    return points[:: max(1, len(points) // 40)]


def _tooltip(coverage: float, value: Estimate) -> str:
    shown = show(value, PERCENT)
    return f"at {quantity(coverage, PERCENT)}: {shown.value} ({shown.note})" if shown else ""


def _percent(value: float) -> str:
    return quantity(value * 100, PLAIN)
