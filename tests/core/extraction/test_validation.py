"""Values held against schemas, hostile ones too."""

from __future__ import annotations

from typing import Any

import pytest

from stepdown.core.extraction.validation import is_tame, kept, validator

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}, "zip": {"$ref": "#/$defs/zip"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"zip": {"type": ["integer", "null"], "minimum": 1}},
}


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"city": "Bonn", "zip": 5}, True),
        ({"city": "Bonn", "zip": None}, True),
        ({"city": "bonn"}, False),
        ({"city": "Bonn", "zip": "5"}, False),
        ({"city": "Bonn", "zip": 0}, False),
        ({"city": "Bonn", "more": 1}, False),
        ({}, False),
        ([], False),
    ],
)
def test_a_value_fits_or_not(value: Any, fits: bool) -> None:
    assert validator(PLACE)(value) is fits


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/never-fetched.json"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"$dynamicRef": "https://example.com/x"},
        {"type": "nonsense"},
        {"type": "object", "required": "city"},
        {"multipleOf": 0},
        {"pattern": "(a+)+$"},
        {"pattern": "("},
        {"$schema": "https://example.com/draft"},
        7,
        None,
    ],
)
def test_what_cannot_be_told_is_not_held_against_a_value(schema: Any) -> None:
    assert validator(schema)("a" * 40 + "b") is True


def test_a_schema_that_doubles_at_every_reference_ends() -> None:
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    defs["d40"] = {"type": "string"}
    assert validator({"$ref": "#/$defs/d0", "$defs": defs})("x") is True


def test_huge_and_deep_schemas_end() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        deep = {"type": "object", "properties": {"a": deep}}
    assert validator(deep)({"a": {"a": 1}}) is False
    for _ in range(1_000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert validator(deep)({"a": {"a": 1}}) is True
    assert kept(deep) == kept(kept(deep))
    assert kept({"enum": [1], "anyOf": [{}] * 50_000}) is True
    assert validator({"enum": list(range(100_000))})(5) is True
    assert validator({"anyOf": [{"const": n} for n in range(30_000)]})("x") is True


def test_old_ways_of_writing_schemas_are_understood() -> None:
    assert validator({"type": "dict", "properties": {"a": {"type": "float"}}})({"a": 1.5}) is True
    assert validator({"type": "dict", "properties": {"a": {"type": "float"}}})({"a": "x"}) is False
    assert validator({"items": [{"type": "string"}]})(["a"]) is True
    assert validator({"minimum": 1, "exclusiveMinimum": True})(1) is True
    assert validator({"uniqueItems": True})([1, 1]) is False


@pytest.mark.parametrize(
    "pattern", [r"^\d{4}-\d{2}-\d{2}$", "^[A-Z]{3}[0-9]+$", r"^(\+\d{1,2} )?\d+$", "^[a-z]+@[a-z.]+$"]
)
def test_plain_expressions_are_checked(pattern: str) -> None:
    assert is_tame(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*b",
        r"(a)\1",
        "a?" * 40 + "a" * 40,
        ".*.*.*x",
        "(x{1,50}){1,50}",
        "a" * 300,
        "[",
        "(?P<n>a)",
        None,
    ],
)
def test_expressions_that_could_take_for_ever_are_not(pattern: Any) -> None:
    assert not is_tame(pattern)
