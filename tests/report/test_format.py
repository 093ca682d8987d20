"""Numbers as people read them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.estimates import Estimate
from stepdown.report import format as written
from stepdown.report.format import MEGABYTES, PERCENT, POINTS, SECONDS, USD, Unit, quantity, show


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=2000, method="m")


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "expected", "interval"),
    [
        (0.0592, 0.051, 0.068, PERCENT, "5.9 %", "5.1 to 6.8 %"),
        (0.00086, 0.00085, 0.00089, SECONDS, "0.860 ms", "0.850 to 0.890 ms"),
        (0.0000613, 0.00006, 0.000063, SECONDS, "61.3 µs", "60.0 to 63.0 µs"),
        (0.0123, 0.01, 0.015, USD, "$0.0123", "$0.0100 to $0.0150"),
        (1583.0, 1240.0, 1930.0, USD, "$1,600", "$1,200 to $1,900"),
        (-0.021, -0.03, -0.012, POINTS, "−2.1 points", "−3.0 to −1.2 points"),
        (22.13, 22.13, 22.13, MEGABYTES, "22.1 MB", ""),
        (0.0, 0.0, 0.0015, PERCENT, "0.00 %", "0.00 to 0.15 %"),
        (1.0, 0.5, math.inf, Unit(), "1.00", "0.50 or more"),
    ],
)
def test_digits_follow_the_interval(
    value: float, low: float, high: float, unit: Unit, expected: str, interval: str
) -> None:
    shown = show(estimate(value, low, high), unit)
    assert shown is not None
    assert plain(shown.interval) == interval
    assert plain(shown.value) == expected
    assert "n = 2,000" in plain(shown.note)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (written.usd(0.0123), "$0.012"),
        (written.usd(1.4), "$1.40"),
        (written.usd(12345.6), "$12,346"),
        (written.usd(-3.5), "−$3.50"),
        (written.usd(0.0), "$0"),
        (written.usd(None), "not known"),
        (written.points(0.013), "1.3 points"),
        (written.points(-0.01), "1 point"),
        (written.points(0.0), "0 points"),
        (written.points(0.0004), "0.04 points"),
        (written.signed_points(-0.021), "−2.1 points"),
        (written.signed_points(0.02), "+2 points"),
        (written.duration(0.0021), "2.1 ms"),
        (written.duration(130.0), "2 min 10 s"),
        (written.duration(3 * 3600 + 300.0), "3 h 5 min"),
        (written.duration(30 * 86400.0), "30 days"),
        (written.duration(math.nan), "not known"),
        (written.moment(1_795_198_000.0), "20 November 2026, 18:06 UTC"),
        (written.moment(0.0), "not known"),
        (written.moment(1e300), "not known"),
        (written.p_value(3e-9), "< 0.0001"),
        (written.p_value(0.0312), "0.031"),
        (quantity(0.95, PERCENT), "95 %"),
        (quantity(0.0004, MEGABYTES), "0.4 kB"),
        (quantity(math.inf), "without bound"),
        (quantity(None), "not known"),
        (written.plural(1, "label"), "1 label"),
        (written.plural(1200, "label"), "1,200 labels"),
        (written.plainly({"email": 3, "masked": False}), "email 3, masked no"),
        (written.plainly([]), "none"),
        (written.shorten("abcdef", 4), "abc…"),
    ],
)
def test_written(got: str, expected: str) -> None:
    assert plain(got) == expected


def test_identifiers_may_break_after_an_underscore_and_stay_escaped() -> None:
    assert str(written.soften("card_<b>_not")) == "card_&lt;b&gt;_<wbr>not"


FINITE = st.floats(min_value=-1e12, max_value=1e12)


@given(middle=FINITE, width=st.floats(min_value=0, max_value=1e9))
def test_the_value_shown_is_the_value_within_the_interval_width(middle: float, width: float) -> None:
    """Rounding never moves a figure by more than half its interval, or half a percent of itself where that is wider."""
    shown = show(estimate(middle, middle - width / 2, middle + width / 2), Unit(most=8))
    assert shown is not None
    back = float(shown.value.replace(",", "").replace("−", "-"))
    assert abs(back - middle) <= max(width / 2, abs(middle) * 0.005, 1e-8)


@given(st.floats(), st.sampled_from([PERCENT, POINTS, SECONDS, USD, MEGABYTES, written.JOULES, written.PER_SECOND]))
def test_every_number_can_be_written(value: float, unit: Unit) -> None:
    for text in (quantity(value, unit), written.usd(value), written.duration(value), written.points(value)):
        assert text
        assert not re.search(r"nan|inf\b", text) or not math.isfinite(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_can_be_said_plainly(value: object) -> None:
    assert isinstance(written.plainly(value), str)
