"""A form from the answers alone, where no request states one, and how the incumbent writes that there is none."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stepdown.core.extraction.answers import canonical_object, flat, is_nothing, join, split
from stepdown.core.extraction.form import ARGUMENTS, TOOL, Absent, Field, Form
from stepdown.core.extraction.schema import MAX_FIELDS, SCALARS, type_of

MANY_KEYS = 48
RARE = 0.05
"""An object with more than MANY_KEYS keys, half of them in fewer answers than this, has keys of its own choosing."""


def infer(answers: Sequence[Mapping[str, Any]], tools: bool = False) -> Form:
    """What the answers have in common. With nulls and empty values as the incumbent wrote them, if `absent` is to be
    known. tools: they are tool calls, {"tool", "arguments"}."""
    rows = [flat(row) for row in map(canonical_object, answers) if row is not None]
    names = tuple(dict.fromkeys(str(row[TOOL]) for row in rows if TOOL in row)) if tools else ()
    columns: dict[str, list[Any]] = defaultdict(list)
    owners: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
            if tools and name != TOOL:
                tool = str(row.get(TOOL))
                owners[name][tool] = owners[name].get(tool, 0) + 1
    called = Counter(str(row[TOOL]) for row in rows if TOOL in row)
    refused = _free_objects(columns, len(rows))
    fields: list[Field] = []
    for name, values in columns.items():
        if any(name.startswith(each + ".") for each in refused):
            continue
        problem = _why_not(values) or (f"there are more than {MAX_FIELDS} fields" if len(fields) >= MAX_FIELDS else "")
        if problem:
            refused[name] = problem
            continue
        everywhere = len(values) == len(rows)
        if owners[name]:
            everywhere = all(count == called[tool] for tool, count in owners[name].items())
        fields.append(_field(name, values, tuple(owners[name]), everywhere))
    form = Form(fields=tuple(fields), tools=names, refused=refused, inferred=True)
    return with_absent(form, answers)


def _free_objects(columns: Mapping[str, Sequence[Any]], rows: int) -> dict[str, str]:
    """Objects whose keys differ from answer to answer: they are data, not names of fields."""
    children: dict[str, list[int]] = defaultdict(list)
    for name, values in columns.items():
        keys = split(name)
        if len(keys) > 1 and keys[:-1] != (ARGUMENTS,):
            children[join(keys[:-1])].append(len(values))
    return {
        parent: "its keys differ from answer to answer"
        for parent, counts in children.items()
        if len(counts) > MANY_KEYS and statistics.median(counts) < RARE * rows
    }


def _why_not(values: Sequence[Any]) -> str:
    items = [each for value in values if isinstance(value, list) for each in value]
    if any(isinstance(each, dict) for each in items):
        return "it is a list of objects"
    return "it is a list of lists" if any(isinstance(each, list) for each in items) else ""


def _field(name: str, values: Sequence[Any], tools: tuple[str, ...], everywhere: bool) -> Field:
    lists = sum(isinstance(value, list) for value in values)
    scalars = [each for value in values for each in (value if isinstance(value, list) else [value])]
    seen = {type_of(each) for each in scalars}
    if "number" in seen:
        seen.discard("integer")
    return Field(
        name=name,
        types=tuple(kind for kind in SCALARS if kind in seen),
        many=lists * 2 > len(values),
        tools=tools,
        required=everywhere,
    )


def with_absent(form: Form, answers: Sequence[Mapping[str, Any]]) -> Form:
    """The form with how these answers, as the incumbent wrote them, say that a field is not there.

    What its schema says stays where no answer shows it.
    """
    fields = []
    for field in form.fields:
        counts: Counter[Absent] = Counter()
        for answer in answers:
            style = _style(answer, split(field.name)) if not field.tools or answer.get(TOOL) in field.tools else None
            if style is not None:
                counts[style] += 1
        usual = max(counts, key=lambda each: counts[each]) if counts else field.absent
        fields.append(msgspec.structs.replace(field, absent=usual))
    return msgspec.structs.replace(form, fields=tuple(fields))


def _style(answer: Mapping[str, Any], keys: tuple[str, ...]) -> Absent | None:
    """How an answer says that a field is not there; None where it is there."""
    node: Any = answer
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return "omit"
        node = node[key]
    if not is_nothing(node):
        return None
    return "null" if node is None else "empty"
