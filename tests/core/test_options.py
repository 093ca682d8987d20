"""Options of a kind are read from its class: names, types, bounds, defaults, descriptions; what is given is checked."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import msgspec
import pytest

from stepdown.core.errors import UsageError
from stepdown.core.options import Count, Share, options_of, read_options, type_in_words


@dataclass(frozen=True)
class Layered:
    layers: Count = 3
    """How many layers
    are kept."""
    share: Share = 0.5
    mode: Literal["fast", "slow"] = "fast"
    """How."""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    column: Annotated[str, msgspec.Meta(description="The column.")] = ""
    strict: bool = False


LAYERED, DESCRIBED = SimpleNamespace(Options=Layered), SimpleNamespace(Options=Described)


def test_fields_of_a_dataclass_and_of_a_struct_are_options() -> None:
    layers, share, mode = options_of(LAYERED).values()
    assert (layers.name, layers.default, layers.description) == ("layers", 3, "How many layers are kept.")
    assert layers.expected == "a whole number, at least 1"
    assert share.expected == "a number, at least 0, at most 1"
    assert share.description == ""
    assert mode.expected == '"fast" or "slow"'
    column, strict = options_of(DESCRIBED).values()
    assert (column.description, column.plain_type) == ("The column.", str)
    assert strict.expected == "true or false"
    assert options_of(SimpleNamespace()) == {}


def test_texts_and_values_become_what_the_field_has() -> None:
    assert read_options("it", LAYERED, {"layers": "6", "share": "1"}, from_text=True) == {"layers": 6, "share": 1.0}
    assert read_options("it", LAYERED, {"layers": 6, "mode": "slow"}) == {"layers": 6, "mode": "slow"}
    assert read_options("it", DESCRIBED, {"strict": "true"}, from_text=True) == {"strict": True}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layer": 6}, "The student has no option 'layer'. Known: layers, share, mode. Did you mean 'layers'?"),
        ({"layers": "6"}, "The student is given layers = '6'. Expected a whole number, at least 1."),
        ({"layers": 0}, "layers = '0'. Expected a whole number, at least 1"),
        ({"layers": True}, "Expected a whole number"),
        ({"share": float("nan")}, "Expected a number, at least 0, at most 1"),
        ({"mode": "quick"}, 'Expected "fast" or "slow"'),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_options("the student", LAYERED, given)
    assert words in str(raised.value)


def test_types_are_said_in_words() -> None:
    assert type_in_words(tuple[str, ...]) == "a list of texts"
    assert type_in_words(float | None) == "a number"
    assert type_in_words(dict[str, Any]) == "a table"
