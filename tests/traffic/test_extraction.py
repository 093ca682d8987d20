"""Tasks whose answers are objects with fields or calls of tools, found in traffic and judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.cli.bookings import SCHEMA, TOOLS, booking, call, message

from stepdown.core.calls import Call
from stepdown.core.contract import TaskSettings
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices
from stepdown.traffic.summary import TaskSummary

COUNT = 1_200
Change = Callable[[Call], Call]


def _calls(shape: Any, change: Change = lambda each: each, count: int = COUNT) -> list[Call]:
    return [change(msgspec.convert(call(number, shape), Call)) for number in range(count)]


def _only(calls: list[Call], said: dict[str, TaskSettings] | None = None) -> TaskSummary:
    (summary,) = find_tasks(calls, Prices({}), task_settings=said)
    return summary


def _asking(**more: Any) -> Change:
    def change(each: Call) -> Call:
        request = {name: value for name, value in each.request.items() if name not in ("tools", "response_format")}
        return msgspec.structs.replace(each, request={**request, **more})

    return change


def _saying(say: Callable[[int], dict[str, Any]]) -> Change:
    def change(each: Call) -> Call:
        said = {"role": "assistant", **say(int(each.id[1:]))}
        return msgspec.structs.replace(each, response={**(each.response or {}), "choices": [{"message": said}]})

    return change


@pytest.mark.parametrize("stated", [True, False])
def test_json_answers_are_a_task_with_fields(stated: bool) -> None:
    summary = _only(_calls("json", _asking(**({"response_format": SCHEMA} if stated else {}))))
    task = summary.task
    assert (task.family, task.answer, summary.verdict, summary.share_parsed) == ("extract", "$", "ready", 1.0)
    assert task.form is not None
    assert task.form.inferred is not stated
    assert {field.name: field.types for field in task.form.fields}.items() >= {
        ("people", ("integer",)),
        ("date", ("string",)),
        ("seat", ("string",)),
    }
    seat = task.form.field("seat")
    assert seat is not None
    assert seat.absent == "null"
    assert "5 fields (people, date, time, name, seat)" in summary.reason


@pytest.mark.parametrize("named", [True, False])
def test_tool_calls_mixed_with_words_are_a_task(named: bool) -> None:
    def nameless(each: Call) -> Call:
        return each if named else msgspec.structs.replace(each, workload_id="")

    summary = _only(_calls("tools", nameless))
    assert (summary.task.family, summary.verdict, summary.share_parsed) == ("extract", "ready", 1.0)
    assert set(summary.task.labels) == {"book_table", "cancel_booking", "none"}
    assert summary.task.form is not None
    assert summary.task.form.tools == ("book_table", "cancel_booking")
    assert summary.task.form.schemas["book_table"] == TOOLS[0]["function"]["parameters"]
    assert "2 tools (book_table, cancel_booking) with 5 fields" in summary.reason


def test_one_tool_that_is_always_called_is_no_constant() -> None:
    def say(number: int) -> dict[str, Any]:
        return message({"tool": "book_table", "arguments": booking(number)[1]})

    summary = _only(_calls("json", lambda each: _saying(say)(_asking(tools=TOOLS[:1])(each))))
    assert (summary.task.family, summary.task.labels, summary.verdict) == ("extract", ("book_table",), "ready")
    same = _only(_calls("json", lambda each: _saying(lambda _: say(1))(_asking(tools=TOOLS[:1])(each))))
    assert (same.verdict, same.reason) == ("not yet", "every answer seen is the same")


def test_fields_that_no_student_fills_are_named() -> None:
    dish = {"type": "object", "properties": {"dish": {"type": "string"}, "of": {"$ref": "#/$defs/dish"}}}
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "date": {"type": "string"},
            "dishes": {"type": "array", "items": dish},
            "menu": {"$ref": "#/$defs/dish"},
        },
        "$defs": {"dish": dish},
    }
    stated = {"type": "json_schema", "json_schema": {"name": "order", "schema": schema}}

    def say(number: int) -> dict[str, Any]:
        found = booking(number)[1]
        return message({"name": found["name"], "date": found["date"], "dishes": [{"dish": "soup"}]})

    summary = _only(_calls("json", lambda each: _saying(say)(_asking(response_format=stated)(each))))
    assert summary.verdict == "look closer"
    assert "'dishes' is left to the incumbent: it is a list of objects" in summary.reason
    assert "'menu.of' is left to the incumbent: it holds itself again" in summary.reason
    assert summary.task.form is not None
    assert {"name", "date"} <= {field.name for field in summary.task.form.fields}


def test_answers_off_their_schema_are_counted_with_the_reason() -> None:
    def say(number: int) -> dict[str, Any]:
        found = booking(number)[1]
        return message(found | ({"people": "a few"} if number % 4 == 0 else {}))

    summary = _only(_calls("json", _saying(say)))
    assert summary.share_parsed == pytest.approx(0.75)
    assert summary.verdict == "look closer"
    assert "only 75% of the answers can be read at $ (answer off the schema)" in summary.reason


def test_the_settings_say_where_the_answer_sits() -> None:
    def say(number: int) -> dict[str, Any]:
        return {"content": json.dumps({"reason": f"read {number * 7919}", "result": booking(number)[1]})}

    calls = _calls("json", lambda each: _saying(say)(_asking()(each)))
    summary = _only(calls, {"bookings": TaskSettings(family="extract", answer="$.result")})
    assert (summary.task.family, summary.task.answer, summary.share_parsed) == ("extract", "$.result", 1.0)
    assert summary.task.form is not None
    assert {field.name for field in summary.task.form.fields} == {"people", "date", "time", "name", "seat"}
    labelled = _only(calls, {"bookings": TaskSettings(family="classify", answer="$.result.seat")})
    assert (labelled.task.family, labelled.task.labels) == ("classify", ("inside", "outside"))
    assert labelled.share_parsed == pytest.approx(2 / 3, abs=0.05)


def test_two_tools_of_one_name_are_refused_by_name() -> None:
    twice = [*TOOLS, {**TOOLS[0]}]
    summary = _only(_calls("tools", _asking(tools=twice)))
    assert summary.verdict in ("look closer", "stay")
    assert "book_table" in summary.reason
    assert "two tools have this name" in summary.reason


def test_an_agents_turns_stay_under_a_name_too() -> None:
    def turn(number: int) -> Call:
        asked = msgspec.convert(call(number, "tools"), Call)
        said = (asked.message or {}) | {"content": None, "tool_calls": TOOL_CALL}
        later = [said, {"role": "tool", "tool_call_id": "c", "content": f"{number} found"}] * (number % 4)
        messages = [*asked.request["messages"], *later]
        answer = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": TOOL_CALL}}]}
        return msgspec.structs.replace(asked, request={**asked.request, "messages": messages}, response=answer)

    summary = _only([turn(number) for number in range(COUNT)])
    assert summary.verdict == "stay"
    assert "turns of conversations" in summary.reason


TOOL_CALL = [{"id": "c", "type": "function", "function": {"name": "cancel_booking", "arguments": '{"name": "A"}'}}]
