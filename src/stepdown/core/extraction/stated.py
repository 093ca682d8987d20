"""The form that a task's requests state: of JSON answers in `response_format`, of tools' arguments in `tools`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.form import ARGUMENTS, TOOL, Field, Form, refused_tool
from stepdown.core.extraction.schema import SchemaReader
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
    if canonical_json(other) in {canonical_json(_anonymous(each)) for each in branches} or len(branches) >= MAX_SCHEMAS:
        return one
    named = [*(_anonymous(each) for each in branches), other]
    return {
        "title": _EITHER,
        "anyOf": [
            {"$id": f"urn:stepdown:{at}", **each} if isinstance(each, dict) else each for at, each in enumerate(named)
        ],
    }


def _anonymous(schema: Any) -> Any:
    if isinstance(schema, dict) and str(schema.get("$id", "")).startswith("urn:stepdown:"):
        return {key: value for key, value in schema.items() if key != "$id"}
    return schema


def form_of(requests: Iterable[Mapping[str, Any]], tools: bool) -> Form | None:
    """What the requests of one task state of its answers, together: of tools or of JSON; None where none states any."""
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
        found = form_of_tools(stated) if tools else form_of_answer(stated)
        form = found if form is None else merged(form, found)
    return form


def _stated(request: Mapping[str, Any]) -> Any:
    node: Any = request.get("response_format")
    for key in ("json_schema", "schema"):
        node = node.get(key) if isinstance(node, dict) else None
    return node
