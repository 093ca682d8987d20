"""Canonical answers and their flat fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import canonical_object, flat, join, nested, same, split

KEYS = st.text(alphabet=".\\ab é", max_size=4)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(OBJECTS)
def test_a_canonical_answer_has_nothing_empty_and_is_flat_and_back(value: dict[str, Any]) -> None:
    answer = canonical_object(value)
    if answer is None:  # an integer that is no reasonable one
        return
    assert canonical_object(answer) == answer
    assert nested(flat(answer)) == answer
    assert all(leaf not in (None, "", [], {}) for leaf in flat(answer).values())
    canonical_json(answer)


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_a_name_says_its_keys(keys: list[str]) -> None:
    assert split(join(keys)) == tuple(keys)


def test_what_is_not_there_is_dropped_and_texts_are_stripped() -> None:
    value = {"a": None, "b": "  ", "c": [None, "", " x "], "d": {"e": {}, "f": []}, "g": 4.0, "h": 0, "i": False}
    assert canonical_object(value) == {"c": ["x"], "g": 4, "h": 0, "i": False}


@pytest.mark.parametrize("value", [None, [], "text", {"a": float("nan")}, {1: "a"}, {"a": object()}])
def test_what_is_no_object_is_no_answer(value: Any) -> None:
    assert canonical_object(value) is None


def test_what_is_too_deep_or_too_large_is_no_answer() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(100):
        deep = {"a": deep}
    assert canonical_object(deep) is None
    assert canonical_object({"a": list(range(1, 30_000))}) is None


def test_half_a_surrogate_pair_can_be_written() -> None:
    answer = canonical_object({"a": "x\ud800"})
    assert answer is not None
    assert "\ufffd" in answer["a"]
    assert canonical_json(answer)


def test_of_two_names_that_no_object_has_together_the_first_stays() -> None:
    assert nested({"a": 1, "a.b": 2}) == {"a": 1}
    assert nested({"a.b": 2, "a": 1}) == {"a": {"b": 2}}


def test_true_is_not_one() -> None:
    assert not same({"a": [True]}, {"a": [1]})
    assert same({"a": [1]}, {"a": [1.0]})
