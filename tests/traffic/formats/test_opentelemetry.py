"""Conventions before 1.28, and events that vendors keep in an attribute. The others are in exports/, as written.

Sources: open-telemetry/semantic-conventions docs/gen-ai/gen-ai-spans.md at v1.27.0 (events gen_ai.content.prompt and
gen_ai.content.completion); Azure SDK's tracing (gen_ai.event.content); Pydantic Logfire (attribute `events`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.calls import Call
from stepdown.traffic.read import read_calls

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rain?"}]


def value(told: Any) -> dict[str, Any]:
    return {"intValue": str(told)} if isinstance(told, int) else {"stringValue": told}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(told)} for key, told in attributes.items()]


def event(name: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "timeUnixNano": "1751942128000000000", "attributes": pairs(attributes)}


OLD = [
    event("gen_ai.content.prompt", **{"gen_ai.prompt": json.dumps(ASKED)}),
    event("gen_ai.content.completion", **{"gen_ai.completion": json.dumps([{"role": "assistant", "content": "Yes."}])}),
]
AZURE = [
    event(f"gen_ai.{each['role']}.message", **{"gen_ai.event.content": json.dumps({"content": each["content"]})})
    for each in ASKED
] + [event("gen_ai.choice", **{"gen_ai.event.content": json.dumps({"message": {"content": "Yes."}, "index": 0})})]
PLAIN = [event(f"gen_ai.{each['role']}.message", content=each["content"]) for each in ASKED]
PLAIN += [event("gen_ai.choice", message=json.dumps({"content": "Yes."}), finish_reason="stop")]
LOGFIRE = [{"event.name": f"gen_ai.{each['role']}.message", **each} for each in ASKED]
LOGFIRE += [{"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": "Yes."}}]  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("events", "attributes"),
    [(OLD, {}), (AZURE, {}), (PLAIN, {}), ([], {"events": json.dumps(LOGFIRE)})],
    ids=["1.27", "azure", "attributes", "logfire"],
)
@pytest.mark.parametrize("ids", ["hex", "base64"])
def test_events_in_a_span(events: list[Any], attributes: dict[str, Any], ids: str, tmp_path: Path) -> None:
    told = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "m", **attributes}
    told |= {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2, "session.id": "s-1", "user.id": "anna"}
    names = ("0102030405060708090a0b0c0d0e0f10", "0102030405060708")
    shown = names if ids == "hex" else ("AQIDBAUGBwgJCgsMDQ4PEA==", "AQIDBAUGBwg=")
    span = {"traceId": shown[0], "spanId": shown[1], "attributes": pairs(told), "events": events}
    span |= {"startTimeUnixNano": "1751942128000000000", "endTimeUnixNano": "1751942128500000000"}
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) + "\n")
    (call,) = read_calls([str(path)])
    assert isinstance(call, Call)
    assert call.id == "-".join(names)
    assert call.request["messages"] == ASKED
    assert call.request["metadata"] == {"session_id": "s-1", "trace_id": names[0]}
    assert (call.content, call.client_id, call.provider, call.latency_s) == ("Yes.", "anna", "openai", 0.5)
    assert (call.prompt_tokens, call.completion_tokens) == (9, 2)
