"""Forms from JSON schemas: supported, or refused by field name with a reason in plain words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.extraction.form import Form
from stepdown.core.extraction.stated import form_of, form_of_answer, form_of_tools, merged

TEXT = {"type": "string"}


def _of(properties: dict[str, Any], **more: Any) -> Form:
    return form_of_answer({"type": "object", "properties": properties, **more})


def _tool(name: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, **more}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def test_fields_of_every_supported_kind() -> None:
    form = _of(
        {
            "kind": {"enum": ["a", "b", None]},
            "fixed": {"const": 3},
            "urgent": {"type": "boolean"},
            "city": {"type": ["string", "null"]},
            "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "amount": {"oneOf": [{"type": "number"}, TEXT]},
            "tags": {"type": "array", "items": TEXT},
            "marks": {"type": "array", "items": {"enum": [1, 2]}, "maxItems": 3},
            "sizes": {"type": "array"},
            "place": {
                "type": "object",
                "properties": {"to.wn": TEXT, "zip": {"$ref": "#/$defs/zip"}},
                "required": ["zip"],
            },
            "all": {"allOf": [{"$ref": "#/$defs/zip"}, {"description": "a code"}]},
            "any": {},
        },
        required=["kind", "city", "place", "urgent"],
        **{"$defs": {"zip": {"type": "integer"}}},
    )
    assert form.refused == {}
    fields = {field.name: field for field in form.fields}
    assert fields["kind"].choices == ("a", "b")
    assert fields["fixed"].choices == (3,)
    assert fields["fixed"].types == ("integer",)
    assert (fields["city"].types, fields["city"].absent, fields["city"].required) == (("string",), "null", False)
    assert (fields["when"].types, fields["when"].absent) == (("string",), "omit")
    assert fields["amount"].types == ("number", "string")
    assert (fields["tags"].many, fields["tags"].types) == (True, ("string",))
    assert (fields["marks"].many, fields["marks"].choices) == (True, (1, 2))
    assert fields["sizes"].many
    assert fields["place.to\\.wn"].required is False
    assert (fields["place.zip"].types, fields["place.zip"].required) == (("integer",), True)
    assert fields["all"].types == ("integer",)
    assert fields["any"].types == ("string", "integer", "number", "boolean")
    assert fields["urgent"].required


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "items": {"type": "object", "properties": {"a": TEXT}}}, "it is a list of objects"),
        ({"type": "array", "items": {"type": "array"}}, "it is a list of lists"),
        ({"type": "array", "prefixItems": [TEXT, TEXT]}, "it is a list with a place for each value"),
        ({"type": "object"}, "its keys are not stated"),
        ({"type": "object", "additionalProperties": TEXT}, "its keys are not stated"),
        ({"type": "object", "patternProperties": {"^x": TEXT}}, "its keys are not stated"),
        ({"type": ["string", "array"]}, "it may be string or list"),
        ({"anyOf": [{"type": "array"}, TEXT]}, "it may be list or string"),
        ({"anyOf": [{"properties": {"a": TEXT}}, {"properties": {"b": TEXT}}]}, "it may be one of several objects"),
        ({"enum": [{"a": 1}]}, "it is chosen among lists or objects"),
        ({"$ref": "https://example.com/s.json"}, "its schema is elsewhere and is not fetched"),
        ({"$ref": "#/$defs/missing"}, "its schema '#/$defs/missing' is missing"),
        ({"$ref": "#"}, "it holds itself again"),
        ({"type": "HashMap"}, "its type 'HashMap' is none of JSON's"),
        (False, "its schema is none"),
    ],
)
def test_what_no_student_fills_is_refused_by_name(schema: Any, reason: str) -> None:
    form = _of({"good": TEXT, "bad": schema})
    assert form.refused == {"bad": reason}
    assert [field.name for field in form.fields] == ["good"]


def test_recursion_is_refused_where_it_begins_again() -> None:
    node = {
        "type": "object",
        "properties": {"name": TEXT, "child": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    }
    form = _of({"tree": {"$ref": "#/$defs/node"}}, **{"$defs": {"node": node}})
    assert [field.name for field in form.fields] == ["tree.name"]
    assert form.refused == {"tree.child": "it holds itself again"}
    loop = _of({"a": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": {"$ref": "#/$defs/x"}}})
    assert loop.refused == {"a": "it holds itself again"}


def test_two_references_to_one_definition_are_no_recursion() -> None:
    form = _of({"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": TEXT}})
    assert [field.name for field in form.fields] == ["a", "b"]


@pytest.mark.parametrize(
    "schema", [{"type": "array"}, {"type": "string"}, {"anyOf": [{"type": "object"}, TEXT]}, 7, {}]
)
def test_an_answer_that_is_no_object_is_refused_whole(schema: Any) -> None:
    form = form_of_answer(schema)
    assert list(form.refused) == ["$"]
    assert form.refused_in({"a": 1}) == {"$"}


def test_a_deep_or_huge_schema_is_bounded() -> None:
    deep: dict[str, Any] = TEXT
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}}
    assert "deeper than" in next(iter(form_of_answer(deep).refused.values()))
    wide = _of({f"f{n}": TEXT for n in range(1_000)})
    assert len(wide.fields) == 400
    assert wide.refused["f400"] == "there are more than 400 fields"
    doubling = {"$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}}
    assert "a" in _of({"a": {"$ref": "#/$defs/d0"}}, **doubling).refused


def test_tools_share_the_names_of_their_arguments() -> None:
    form = form_of_tools(
        [
            _tool("fly", {"to": {"enum": ["Rome", "Bonn"]}, "seats": {"type": "integer"}}, required=["to"]),
            _tool("stay", {"to": {"enum": ["Bonn", "Ulm"]}, "nights": {"type": "integer"}}, required=["to"]),
            {"type": "function", "function": {"name": "stop"}},
        ]
    )
    fields = {field.name: field for field in form.fields}
    assert form.tools == ("fly", "stay", "stop")
    assert fields["tool"].choices == ("fly", "stay", "stop")
    assert fields["arguments.to"].choices == ("Rome", "Bonn", "Ulm")
    assert fields["arguments.to"].tools == ("fly", "stay")
    assert fields["arguments.to"].required
    assert fields["arguments.nights"].tools == ("stay",)


def test_two_tools_of_one_name_are_refused() -> None:
    form = form_of_tools([_tool("fly", {"a": TEXT}), _tool("fly", {"b": TEXT}), _tool("stay", {"c": TEXT})])
    assert form.refused == {"tool fly": "two tools have this name"}
    assert [field.name for field in form.fields] == ["tool", "arguments.c"]
    assert form.fields[0].choices == ("stay",)
    assert form.refused_in({"tool": "fly"}) == {"tool fly"}


def test_requests_may_state_the_same_schema_with_small_differences() -> None:
    one = _of({"a": {"enum": ["x"]}, "b": TEXT}, required=["a", "b"])
    other = _of({"a": {"enum": ["y"]}, "c": {"type": "array", "items": TEXT}}, required=["a"])
    form = merged(one, other)
    assert [field.name for field in form.fields] == ["a", "b", "c"]
    assert form.fields[0].choices == ("x", "y")
    assert merged(form, _of({"c": TEXT})).refused == {"c": "it is a list in some schemas and a single value in others"}


def test_requests_that_state_nothing_have_no_form() -> None:
    stated = {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"a": TEXT}}}}}
    assert form_of([{}, {"response_format": {"type": "json_object"}}, {"response_format": 7}], False) is None
    form = form_of([{}, stated, stated], False)
    assert form is not None
    assert [field.name for field in form.fields] == ["a"]
    assert form_of([{"tools": [{"type": "function"}, 3]}], True) is not None


def test_every_published_function_is_read(shared_data: Path) -> None:
    functions = supported = refused = 0
    for path in sorted((shared_data / "bfcl_v4").glob("BFCL_v4_*.json")):
        for line in path.read_text("utf-8").splitlines():
            for function in json.loads(line).get("function", []):
                form = form_of_tools([{"type": "function", "function": function}])
                functions += 1
                supported += len(form.fields) - 1
                refused += len(form.refused)
                assert all(reason for reason in form.refused.values())
    assert functions > 5_000
    assert refused < supported / 50
