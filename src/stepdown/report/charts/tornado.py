"""Sensitivity of one figure to each of its inputs: a bar from the input's low to its high, widest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stepdown.report import svg
from stepdown.report.format import SPACE, bounded, clean, shorten, usd

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
