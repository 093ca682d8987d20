"""Small bars inside tables."""

from __future__ import annotations

from markupsafe import Markup

from stepdown.core.estimates import Estimate
from stepdown.report import svg
from stepdown.report.format import bounded

WIDTH, HEIGHT = 132.0, 16.0


def error_bar(error: Estimate, against: Estimate | None, most: float) -> Markup:
    """An error's bar with its interval as a whisker, and the incumbent's as an upright tick; `most` fills the width."""
    x = svg.Scale(0.0, most if most > 0 and bounded(most) else 1.0, 1.0, WIDTH - 3)
    parts = [svg.element("rect", x=1, y=4, width=max(0.0, x.at(error.value) - 1), height=8, class_="fill")]
    parts += [svg.line(x.at(error.low), HEIGHT / 2, x.at(error.high), HEIGHT / 2, "whisker")]
    if against is not None:
        parts += [svg.line(x.at(against.value), 1, x.at(against.value), HEIGHT - 1, "against")]
    return _small(*parts)


def claim_bar(estimate: float, bound: float, limit: float, holds: bool) -> Markup:
    """From an estimate to its bound, beside the limit that it must stay under."""
    values = [0.0, *(value for value in (estimate, bound, limit) if bounded(value))]
    air = (max(values) - min(values)) * 0.08 or 1.0
    x = svg.Scale(min(values) - air, max(values) + air, 1.0, WIDTH - 1)
    class_ = "holds" if holds else "fails"
    parts = [svg.line(1, HEIGHT / 2, WIDTH - 1, HEIGHT / 2, "rail")]
    parts += [svg.line(x.at(0.0), 3, x.at(0.0), HEIGHT - 3, "rail")]
    if bounded(estimate):
        end = x.at(bound) if bounded(bound) else WIDTH - 1
        parts += [svg.line(x.at(estimate), HEIGHT / 2, end, HEIGHT / 2, "reach " + class_)]
        parts += [svg.element("circle", cx=x.at(estimate), cy=HEIGHT / 2, r=4, class_="dot " + class_)]
    if bounded(limit):
        parts += [svg.line(x.at(limit), 0, x.at(limit), HEIGHT, "limit")]
    return _small(*parts)


def share_bar(share: float, class_: str = "fill") -> Markup:
    """A share of the whole, in [0, 1]."""
    width = (WIDTH - 2) * min(1.0, max(0.0, share)) if bounded(share) else 0.0
    return _small(
        svg.element("rect", x=1, y=4, width=WIDTH - 2, height=8, class_="track"),
        svg.element("rect", x=1, y=4, width=width, height=8, class_=class_),
    )


def _small(*parts: Markup) -> Markup:
    return svg.element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=WIDTH,
        height=HEIGHT,
        class_="spark",
        aria_hidden="true",
    )
