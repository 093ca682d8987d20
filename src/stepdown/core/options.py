"""The options of a kind: the fields of its module's `Options`, each with a type, a default and a description.

`Options` is a frozen dataclass or a msgspec struct whose every field has a default. A field is described by a
`msgspec.Meta(description=…)` or by the string below it, and bounded by its type (`Count`, `Share`, a `Literal` …).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from stepdown.core.errors import UsageError, nearest

Whole = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "nothing"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class Option:
    """One option. type: its annotation, bounds included. default: NO_DEFAULT where it must be given."""

    name: str
    type: Any
    default: Any
    description: str

    @property
    def expected(self) -> str:
        """What it takes, in words: "a whole number, at least 1"."""
        return type_in_words(self.type)

    @property
    def plain_type(self) -> Any:
        """Its annotation without bounds and descriptions."""
        return get_args(self.type)[0] if get_origin(self.type) is Annotated else self.type


def options_of(kind: object) -> dict[str, Option]:
    """The options of a kind by name, in the order of its `Options`; none where its module has no such class."""
    declared = getattr(kind, "Options", None)
    return {} if declared is None else fields_of(declared)


def fields_of(declared: type[Any]) -> dict[str, Option]:
    """The fields of a dataclass or a msgspec struct as options."""
    hints = get_type_hints(declared, include_extras=True)
    below = {name: text for one in reversed(declared.__mro__) for name, text in _strings_below(one).items()}
    described = {name: _meta_description(hints[name]) or below.get(name, "") for name in hints}
    if dataclasses.is_dataclass(declared):
        return {
            each.name: Option(each.name, hints[each.name], each.default, described[each.name])
            for each in dataclasses.fields(declared)
        }
    return {
        each.name: Option(each.name, hints[each.name], each.default, described[each.name])
        for each in msgspec.structs.fields(declared)
    }


def read_options(owner: str, kind: object, given: Mapping[str, Any], from_text: bool = False) -> dict[str, Any]:
    """What is given of a kind's options, each in its own type.

    owner: the kind in messages ("the student 'encoder'"). from_text: values are texts, as a command line has them.
    Raises UsageError: an unknown option (with the nearest), a wrong type or a value out of bounds.
    """
    known = options_of(kind)
    for name in given:
        if name not in known:
            close = nearest(name, known)
            raise UsageError(
                f"{owner[:1].upper()}{owner[1:]} has no option {name!r}.",
                f"Known: {', '.join(known) or 'none'}.",
                f"Did you mean {close!r}?" if close else "Leave it out.",
            )
    return {name: _value(owner, known[name], value, from_text) for name, value in given.items()}


def type_in_words(hint: Any) -> str:
    """A type as a reader of the reference wants it."""
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        bounds = [
            f"{word} {bound:g}"
            for note in notes
            if isinstance(note, msgspec.Meta)
            for name, word in _BOUNDS.items()
            if (bound := getattr(note, name)) is not None
        ]
        return ", ".join([type_in_words(inner), *bounds])
    if get_origin(hint) is Literal:
        return " or ".join(f'"{each}"' for each in get_args(hint))
    if get_origin(hint) in (tuple, list):
        return f"a list of {type_in_words(get_args(hint)[0]).removeprefix('a ')}s"
    if get_origin(hint) is dict:
        return "a table"
    if get_args(hint):
        return " or ".join(type_in_words(each) for each in get_args(hint) if each is not NoneType)
    return _WORDS.get(hint, "a table" if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else "text")


def _value(owner: str, option: Option, given: Any, from_text: bool) -> Any:
    try:
        value = msgspec.convert(given, option.type, strict=not from_text)
        if isinstance(value, float) and not math.isfinite(value):
            raise msgspec.ValidationError
    except msgspec.ValidationError:
        raise UsageError(
            f"{owner[:1].upper()}{owner[1:]} is given {option.name} = {str(given)[:60]!r}.",
            f"Expected {option.expected}.",
            "Correct it, or leave it out.",
        ) from None
    return value


def _meta_description(hint: Any) -> str:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((note.description for note in notes if isinstance(note, msgspec.Meta) and note.description), "")


def _strings_below(declared: type[Any]) -> dict[str, str]:
    """The string below each field of a class, as its source has it; none where there is no source."""
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(declared))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, below in itertools.pairwise(statements):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            found |= {field.target.id: " ".join(text.split())} if isinstance(text, str) else {}
    return found
