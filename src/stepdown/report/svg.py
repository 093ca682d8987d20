"""Charts as inline SVG: scales, ticks, axes, labels that do not overlap. Colours are classes, set in the page's CSS.

Each chart is drawn twice, wide and narrow, and the page shows the one that fits: text keeps its size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

from stepdown.report.format import ENDLESS, bounded, clean

FONT = 12.0
"""Size of a chart's text in px; the page draws a wide chart at about 1:1."""
_CHARACTER = 0.6 * FONT


@dataclass(frozen=True)
class Size:
    """A drawing's size in px, and whether it is the one for a phone."""

    width: float
    height: float
    narrow: bool = False


WIDE = Size(720, 360)
HALF = Size(470, 320)
NARROW = Size(340, 320, narrow=True)


def element(name: str, *children: object, **attributes: object) -> Markup:
    """One SVG element. `class_` is class; underscores become dashes; numbers are rounded; all else is escaped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")  # noqa: S704 – every part of it was escaped just above


def text(x: float, y: float, content: object, class_: str = "", anchor: str = "start") -> Markup:
    return element("text", clean(content), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    return element("polyline", points=" ".join(f"{_plain(x)},{_plain(y)}" for x, y in points), class_=class_)


def polygon(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    return element("polygon", points=" ".join(f"{_plain(x)},{_plain(y)}" for x, y in points), class_=class_)


def tip(content: str) -> Markup:
    """A tooltip of the parent element, which screen readers read too."""
    return element("title", clean(content))


def text_width(content: str) -> float:
    """A cautious guess in px; system fonts differ."""
    return len(content) * _CHARACTER


def drawing(size: Size, label: str, *parts: object) -> Markup:
    """The outermost element, with its accessible name."""
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_plain(size.width)} {_plain(size.height)}",
        class_="chart narrow" if size.narrow else "chart wide",
        role="img",
        aria_label=clean(label),
    )


def both(draw: Callable[[Size], Markup], wide: Size = WIDE, narrow: Size = NARROW) -> Markup:
    """The chart in both sizes; the style sheet hides one of them."""
    return draw(wide) + draw(narrow)


@dataclass(frozen=True)
class Scale:
    """From a quantity in [low, high] to px in [start, end]; `log` needs low > 0. Values outside stay at the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        if math.isnan(value):
            return self.start
        low, high = self._bend(self.low), self._bend(self.high)
        share = (self._bend(min(max(value, self.low), self.high)) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round values within the scale."""
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)

    def _bend(self, value: float) -> float:
        return math.log10(value) if self.log else value


def linear(values: Iterable[float], start: float, end: float, zero: bool = True) -> Scale:
    """A linear scale round finite values with a little air, from zero where that is asked."""
    known = [value for value in values if bounded(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = max((high - low) * 0.08, abs(high) * 1e-6, 1e-9) if high > low else max(abs(high), 1e-3)
    return Scale(low if zero and low == 0 else low - room, high + room, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale round positive values; at least a third of a decade each way."""
    known = [value for value in values if 1 / ENDLESS < value < ENDLESS] or [0.1, 1.0]
    return Scale(min(known) / 2, max(known) * 2, start, end, log=True)


@dataclass(frozen=True)
class Plot:
    """The area inside the axes."""

    size: Size
    x: Scale
    y: Scale

    @property
    def left(self) -> float:
        return self.x.start

    @property
    def right(self) -> float:
        return self.x.end

    @property
    def top(self) -> float:
        return self.y.end

    @property
    def bottom(self) -> float:
        return self.y.start

    def axes(self, x_name: str, y_name: str, x_tick: Callable[[float], str], y_tick: Callable[[float], str]) -> Markup:
        """Grid, ticks with their values, and the axes' names; the y axis is named above it, so that it reads level."""
        parts = [text(2, min(self.top - 14, 20), y_name, "axis-name")]
        for value in self.y.ticks(5):
            at = self.y.at(value)
            parts += [line(self.left, at, self.right, at, "grid")]
            parts += [text(self.left - 7, at + 4, y_tick(value), "tick", "end")]
        for value in _spaced(self.x, x_tick, 5 if self.size.narrow else 9):
            at = self.x.at(value)
            parts += [line(at, self.bottom, at, self.bottom + 5, "axis")]
            parts += [text(at, self.bottom + 19, x_tick(value), "tick", "middle")]
        parts += [line(self.left, self.bottom, self.right, self.bottom, "axis")]
        parts += [text(self.right, self.bottom + 38, x_name, "axis-name", "end")]
        return Markup("").join(parts)


def plot_area(
    size: Size, left: float = 46, right: float = 14, top: float = 34, bottom: float = 46
) -> tuple[float, ...]:
    """left, right, bottom, top in px of the area inside the axes."""
    return left, size.width - right, size.height - bottom, top


@dataclass
class Labels:
    """Places labels beside their points, each where it meets no other label, point or edge, most wanted first."""

    area: tuple[float, float, float, float]
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def avoid(self, left: float, top: float, right: float, bottom: float) -> None:
        self.taken.append((left, top, right, bottom))

    def place(self, x: float, y: float, content: str, class_: str) -> Markup:
        """The label as text, with a thin leader where it had to move away from its point."""
        width, height = text_width(content), FONT + 4
        spots = [spot for distance in (12.0, 26.0, 44.0, 64.0, 90.0) for spot in _round(x, y, width, height, distance)]
        free = [spot for spot in spots if self._free(spot, width, height)]
        left, top = free[0] if free else spots[0]
        self.avoid(left, top, left + width, top + height)
        label = _anchored(x, left, width, top + height - 5, content, "label " + class_)
        near_x, near_y = min(max(x, left), left + width), min(max(y, top), top + height)
        if math.hypot(near_x - x, near_y - y) > 18:
            return line(x, y, near_x, near_y, "leader") + label
        return label

    def _free(self, spot: tuple[float, float], width: float, height: float) -> bool:
        return self.free(*spot, spot[0] + width, spot[1] + height)

    def free(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Whether a box lies within the area and on nothing that is taken."""
        inside = self.area[0] <= left and right <= self.area[1] and self.area[2] <= top and bottom <= self.area[3]
        return inside and not any(left < b[2] and right > b[0] and top < b[3] and bottom > b[1] for b in self.taken)


def _anchored(x: float, left: float, width: float, y: float, content: str, class_: str) -> Markup:
    """The text held at the end that is near its point, so that a wrong guess of its width does no harm there."""
    if left >= x:
        return text(left, y, content, class_)
    if left + width <= x:
        return text(left + width, y, content, class_, "end")
    return text(left + width / 2, y, content, class_, "middle")


def _round(x: float, y: float, width: float, height: float, distance: float) -> list[tuple[float, float]]:
    """Left-top corners of a label right, left, above and below of a point, then at the four diagonals."""
    middle, diagonal = y - height / 2, distance * 0.7
    return [
        (x + distance, middle),
        (x - distance - width, middle),
        (x - width / 2, y - distance - height),
        (x - width / 2, y + distance),
        (x + diagonal, y - diagonal - height),
        (x + diagonal, y + diagonal),
        (x - diagonal - width, y - diagonal - height),
        (x - diagonal - width, y + diagonal),
    ]


def _spaced(scale: Scale, written: Callable[[float], str], most: int) -> Sequence[float]:
    """Ticks thinned until their texts keep clear of each other."""
    ticks = scale.ticks(most)
    while len(ticks) > 2:
        widest = max(text_width(written(value)) for value in ticks) + 8
        gaps = [abs(scale.at(b) - scale.at(a)) for a, b in pairwise(ticks)]
        if min(gaps) >= widest:
            break
        ticks = ticks[::2]
    return ticks


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    step = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(step))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= step * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, first + most + 2) if index * step <= high + step * 1e-9]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = [10.0**power for power in range(first, last + 1)]
    if len(decades) >= 3:
        return decades[:: max(1, math.ceil(len(decades) / most))]
    finer = [nice * 10.0**power for power in range(first - 1, last + 1) for nice in (1, 2, 5)]
    return [value for value in finer if low <= value <= high]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else "0"
    return str(value)
