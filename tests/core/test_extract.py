"""The family extract: which tasks are its own, answers read and written in the incumbent's shape, its losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from stepdown.core.calls import Call
from stepdown.core.extraction.writing import is_valid
from stepdown.core.families import classify, extract
from stepdown.core.family import loss_named
from stepdown.core.tasks import Match, Task

CITIES = ["Bonn", "Rome", "Ulm", "Como", "Paris", "Lyon", "Kiel", "Jena", "Oslo", "Bari"]


def _call(message: dict[str, Any], asked: str = "", **request: Any) -> Call:
    request["messages"] = [{"role": "user", "content": asked}]
    return Call(id="1", request=request, response={"choices": [{"message": message}]})


def _said(content: Any, asked: str = "", **request: Any) -> Call:
    text = content if isinstance(content, str) else json.dumps(content)
    return _call({"role": "assistant", "content": text}, asked, **request)


def _called(name: str, arguments: Any, asked: str = "", **request: Any) -> Call:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "x", "type": "function", "function": function}],
    }
    return _call(message, asked, **request)


def _task(calls: Sequence[Call]) -> Task:
    shape = extract.read_shape(calls)
    return Task(name="t", family="extract", match=Match(), answer=shape.path, form=shape.form)


def _trips(count: int = 60, **more: Any) -> list[Call]:
    return [
        _said(
            {"intent": ("fly", "stay")[n % 2], "slots": {"to": f"{CITIES[n % 10]}{n}"}, **more},
            f"please to {CITIES[n % 10]}{n}",
        )
        for n in range(count)
    ]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "fly",
            "parameters": {
                "type": "object",
                "properties": {
                    "to": {"type": "string"},
                    "seats": {"type": "integer"},
                    "meal": {"type": ["string", "null"]},
                },
                "required": ["to", "meal"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}}}},
]


def _flights() -> list[Call]:
    calls = [_called("fly", {"to": city, "meal": None}, f"to {city}", tools=TOOLS) for city in CITIES]
    return [*calls, _called("stop", "", tools=TOOLS), _said("Where to?", tools=TOOLS)]


# Which tasks are whose


def test_objects_of_fields_and_tool_calls_are_its_own() -> None:
    for calls in (_trips(), _flights()):
        assert extract.fits(calls) > 0.95
        assert extract.fits(calls) > classify.fits(calls)


def test_a_label_with_words_round_it_stays_a_label() -> None:
    calls = [
        _said({"category": "abcd"[n % 4], "confidence": n / 60, "reason": f"since {n * 7919} is so"}, f"ticket {n}")
        for n in range(60)
    ]
    assert extract.fits(calls) == 0.0
    assert classify.fits(calls) > 0.9


def test_plain_labels_and_texts_are_none_of_its_own() -> None:
    assert extract.fits([_said("good"), _said("bad")] * 20) == 0.0
    assert extract.fits([]) == 0.0
    assert extract.fits([_said(f"A summary of text {n}.") for n in range(40)]) == 0.0


def test_free_text_in_every_answer_is_nobodys() -> None:
    calls = [
        _said(
            {"title": f"On things {n * 7919}", "summary": f"They say {n * 104729} more", "lang": "ab"[n % 2]},
            f"text {n}",
        )
        for n in range(60)
    ]
    assert extract.fits(calls) == 0.0


# Reading


def test_the_answer_of_a_json_text() -> None:
    task = _task(_trips())
    call = _said('```json\n{"intent": "fly", "slots": {"to": " Bonn ", "via": null}, "confidence": 0.9}\n```')
    assert extract.read_answer(task, call) == {"intent": "fly", "slots": {"to": "Bonn"}}
    assert extract.why_unread(task, call) == ""


def test_the_answer_of_a_tool_call_and_of_a_reply() -> None:
    task = _task(_flights())
    assert extract.read_answer(task, _called("fly", {"to": "Bonn", "meal": None})) == {
        "tool": "fly",
        "arguments": {"to": "Bonn"},
    }
    assert extract.read_answer(task, _called("stop", "")) == {"tool": "stop"}
    assert extract.read_answer(task, _said("Where to?")) == {}
    older = _call({"content": None, "function_call": {"name": "stop", "arguments": "{}"}})
    assert extract.read_answer(task, older) == {"tool": "stop"}
    both = _called("fly", {"to": "Bonn", "meal": None})
    both.message["tool_calls"] *= 2  # type: ignore[index]
    found = extract.read_answer(task, both)
    assert found is not None
    assert len(found["calls"]) == 2
    assert extract.slice_of(found) == "several calls"


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (_called("fly", '{"to": "Bonn"'), "answer cannot be parsed"),
        (_called("fly", "[1]"), "answer cannot be parsed"),
        (_called("fly", {"to": 3, "meal": None}), "answer off the schema"),
        (_called("fly", {"to": "Bonn", "meal": None, "more": 1}), "answer off the schema"),
        (_called("fly", {}), "answer off the schema"),
        (_called("sing", {}), "answer off the schema"),
        (_call({"content": None}), "no text in the response"),
        (_call({"content": None, "refusal": "No."}), "refused by the incumbent"),
        (_call({"content": None, "tool_calls": [7]}), "answer cannot be parsed"),
    ],
)
def test_what_is_no_answer_says_why(call: Call, why: str) -> None:
    task = _task(_flights())
    assert extract.read_answer(task, call) is None
    assert extract.why_unread(task, call) == why


def test_json_that_is_none_or_off_its_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "string"}},
        "required": ["a", "b"],
    }
    stated = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    task = _task([_said({"a": "x", "b": "q"}, **stated)])
    assert extract.read_answer(task, _said({"a": "y", "b": "z"})) == {"a": "y", "b": "z"}
    assert extract.why_unread(task, _said({"a": "z", "b": "z"})) == "answer off the schema"
    assert extract.why_unread(task, _said({"a": "x"})) == "answer off the schema"
    assert extract.why_unread(task, _said("a: x")) == "answer cannot be parsed"
    assert extract.why_unread(task, _said("[1]")) == "answer cannot be parsed"
    assert extract.why_unread(task, _called("fly", {})) == "tool call instead of an answer"


def test_gold_is_an_object_or_its_text() -> None:
    task = _task(_flights())
    answer = {"tool": "fly", "arguments": {"to": "Bonn"}}
    assert extract.canonical(task, answer) == answer
    assert extract.canonical(task, json.dumps(answer)) == answer
    assert extract.canonical(task, {"tool": "fly", "arguments": '{"to": "Bonn"}'}) == answer
    assert extract.canonical(task, "fly") is None
    assert extract.canonical(task, 3) is None


# Writing


@pytest.mark.parametrize(
    "content",
    [
        '{"intent":"fly","slots":{"to":"Bonn","via":null},"confidence":0.5}',
        '{"confidence": 0.5, "slots": {"via": null, "to": "Bonn"}, "intent": "fly"}',
        '{\n  "intent": "fly",\n  "slots": {\n    "to": "Bonn",\n    "via": null\n  },\n  "confidence": 0.5\n}',
    ],
)
def test_an_answer_is_written_as_the_incumbent_writes(content: str) -> None:
    task = _task([_said(content), _said(content.replace("Bonn", "Ulm").replace("null", '"Como"'))])
    like = extract.like(task, [{"role": "assistant", "content": content}])
    answer = extract.read_answer(task, _said(content))
    assert answer is not None
    assert extract.write_answer(task, answer, 0.5, like) == {"role": "assistant", "content": content}
    other = {"intent": "stay", "slots": {"to": "Köln", "via": "Ulm"}}
    message = extract.write_answer(task, other, 0.25, like)
    assert message["content"] == content.replace("fly", "stay").replace("Bonn", "Köln").replace(
        "null", '"Ulm"'
    ).replace("0.5", "0.25")
    assert extract.read_answer(task, _call(message)) == other


def test_what_is_not_there_is_written_as_the_incumbent_does() -> None:
    calls = [
        _said({"kind": "a", "city": "Bonn", "note": "", "tags": []}),
        _said({"kind": "b", "note": "x", "tags": ["y"]}),
    ]
    task = _task(calls)
    message = extract.write_answer(task, {"kind": "b"}, 1.0, {"role": "assistant", "content": "{}"})
    assert json.loads(message["content"]) == {"kind": "b", "note": "", "tags": []}


def test_an_explanation_of_another_request_is_not_repeated() -> None:
    task = _task(_trips())
    contents = ['{"intent": "fly", "why": "because of Bonn", "v": 1}', '{"intent": "fly", "why": "of Rome", "v": 1}']
    like = extract.like(task, [{"role": "assistant", "content": content} for content in contents])
    assert like["content"] == '{"intent": "fly", "why": "", "v": 1}'


def test_a_tool_call_is_written_with_valid_arguments() -> None:
    task = _task(_flights())
    pattern = _called("fly", {"to": "Bonn", "meal": None}).message
    assert pattern is not None
    like = extract.like(task, [pattern])
    answer = {"tool": "fly", "arguments": {"to": "Rome", "seats": 2}}
    message = extract.write_answer(task, answer, 0.9, like)
    (call,) = message["tool_calls"]
    assert message["content"] is None
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    assert json.loads(call["function"]["arguments"]) == {"to": "Rome", "seats": 2, "meal": None}
    assert extract.read_answer(task, _call(message)) == answer
    assert extract.write_answer(task, answer, 0.1, like) == message
    bare = extract.write_answer(task, {"tool": "stop"}, 0.9, like)
    assert bare["tool_calls"][0]["function"] == {"name": "stop", "arguments": "{}"}


def test_a_reply_is_written_where_it_was_always_the_same() -> None:
    task = _task(_flights())
    one, other = ({"role": "assistant", "content": text} for text in ("Where to?", "Which city?"))
    assert extract.write_answer(task, {}, 0.9, extract.like(task, [one, one])) == one
    assert extract.write_answer(task, {}, 0.9, extract.like(task, [one, other]))["content"] == ""


def test_answers_with_the_same_fields_are_written_by_one_pattern() -> None:
    task = _task(_flights())
    keys = [extract.like_key(task, {"tool": tool, "arguments": {"to": city}}) for tool in ("a", "b") for city in CITIES]
    assert len(set(keys)) == 2
    assert all(keys)
    assert extract.like_key(task, {})


def test_an_answer_can_be_held_against_its_schema() -> None:
    form = _task(_flights()).form
    assert form is not None
    assert is_valid(form, {"tool": "fly", "arguments": {"to": "Bonn"}})
    assert is_valid(form, {"tool": "stop"})
    assert is_valid(form, {})
    assert not is_valid(form, {"tool": "fly"})
    assert not is_valid(form, {"tool": "fly", "arguments": {"to": 4}})
    assert not is_valid(form, {"tool": "sing"})


def test_an_object_that_has_to_be_there_is_written_empty() -> None:
    schema = {
        "type": "object",
        "properties": {
            "slots": {"type": "object", "properties": {"to": {"type": "string"}}},
            "confidence": {"type": "number"},
        },
        "required": ["slots", "confidence"],
    }
    stated = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    task = _task([_said({"slots": {"to": "Bonn"}, "confidence": 0.5}, **stated)])
    assert task.form is not None
    assert [field.name for field in task.form.fields] == ["slots.to"]
    assert is_valid(task.form, {})


# Slices, parts and losses


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"tool": "fly", "arguments": {"intent": "x"}}, "fly"),
        ({"slots": {}, "Intent": "stay", "type": "x"}, "stay"),
        ({"city": "Bonn"}, "answer"),
        ({}, "none"),
    ],
)
def test_slices(answer: dict[str, Any], name: str) -> None:
    assert extract.slice_of(answer) == name


def test_parts_are_fields_that_can_be_compared() -> None:
    found = extract.parts({"a": {"b": [1, 2]}, "c": [{"d": 1}], "e": "x"})
    assert found == {"a.b": (1, 2), "c": '[{"d":1}]', "e": "x"}
    assert len(set(found.values())) == 3


def test_losses() -> None:
    exact, fields = loss_named("extract"), loss_named("extract", "field-f1")
    assert (exact.name, exact.support, fields.support) == ("exact-match", "zero_one", "bounded")
    answer = {"intent": "fly", "slots": {"to": "Bonn"}}
    assert exact.of(answer, {"slots": {"to": "Bonn"}, "intent": "fly"}) == 0.0
    assert exact.of({"a": True}, {"a": 1}) == 1.0
    assert exact.of(None, {}) == 1.0
    assert fields.of(answer, answer) == 0.0
    assert fields.of({"intent": "fly"}, answer) == pytest.approx(1 / 3)
    assert fields.of({"intent": "stay", "slots": {"to": "Bonn"}}, answer) == 0.5
    assert fields.of({}, {}) == 0.0
    assert fields.of({}, answer) == 1.0
    assert fields.of(None, {}) == 1.0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"intent": "fly", "slots": {"to": "Bonn"}}, ""),
        ({"intent": "fly"}, ""),
        ({"intent": "fly", "<script>": "x"}, "'<script>'"),
        ({"intent": 7, "slots": {"to": "Bonn"}}, "'intent'"),
        ({"intent": "fly", "slots": {"to": ["Bonn"]}}, "'slots.to'"),
        ({"intent": "fly", "slots": "Bonn"}, "'slots'"),
    ],
)
def test_what_the_form_does_not_have_is_no_answer_of_the_task(answer: dict[str, Any], why: str) -> None:
    task = _task(_trips())
    canonical = extract.canonical(task, answer)
    assert canonical is not None
    said = extract.why_unfit(task, canonical, {})
    assert why in said if why else said == ""
    answers = [extract.read_answer(task, one) for one in _trips()]
    assert [extract.why_unfit(task, one, {}) for one in answers if one is not None] == [""] * len(answers)
