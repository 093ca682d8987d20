"""A form: the fields of a task's answers, as their JSON schema states them or as the answers themselves show.

A canonical answer of the family `extract` is a JSON object without anything that says "not there" (null, "", [], {}).
A task that calls tools has answers {"tool": NAME, "arguments": {…}}; a reply in words, which calls none, is {}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

TOOL = "tool"
"""The field that says which tool is called."""
ARGUMENTS = "arguments"
CALLS = "calls"
"""The key of an answer that calls several tools at once."""
WHOLE = "$"
"""In place of a field's name where a form refuses the whole answer."""

Absent = Literal["omit", "null", "empty"]
RoleName = Literal["copied", "closed", "derived", "text"]


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value of an answer, or a list of such values.

    name: its place, keys from the root joined by dots ("slots.city", "arguments.city"; see `answers.flat`).
    types: the JSON types that one value may have. many: it is a list of them. choices: what the schema's enum allows,
    () where it is open. tools: those that have it; () for JSON answers. required: has to be there, in every tool that
    has it. absent: how the incumbent writes that there is none, null or an empty text or list where the key stays.
    """

    name: str
    types: tuple[str, ...] = ("string",)
    many: bool = False
    choices: tuple[Any, ...] = ()
    tools: tuple[str, ...] = ()
    required: bool = False
    absent: Absent = "omit"


class Form(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task's answers look like.

    tools: the names of the tools that the task's requests offer; () for JSON answers. refused: why a field cannot be
    filled by any student, by its name: an answer that has one is the incumbent's to give. schemas: the JSON schema of
    the answer under "", or of each tool's arguments under its name. inferred: no request stated a schema, and this one
    is what the answers have in common.
    """

    fields: tuple[Field, ...] = ()
    tools: tuple[str, ...] = ()
    refused: dict[str, str] = {}
    schemas: dict[str, Any] = {}
    inferred: bool = False

    def field(self, name: str) -> Field | None:
        """The field of that name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    def refused_in(self, values: Mapping[str, Any]) -> set[str]:
        """The refused fields that an answer's flat values have: a field itself, what it lies in, or its tool."""
        if not self.refused:
            return set()
        known = {field.name for field in self.fields}
        found = {
            refused
            for refused in self.refused
            for name in values
            if name == refused or (name not in known and (refused == WHOLE or name.startswith(refused + ".")))
        }
        return found | ({refused_tool(str(values.get(TOOL)))} & self.refused.keys())


def refused_tool(name: str) -> str:
    """The name under which a form refuses a whole tool."""
    return f"{TOOL} {name}"


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a field gets its value, learned from the training answers.

    "copied": it stands in the text; `normaliser` says by which rule of `values` a piece of text becomes the value.
    "closed": one of `choices` (booleans and tools too), or not there. "derived": it follows from other fields, or from
    the text as a whole (`derived`), and is marked nowhere. "text": none of these; a student can only tell that it is
    there, and then leaves the answer to the incumbent. aligned, unaligned: of the training answers that have the field,
    how many stand in their text or follow, and how many do neither, and are not learned from.

    sums: the field is this sum of others, each times its factor, where it is not read itself. base, terms: it is so
    many days after the field `base`, as terms of payment in the text say; terms: which of several are meant. whole: it
    is the only value that its rule reads anywhere in the text. checked: an answer that breaks what `sums` or `base` say
    is not given. partly: many values cannot be got so, and a student tells row by row where that is so. always: nearly
    every answer has it, and one without it is not given. cues: what a word before a piece of text speaks for its being
    the field's, where a value stands in several places.
    """

    field: str
    role: RoleName
    normaliser: str = "as written"
    choices: tuple[Any, ...] = ()
    aligned: int = 0
    unaligned: int = 0
    sums: dict[str, int] = {}
    base: str = ""
    terms: str = ""
    whole: bool = False
    checked: bool = False
    partly: bool = False
    always: bool = False
    cues: dict[str, float] = {}

    @property
    def follows(self) -> bool:
        """Whether the field has a rule by which it follows from others, or from the whole text."""
        return bool(self.sums or self.base or self.whole)


class Span(msgspec.Struct, frozen=True, order=True):
    """A piece of a text that is a field's value: characters start to end (Python's, that is code points)."""

    start: int
    end: int
    field: str
