"""The rules by which a piece of text becomes a value, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.extraction.values import NORMALISERS, places, value_of

TEXT, WHOLE, DECIMAL = ("string",), ("integer",), ("number",)
CASES = [
    ("as written", " Abba ", TEXT, "Abba"),
    ("as written", "4", WHOLE, 4),
    ("as written", "4.50", DECIMAL, 4.5),
    ("as written", "four", WHOLE, None),
    ("trimmed punctuation", '"Abba",', TEXT, "Abba"),
    ("single spaces", "New \n York", TEXT, "New York"),
    ("lower", "NEW York", TEXT, "new york"),
    ("upper", "sfo", TEXT, "SFO"),
    ("title", "new york", TEXT, "New York"),
    ("code", "a-123", TEXT, "A123"),
    ("integer", "1,200", WHOLE, 1200),
    ("integer", "1,200", TEXT, "1200"),
    ("integer", "four", WHOLE, 4),
    ("integer", "four", TEXT, "4"),
    ("integer", "Twenty-five", WHOLE, 25),
    ("integer", "one hundred and five", WHOLE, 105),
    ("integer", "two thousand three hundred", WHOLE, 2300),
    ("integer", "five six", WHOLE, None),
    ("integer", "3rd", WHOLE, 3),
    ("integer", "for 4 people", WHOLE, 4),
    ("integer", "4 or 5", WHOLE, None),
    ("integer", "9" * 5000, WHOLE, None),
    ("number", "1.5k", DECIMAL, 1500),
    ("number", "-3.25", DECIMAL, -3.25),
    ("number", "1.2.3", DECIMAL, None),
    ("money", "$1,200.50", DECIMAL, 1200.5),
    ("money", "20 dollars", DECIMAL, 20),
    ("money", "€1.1k", DECIMAL, 1100),
    ("date, month first", "May 5th, 2024", TEXT, "2024-05-05"),
    ("date, month first", "the 5th of May 2024", TEXT, "2024-05-05"),
    ("date, month first", "5/6/2024", TEXT, "2024-05-06"),
    ("date, day first", "5/6/2024", TEXT, "2024-06-05"),
    ("date, day first", "2024-05-31", TEXT, "2024-05-31"),
    ("date, month first", "30 February 2024", TEXT, None),
    ("date, month first", "May 5th", TEXT, None),
    ("time", "7 pm", TEXT, "19:00"),
    ("time", "7:30 a.m.", TEXT, "07:30"),
    ("time", "12 am", TEXT, "00:00"),
    ("time", "noon", TEXT, "12:00"),
    ("time", "19:00", TEXT, "19:00"),
    ("time", "25:00", TEXT, None),
    ("time", "half past seven", TEXT, None),
]


@pytest.mark.parametrize(("rule", "piece", "types", "value"), CASES)
def test_a_piece_has_a_value(rule: str, piece: str, types: tuple[str, ...], value: Any) -> None:
    found = value_of(rule, piece, types)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("rule", "piece", "types", "value"), [case for case in CASES if case[3] is not None])
def test_a_value_is_found_where_its_piece_stands(rule: str, piece: str, types: tuple[str, ...], value: Any) -> None:
    text = f"Well: {piece} it is"
    found = places(rule, text, value, types)
    assert found
    assert all(value_of(rule, text[start:end], types) == value for start, end in found)


@given(
    st.sampled_from(sorted(NORMALISERS)),
    st.text(alphabet="aAß İé\u0301\U0001f44d\U0001f3fd\u200d1,.4:/-$ pm", max_size=30),
    st.data(),
)
def test_every_place_of_every_rule_is_proved_by_the_rule(rule: str, text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    value = value_of(rule, text[start:end], ("string", "number"))
    if value is not None:
        for left, right in places(rule, text, value, ("string", "number")):
            assert value_of(rule, text[left:right], ("string", "number")) == value


def test_whole_words_come_first() -> None:
    assert places("as written", "know no", "no") == [(5, 7), (1, 3)]
    assert places("integer", "2 or 12", 2, WHOLE) == [(0, 1)]


def test_a_value_is_never_cut_out_of_a_character() -> None:
    assert places("as written", "cafe\u0301 bar", "cafe") == []
    assert places("as written", "cafe\u0301 bar", "cafe\u0301") == [(0, 5)]
    thumbs = "\U0001f44d\U0001f3fd"
    assert places("as written", f"ok {thumbs}", "\U0001f44d") == []
    assert places("as written", f"ok {thumbs}", thumbs) == [(3, 5)]
    family = "\U0001f468\u200d\U0001f469"
    assert places("as written", family, "\U0001f469") == []
    flags = "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7"
    assert places("as written", flags, "\U0001f1ea\U0001f1eb") == []
    assert places("as written", flags, "\U0001f1eb\U0001f1f7") == [(2, 4)]


def test_scripts_without_spaces_and_from_right_to_left() -> None:
    assert places("as written", "我要去北京", "北京") == [(3, 5)]
    assert places("as written", "אני רוצה לטוס לתל אביב", "תל אביב") == [(15, 22)]


def test_booleans_stand_nowhere() -> None:
    assert places("as written", "True 1", True) == []


def test_a_long_text_takes_no_power_of_its_length() -> None:
    for text in ("1," * 20_000, "one " * 10_000, " " * 40_000, "$" * 40_000, "a\t" * 20_000):
        for rule in NORMALISERS:
            places(rule, text, 7, ("number",))
            places(rule, text, "2024-05-05")
            places(rule, text, "a a")
