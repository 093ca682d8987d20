"""The form of a task's answers: stated by requests, else inferred from the answers.

Requests state a form of JSON answers in `response_format`, and of tools' arguments in `tools`. Inferred is also how the
incumbent writes that a field has no value.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import canonical_object, flat, is_nothing, join, split
from stepdown.core.extraction.form import ARGUMENTS, TOOL, Absent, Field, Form, refused_tool
from stepdown.core.extraction.schema import MAX_FIELDS, SCALARS, SchemaReader, type_of
from stepdown.core.extraction.validation import kept

MAX_SCHEMAS = 8
"""Different schemas of one answer that are kept to check answers by."""
_EITHER = "any of the schemas that requests state"


def form_of_answer(schema: Any) -> Form:
    """The form of answers that one schema describes."""
    read = SchemaReader(schema)
    return Form(fields=tuple(read.fields.values()), refused=read.refused, schemas={"": kept(schema)})


def form_of_tools(tools: Any) -> Form:
    """The form of one request's tools, as OpenAI states them, in `tools` or the older `functions`.

    Of two tools with one name no call can be told apart: both are refused.
    """
    stated = [each for each in map(_function, tools if isinstance(tools, list) else []) if each is not None]
    names = [str(each["name"]) for each in stated]
    twice = {name for name in names if names.count(name) > 1}
    unique = tuple(dict.fromkeys(names))
    form = Form(
        fields=(Field(name=TOOL, choices=tuple(name for name in unique if name not in twice)),),
        tools=unique,
        refused={refused_tool(name): "two tools have this name" for name in unique if name in twice},
    )
    for each in stated:
        name = str(each["name"])
        if name not in twice:
            parameters = each.get("parameters") or {"type": "object", "properties": {}}
            read = SchemaReader(parameters, (ARGUMENTS,), (name,))
            one = Form(fields=tuple(read.fields.values()), refused=read.refused, schemas={name: kept(parameters)})
            form = merged(form, one)
    return form


def _function(tool: Any) -> dict[str, Any] | None:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    named = isinstance(function, dict) and isinstance(function.get("name"), str) and function["name"]
    return function if named else None


def merged(one: Form, other: Form) -> Form:
    """Both forms in one, for requests of a task that state different schemas, or for its tools."""
    fields = {field.name: field for field in one.fields}
    refused = {**other.refused, **one.refused}
    for field in other.fields:
        known = fields.get(field.name)
        if known is not None and known.many != field.many:
            refused[field.name] = "it is a list in some schemas and a single value in others"
        fields[field.name] = field if known is None else _either(known, field)
    schemas = dict(one.schemas)
    for name, schema in other.schemas.items():
        schemas[name] = _any_of(schemas[name], schema) if name in schemas else schema
    return Form(
        fields=tuple(field for field in fields.values() if field.name not in refused),
        tools=tuple(dict.fromkeys((*one.tools, *other.tools))),
        refused=refused,
        schemas=schemas,
        inferred=one.inferred or other.inferred,
    )


def _either(one: Field, other: Field) -> Field:
    both = {canonical_json(choice): choice for choice in (*one.choices, *other.choices)}
    return msgspec.structs.replace(
        one,
        types=tuple(dict.fromkeys((*one.types, *other.types))),
        choices=tuple(both.values()) if one.choices and other.choices else (),
        tools=tuple(dict.fromkeys((*one.tools, *other.tools))),
        required=one.required and other.required,
        absent=one.absent if one.absent == other.absent else "omit",
    )


def _any_of(one: Any, other: Any) -> Any:
    """A schema for what fits either. Each keeps an identity of its own, by which its inner references are resolved."""
    branches = one["anyOf"] if isinstance(one, dict) and one.get("title") == _EITHER else [one]
    if (
        canonical_json(other) in {canonical_json(_anonymous(branch)) for branch in branches}
        or len(branches) >= MAX_SCHEMAS
    ):
        return one
    named = [*(_anonymous(branch) for branch in branches), other]
    return {
        "title": _EITHER,
        "anyOf": [
            {"$id": f"urn:stepdown:{at}", **schema} if isinstance(schema, dict) else schema
            for at, schema in enumerate(named)
        ],
    }


def _anonymous(schema: Any) -> Any:
    if isinstance(schema, dict) and str(schema.get("$id", "")).startswith("urn:stepdown:"):
        return {key: value for key, value in schema.items() if key != "$id"}
    return schema


def form_of(requests: Iterable[Mapping[str, Any]], tools: bool) -> Form | None:
    """The form that the requests of one task state together, of tools or of JSON; None where none states one."""
    seen: set[bytes] = set()
    form: Form | None = None
    for request in requests:
        stated = (request.get("tools") or request.get("functions")) if tools else _stated(request)
        if not stated:
            continue
        try:
            key = canonical_json(stated)
        except RecursionError:
            # Deeper than JSON is written: whoever asks so states nothing that could be kept.
            continue
        if key in seen:
            continue
        seen.add(key)
        form_stated = form_of_tools(stated) if tools else form_of_answer(stated)
        form = form_stated if form is None else merged(form, form_stated)
    return form


def _stated(request: Mapping[str, Any]) -> Any:
    node: Any = request.get("response_format")
    for key in ("json_schema", "schema"):
        node = node.get(key) if isinstance(node, dict) else None
    return node


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
    items = [item for value in values if isinstance(value, list) for item in value]
    if any(isinstance(each, dict) for each in items):
        return "it is a list of objects"
    return "it is a list of lists" if any(isinstance(each, list) for each in items) else ""


def _field(name: str, values: Sequence[Any], tools: tuple[str, ...], everywhere: bool) -> Field:
    lists = sum(isinstance(value, list) for value in values)
    scalars = [item for value in values for item in (value if isinstance(value, list) else [value])]
    seen = {type_of(scalar) for scalar in scalars}
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
        usual = max(counts, key=lambda style: counts[style]) if counts else field.absent
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
