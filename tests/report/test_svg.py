"""Scales, ticks and labels of charts."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from stepdown.report import svg

POSITIVE = st.floats(min_value=1e-9, max_value=1e9)


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1), st.booleans())
def test_a_linear_scale_holds_its_values_and_has_ticks(values: list[float], zero: bool) -> None:
    scale = svg.linear(values, 300.0, 20.0, zero)
    assert all(scale.low <= value <= scale.high for value in values)
    assert all(20.0 <= scale.at(value) <= 300.0 for value in values)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 7
    assert ticks == sorted(ticks)


@given(st.lists(POSITIVE, min_size=1))
def test_a_logarithmic_scale_has_room_and_ticks(values: list[float]) -> None:
    scale = svg.logarithmic(values, 40.0, 700.0)
    assert all(40.0 < scale.at(value) < 700.0 for value in values)
    ticks = scale.ticks(6)
    assert ticks
    assert all(scale.low * 0.999 <= tick <= scale.high * 1.001 for tick in ticks)


def test_a_scale_without_finite_values_still_draws() -> None:
    assert svg.linear([math.nan, math.inf], 0.0, 10.0).ticks(4)
    assert svg.logarithmic([0.0, -1.0, math.nan], 0.0, 10.0).ticks(4)


@given(st.lists(st.tuples(st.floats(min_value=60, max_value=640), st.floats(min_value=40, max_value=300)), max_size=8))
def test_labels_do_not_overlap(points: list[tuple[float, float]]) -> None:
    labels = svg.Labels((0.0, 720.0, 0.0, 360.0))
    before = 0
    for index, (x, y) in enumerate(points):
        labels.place(x, y, f"student {index}", "student")
    boxes = labels.taken[before:]
    overlapping = [
        (a, b)
        for index, a in enumerate(boxes)
        for b in boxes[index + 1 :]
        if a[0] < b[2] and a[2] > b[0] and a[1] < b[3] and a[3] > b[1]
    ]
    # Forty places are tried for each; eight labels always find room on a chart of this size.
    assert not overlapping


def test_attributes_and_children_are_escaped() -> None:
    drawn = str(svg.element("g", "<b>", svg.tip("&"), aria_label='"x" <y>', class_="a"))
    assert drawn == '<g aria-label="&#34;x&#34; &lt;y&gt;" class="a">&lt;b&gt;<title>&amp;</title></g>'
