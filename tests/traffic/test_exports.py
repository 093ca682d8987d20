"""What vendors' own libraries wrote (exports/README.md) is read: every call once, and what cannot be read is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.calls import Broken, Call
from stepdown.traffic.read import read_calls

EXPORTS = Path(__file__).parent / "exports"
LITELLM, TRACES, SEARCHED, OLD, NEW, EVENTS, NO_CONTENT, LATEST = (
    EXPORTS / name
    for name in (
        "litellm-1.110.2.jsonl",
        "mlflow-3.17.2-traces.jsonl",
        "mlflow-3.17.2-search-traces.jsonl",
        "openllmetry-0.46.2.jsonl",
        "openllmetry-0.62.4.jsonl",
        "otel-openai-2.1b0-events.jsonl",
        "otel-openai-2.1b0-no-content.jsonl",
        "otel-openai-2.4b0.jsonl",
    )
)
SYSTEM = {"role": "system", "content": "Answer good or bad."}
ARGUMENTS = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"Bonn"}'}}
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look out.", "parameters": PARAMETERS}}


def read(*paths: Path) -> tuple[dict[str, Call], list[Broken]]:
    """Calls by what was asked last, and broken records."""
    items = list(read_calls([str(path) for path in paths]))
    calls = [item for item in items if isinstance(item, Call)]
    assert len({call.id for call in calls}) == len(calls)
    return {_asked(call): call for call in calls}, [item for item in items if isinstance(item, Broken)]


def _asked(call: Call) -> str:
    return str(call.request["messages"][-1]["content"])


@pytest.mark.parametrize("path", [LITELLM, TRACES, OLD, NEW, EVENTS, LATEST], ids=lambda path: path.stem)
def test_every_call_is_there_with_its_answer(path: Path) -> None:
    calls, broken = read(path)
    wanted = {"I love it", "Awful", "Weather?", "boom"}
    assert wanted <= calls.keys()
    assert [item for item in broken if "not a chat" not in item.reason] == []
    plain = calls["I love it"]
    assert plain.request["messages"] == [SYSTEM, {"role": "user", "content": "I love it"}]
    assert (plain.request["model"], plain.request["temperature"]) == ("gpt-4o-mini", 0)
    assert (plain.content, plain.model, plain.response_id) == ("good", "gpt-4o-mini-2024-07-18", "chatcmpl-1")
    assert (plain.prompt_tokens, plain.completion_tokens) == (30, 2)
    assert plain.timestamp > 1_795_000_000
    assert plain.latency_s is not None
    assert 0 < plain.latency_s < 1
    assert calls["Awful"].content == "good"
    assert calls["boom"].response is None
    assert "Rate limit reached" in calls["boom"].error
    assert "RateLimitError" in calls["boom"].error
    (called,) = (calls["Weather?"].message or {})["tool_calls"]
    assert {key: called[key] for key in ARGUMENTS} == ARGUMENTS
    assert (calls["Weather?"].response or {})["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("path", [LITELLM, TRACES, OLD, NEW], ids=lambda path: path.stem)
def test_tools_cached_tokens_streams_and_other_wires(path: Path) -> None:
    calls, _ = read(path)
    assert calls["Weather?"].request["tools"] == [TOOL]
    assert _cached(calls["I love it"]) == 16
    assert calls["Awful"].request["stream"] is True
    responses = calls["Nice?"]
    assert responses.request["messages"] == [SYSTEM, {"role": "user", "content": "Nice?"}]
    assert (responses.content, responses.prompt_tokens) == ("good", 30)
    anthropic = calls["Nice"]
    assert anthropic.provider == "anthropic"
    assert anthropic.request["messages"][-1] == {"role": "user", "content": "Nice"}
    assert (anthropic.prompt_tokens, _cached(anthropic)) == (19, 7)


@pytest.mark.parametrize("path", [OLD, NEW, EVENTS, LATEST], ids=lambda path: path.stem)
def test_a_tools_result_is_a_message(path: Path) -> None:
    calls, _ = read(path)
    *_, called, result = calls["rain"].request["messages"]
    assert called == {"role": "assistant", "content": None, "tool_calls": [ARGUMENTS]}
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    assert calls["rain"].content == "good"


def _cached(call: Call) -> Any:
    return (call.response or {})["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_litellm_says_client_task_session_and_cost() -> None:
    calls, broken = read(LITELLM)
    plain = calls["I love it"]
    assert (plain.client_id, plain.workload_id, plain.provider) == ("anna", "mood", "openai")
    assert plain.cost_usd == pytest.approx(4.5e-6)
    assert plain.request["metadata"] == {"workload_id": "mood", "trace_id": "s-1", "tags": "mood"}
    assert [(item.line, item.reason) for item in broken] == [(7, "not a chat: aembedding")]


def test_mlflow_says_user_and_session_and_rows_read_as_traces_do(tmp_path: Path) -> None:
    calls, _ = read(TRACES)
    plain = calls["I love it"]
    assert (plain.client_id, plain.request["metadata"]["session_id"]) == ("anna", "s-1")
    assert plain.request["metadata"]["team"] == "desk"
    assert "mlflow" not in json.dumps(plain.request)
    rows, _ = read(SEARCHED)
    assert {key: call.id for key, call in rows.items()} == {"So so": calls["So so"].id}
    table = tmp_path / "traces.csv"
    row = json.loads(SEARCHED.read_text())
    cells = [value if isinstance(value, str) else repr(value) for value in row.values()]
    table.write_text(f"{_csv(list(row))}\n{_csv(cells)}\n")
    assert read(table)[0]["So so"].response == calls["So so"].response
    array = tmp_path / "traces.json"
    array.write_text(json.dumps({"traces": [json.loads(line) for line in TRACES.read_text().splitlines()]}, indent=2))
    assert read(array)[0].keys() == calls.keys()


def _csv(cells: list[Any]) -> str:
    return ",".join('"' + str(cell).replace('"', '""') + '"' for cell in cells)


def test_mlflow_rows_without_the_trace_as_json_say_what_to_write(tmp_path: Path) -> None:
    table = tmp_path / "old.csv"
    header = ["request_id", "trace", "timestamp_ms", "status", "request_metadata", "spans", "tags"]
    table.write_text(f"{_csv(header)}\n{_csv(['tr-1', 'Trace(request_id=tr-1)', 1, 'OK', '{}', '[Span()]', '{}'])}\n")
    (broken,) = read(table)[1]
    assert broken.line == 2
    assert "trace.to_json()" in broken.reason


def test_one_call_that_two_libraries_saw_is_one_call() -> None:
    """anthropic 2.14 writes a span without text inside the instrumentation's, which has it."""
    text = NEW.read_text()
    assert text.count('"msg_8"') == 2
    calls, broken = read(NEW)
    assert [call.response_id for call in calls.values()].count("msg_8") == 1
    assert not broken


def test_text_that_was_not_captured_is_said_for_each_call() -> None:
    calls, broken = read(NO_CONTENT)
    assert not calls
    assert len(broken) == 5
    assert all("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true" in item.reason for item in broken)
    assert all(item.line for item in broken)


def test_events_join_their_spans_across_files_in_any_order(tmp_path: Path) -> None:
    spans, logs = [], []
    for line in EVENTS.read_text().splitlines():
        (spans if "resourceSpans" in line else logs).append(line)
    (tmp_path / "1-traces.jsonl").write_text("\n".join(spans))
    (tmp_path / "2-logs.jsonl").write_text("\n".join(logs))
    whole, _ = read(EVENTS)
    joined, broken = read(tmp_path)
    assert {key: call.id for key, call in joined.items()} == {key: call.id for key, call in whole.items()}
    assert not broken
    alone, broken = read(tmp_path / "2-logs.jsonl")
    assert not alone
    assert len(broken) == 5
    assert all("give the file of traces" in item.reason for item in broken)


def test_events_that_hold_everything_need_no_span(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    path.write_text("\n".join(line for line in LATEST.read_text().splitlines() if "resourceLogs" in line))
    whole, alone = read(LATEST)[0], read(path)[0]
    assert {key: call.id for key, call in alone.items()} == {key: call.id for key, call in whole.items()}
    assert [(call.content, call.error[:9]) for call in alone.values()] == [
        (call.content, call.error[:9]) for call in whole.values()
    ]


def test_a_wrapper_round_a_call_is_not_a_second_call_and_a_second_call_is(tmp_path: Path) -> None:
    def span(name: str, parent: str, begin: int, end: int) -> dict[str, Any]:
        asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"asked {name}"}]}])
        told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.input.messages": asked}
        return {
            "traceId": "a" * 32,
            "spanId": name * 16,
            "parentSpanId": parent * 16,
            "startTimeUnixNano": str(1_795_000_000_000_000_000 + begin),
            "endTimeUnixNano": str(1_795_000_000_000_000_000 + end),
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in told.items()],
        }

    spans = [span("1", "", 0, 100_000), span("2", "1", 10_000, 90_000), span("3", "2", 95_000, 99_000)]
    path = tmp_path / "spans.json"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, indent=1))
    assert read(path)[0].keys() == {"asked 2", "asked 3"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"resourceMetrics": []}, "metrics hold no calls"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "GET /"}]}]}]}, "no span here is a call"),
    ],
)
def test_files_without_calls_say_so(data: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_text(json.dumps(data) + "\n")
    (broken,) = read_calls([str(path)], format="opentelemetry")
    assert isinstance(broken, Broken)
    assert reason in broken.reason


@pytest.mark.parametrize("path", [LITELLM, TRACES, OLD, LATEST], ids=lambda path: path.stem)
def test_a_first_record_larger_than_what_is_looked_at_is_known_by_its_beginning(path: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    text = path.read_text().replace("Answer good or bad.", "Answer good or bad. " * 10_000)
    assert len(text.split("\n", 1)[0]) > 64 * 1024
    large.write_text(text)
    calls, _ = read(large)
    assert calls.keys() == read(path)[0].keys()


def test_events_of_an_agents_span_or_of_a_judge_are_no_calls(tmp_path: Path) -> None:
    lines = EVENTS.read_text().splitlines()
    spans = [line.replace('"stringValue": "chat"', '"stringValue": "invoke_agent"') for line in lines]
    judged = lines[0].replace("gen_ai.system.message", "gen_ai.evaluation.result").replace("90dd192c12f6ca4a", "1" * 16)
    path = tmp_path / "agents.jsonl"
    path.write_text("\n".join([*spans, judged]))
    calls, (broken,) = read(path)
    assert not calls
    assert "no span here is a call" in broken.reason
