"""Langfuse's exports by their documented fields: pages (camelCase), blob storage (snake_case), the public API.

Sources: langfuse-docs blob-storage-export-fields.mdx; langfuse 3 worker/src/features/database-read-stream/
observation-stream.ts, packages/shared/src/server/utils/transforms/transformStreamToCsv.ts (every cell quoted, objects
as JSON).
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.calls import Broken, Call
from stepdown.traffic.read import read_calls

ASKED = [{"role": "system", "content": "Answer good or bad."}, {"role": "user", "content": "I love it"}]
TOOL = {"type": "function", "function": {"name": "look", "description": "L", "parameters": {"type": "object"}}}


def observation(name: str = "o-1", **fields: Any) -> dict[str, Any]:
    """A row of observations_v2/ as JSON has it."""
    row = {
        "id": name,
        "trace_id": "t-1",
        "project_id": "p",
        "environment": "default",
        "type": "GENERATION",
        "parent_observation_id": "",
        "start_time": "2025-07-08 02:35:28.000000",
        "end_time": "2025-07-08 02:35:28.500000",
        "name": "OpenAI-generation",
        "metadata": {"team": "desk"},
        "level": "DEFAULT",
        "status_message": "",
        "version": "",
        "input": json.dumps(ASKED),
        "output": json.dumps({"role": "assistant", "content": "good"}),
        "provided_model_name": "gpt-4o-mini",
        "model_parameters": '{"temperature":"0","max_tokens":"inf"}',
        "usage_details": {"input": 14, "input_cached_tokens": 16, "output": 2, "total": 32},
        "cost_details": {"input": 0.001, "output": 0.002, "total": 0.003},
        "completion_start_time": None,
        "prompt_name": "",
        "prompt_version": None,
        "total_cost": 0.003,
        "latency": 0.5,
        "tool_calls": [],
        "tool_call_names": [],
        "tool_definitions": {},
        "user_id": "anna",
        "session_id": "s-1",
        "trace_name": "handle",
        "tags": ["a"],
    }
    return {**row, **fields}


def read(*paths: Path) -> tuple[dict[str, Call], list[Broken]]:
    items = list(read_calls([str(path) for path in paths]))
    return {item.id: item for item in items if isinstance(item, Call)}, [
        one for one in items if isinstance(one, Broken)
    ]


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(path: Path, *rows: dict[str, Any]) -> Path:
    shown = io.StringIO()
    writer = csv.writer(shown, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(["" if cell is None else _cell(cell) for cell in row.values()] for row in rows)
    path.write_text(shown.getvalue())
    return path


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def check(call: Call) -> None:
    assert call.request == {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "messages": ASKED,
        "metadata": {"team": "desk", "session_id": "s-1", "trace_id": "t-1"},
    }
    assert (call.content, call.client_id, call.timestamp, call.latency_s) == ("good", "anna", 1751942128.0, 0.5)
    assert (call.prompt_tokens, call.completion_tokens, call.cost_usd) == (30, 2, 0.003)
    assert (call.response or {})["usage"]["prompt_tokens_details"]["cached_tokens"] == 16


def test_blob_storage_as_jsonl_json_and_csv(tmp_path: Path) -> None:
    row = observation()
    array = tmp_path / "o.json"
    array.write_text(json.dumps([row, observation("o-2")]))
    for path in (lines(tmp_path / "o.jsonl", row), array, table(tmp_path / "o.csv", row)):
        calls, broken = read(path)
        check(calls["o-1"])
        assert not broken


def test_the_older_observations_take_user_and_session_from_the_traces(tmp_path: Path) -> None:
    older = {key: value for key, value in observation().items() if key not in {"user_id", "session_id", "trace_name"}}
    trace = {
        "id": "t-1",
        "timestamp": "2025-07-08 02:35:27.000000",
        "name": "handle",
        "environment": "default",
        "project_id": "p",
        "metadata": {},
        "user_id": "anna",
        "session_id": "s-1",
        "public": False,
        "bookmarked": False,
        "tags": [],
        "input": "x",
        "output": "y",
    }
    score = {
        "id": "s",
        "timestamp": "2025-07-08 02:35:27",
        "project_id": "p",
        "trace_id": "t-1",
        "observation_id": "o-1",
    }
    score |= {"name": "right", "value": 1, "source": "API", "data_type": "NUMERIC", "comment": ""}
    lines(tmp_path / "observations" / "1.jsonl", older)
    lines(tmp_path / "scores" / "1.jsonl", score)
    lines(tmp_path / "traces" / "1.jsonl", trace)
    calls, broken = read(tmp_path)
    check(calls["o-1"])
    assert [("scores" in item.source, "gold" in item.reason) for item in broken] == [(True, True)]


def test_the_pages_export_and_the_public_api(tmp_path: Path) -> None:
    """Fields in camelCase, input and output as JSON rather than text; the API wraps them in `data`."""
    row = {
        "id": "o-1",
        "traceId": "t-1",
        "projectId": "p",
        "type": "GENERATION",
        "startTime": "2025-07-08T02:35:28.000Z",
        "endTime": "2025-07-08T02:35:28.500Z",
        "name": "OpenAI-generation",
        "metadata": {"team": "desk"},
        "parentObservationId": None,
        "level": "DEFAULT",
        "statusMessage": None,
        "input": ASKED,
        "output": {"role": "assistant", "content": "good"},
        "model": "gpt-4o-mini",
        "modelParameters": {"temperature": "0", "max_tokens": "inf"},
        "usageDetails": {"input": 14, "input_cached_tokens": 16, "output": 2, "total": 32},
        "totalCost": 0.003,
        "latency": 0.5,
        "traceName": "handle",
        "userId": "anna",
        "sessionId": "s-1",
    }
    array, api = tmp_path / "pages.json", tmp_path / "api.json"
    array.write_text(json.dumps([row]))
    api.write_text(json.dumps({"data": [row], "meta": {"page": 1, "totalItems": 1}}))
    for path in (array, api, table(tmp_path / "pages.csv", row)):
        calls, broken = read(path)
        check(calls["o-1"])
        assert not broken


def test_errors_tools_streams_and_answers_in_json(tmp_path: Path) -> None:
    called = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at":"Bonn"}'}}
    definition = {"look": json.dumps({"description": "L", "parameters": {"type": "object"}})}
    rows = [
        observation("error", level="ERROR", status_message="429 too many", output=""),
        observation("tool", output=json.dumps({"role": "assistant", "content": None, "tool_calls": [called]})),
        observation("defined", tool_definitions=definition),
        observation("wrapped", input=json.dumps({"messages": ASKED, "tools": [TOOL], "tool_choice": "auto"})),
        observation("stream", output="good"),
        observation("object", output='{"category": "x"}'),
        observation("text", input="Good or bad?", output="good"),
        observation("prompt", prompt_name="mood"),
        observation("waiting", output="", end_time=None),
    ]
    calls, broken = read(lines(tmp_path / "o.jsonl", *rows))
    assert not broken
    assert (calls["error"].error, calls["error"].response) == ("429 too many", None)
    assert (calls["tool"].message or {})["tool_calls"] == [called]
    assert calls["defined"].request["tools"] == [TOOL]
    assert (calls["wrapped"].request["tools"], calls["wrapped"].request["tool_choice"]) == ([TOOL], "auto")
    assert calls["stream"].content == "good"
    assert json.loads(calls["object"].content or "") == {"category": "x"}
    assert calls["text"].request["messages"] == [{"role": "user", "content": "Good or bad?"}]
    assert calls["prompt"].workload_id == "mood"
    assert (calls["waiting"].response, calls["waiting"].error, calls["waiting"].latency_s) == (None, "", None)


def test_spans_are_passed_over_and_wrappers_are_one_call(tmp_path: Path) -> None:
    rows = [
        observation("outer"),
        observation("inner", parent_observation_id="outer", end_time="2025-07-08 02:35:28.400000"),
        observation("next", parent_observation_id="outer", start_time="2025-07-08 02:35:29.000000", end_time=None),
        observation("span", type="SPAN"),
        observation("embedding", type="EMBEDDING"),
    ]
    calls, broken = read(lines(tmp_path / "o.jsonl", *rows))
    assert calls.keys() == {"inner", "next"}
    assert not broken


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (observation(input=""), "no input was exported"),
        (observation(input="[]"), "no input was exported"),
        (observation(input="[1, 2]"), "neither a text nor"),
        (observation(input=[{"role": "user", "content": None}]), "the input has no text"),
        (observation(type="SPAN"), "no observation here is a generation"),
        (observation(start_time="yesterday"), "'yesterday'"),
    ],
)
def test_what_cannot_be_read_is_said(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    calls, (broken,) = read(lines(tmp_path / "o.jsonl", row))
    assert not calls
    assert reason in broken.reason


def test_json_in_text_that_nests_too_deep_stays_text(tmp_path: Path) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    calls, broken = read(lines(tmp_path / "o.jsonl", observation(input=deep, output=deep, metadata=deep)))
    assert calls["o-1"].request["messages"] == [{"role": "user", "content": deep}]
    assert calls["o-1"].content == deep
    assert not broken


def test_a_trace_with_its_observations_in_it(tmp_path: Path) -> None:
    """As the public API answers for one trace: GET /api/public/traces/{id}."""
    rows = [observation(user_id="", session_id=""), observation("o-2"), {**observation("o-3"), "type": "SPAN"}]
    trace = {"id": "t-1", "timestamp": "2025-07-08T02:35:28Z", "userId": "anna", "sessionId": "s-1", "name": "handle"}
    calls, broken = read(lines(tmp_path / "trace.json", {**trace, "observations": rows}))
    assert set(calls) == {"o-1", "o-2"}
    assert not broken
    check(calls["o-1"])


def test_generations_that_name_each_other_as_parents_are_one_call(tmp_path: Path) -> None:
    rows = [observation("a", parent_observation_id="b"), observation("b", parent_observation_id="a")]
    calls, broken = read(lines(tmp_path / "o.jsonl", *rows))
    assert (len(calls), broken) == (1, [])
