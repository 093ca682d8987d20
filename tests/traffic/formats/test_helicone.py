"""Helicone's exports by their documented fields.

Sources: docs.helicone.ai/rest/request/post-v1requestquery-clickhouse (HeliconeRequest); Helicone/helicone
examples/export/typescript/index.ts at c7feb316 (JSON, JSONL, and the columns of its CSV).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.calls import Broken, Call
from stepdown.traffic.read import read_calls

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Good or bad? I love it"}], "temperature": 0}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
DETAILS = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 16}}
ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1751942128, "model": "gpt-4o-mini-2024-07-18"}
ANSWER |= {"choices": [CHOICE], "usage": DETAILS}
ANTHROPIC = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn"}
ANTHROPIC |= {"content": [{"type": "text", "text": "good"}], "usage": {"input_tokens": 12, "output_tokens": 2}}
DELTAS = [{"role": "assistant", "content": ""}, {"content": "go"}, {"content": "od"}]
CHUNKS = [{"id": "r", "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in DELTAS]


def request(name: str = "q-1", **fields: Any) -> dict[str, Any]:
    row = {
        "response_id": "a-1",
        "response_created_at": "2025-07-08T02:35:28.500Z",
        "response_body": ANSWER,
        "response_status": 200,
        "response_model": "gpt-4o-mini-2024-07-18",
        "request_id": name,
        "request_created_at": "2025-07-08T02:35:28.000Z",
        "request_body": BODY,
        "request_path": "https://oai.helicone.ai/v1/chat/completions",
        "request_user_id": "anna",
        "request_properties": {"Helicone-Session-Id": "s-1", "app": "shop"},
        "request_model": "gpt-4o-mini",
        "provider": "OPENAI",
        "delay_ms": 500,
        "time_to_first_token": None,
        "total_tokens": 32,
        "prompt_tokens": 30,
        "prompt_cache_read_tokens": 16,
        "completion_tokens": 2,
        "cost": 0.003,
        "signed_body_url": "https://s3.example/secret?X-Amz-Signature=1",
        "cache_reference_id": "00000000-0000-0000-0000-000000000000",
        "country_code": "DE",
    }
    return {**row, **fields}


def read(path: Path) -> tuple[dict[str, Call], list[Broken]]:
    items = list(read_calls([str(path)]))
    return {item.id: item for item in items if isinstance(item, Call)}, [
        one for one in items if isinstance(one, Broken)
    ]


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_jsonl_json_and_the_apis_answer(tmp_path: Path) -> None:
    array, api = tmp_path / "output.json", tmp_path / "api.json"
    array.write_text("[\n" + json.dumps(request(), indent=2) + "\n]\n")
    api.write_text(json.dumps({"data": [request()], "error": None}))
    for path in (lines(tmp_path / "output.jsonl", request()), array, api):
        calls, broken = read(path)
        assert not broken
        call = calls["q-1"]
        assert call.request == {**BODY, "metadata": {"app": "shop", "session_id": "s-1"}}
        assert (call.content, call.prompt_tokens, call.completion_tokens) == ("good", 30, 2)
        assert (call.client_id, call.provider, call.latency_s, call.cost_usd) == ("anna", "openai", 0.5, 0.003)
        assert call.timestamp == 1751942128.0
        assert (call.response or {})["usage"] == DETAILS


def test_wires_streams_errors_and_the_cache(tmp_path: Path) -> None:
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"
    messages = "https://anthropic.helicone.ai/v1/messages"
    claude = {"model": "claude", "max_tokens": 9, "system": "Be brief.", "messages": BODY["messages"]}
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "good"}]}]
    answered = {"id": "resp_1", "status": "completed", "model": "m", "output": output}
    delta = {"index": 0, "delta": {"role": "assistant", "content": "good"}, "finish_reason": "stop"}
    rows = [
        request("messages", request_path=messages, request_body=claude, response_body=ANTHROPIC, provider="ANTHROPIC"),
        request(
            "responses",
            request_path="/v1/responses",
            request_body={"model": "m", "input": "Hi"},
            response_body=answered,
        ),
        request("stream", response_body={"streamed_data": events}),
        request("chunks", response_body={"streamed_data": CHUNKS}),
        request("text", response_body=events),
        request("joined", response_body={**ANSWER, "choices": [delta], "streamed_data": CHUNKS}),
        request("old", request_path="/v1/completions", request_body={"model": "m", "prompt": "Hi"})
        | {"response_body": {"id": "c", "model": "m", "choices": [{"text": "good", "index": 0}]}},
        request("error", response_status=429, response_body={"error": {"message": "slow down", "type": "requests"}}),
        request("cancelled", response_status=-3, response_body={}),
        request("cached", cache_reference_id="0a2b"),
    ]
    calls, broken = read(lines(tmp_path / "output.jsonl", *rows))
    assert not broken
    for name in ("messages", "responses", "stream", "chunks", "text", "joined", "old", "cached"):
        assert calls[name].content == "good", name
    assert calls["messages"].request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (calls["messages"].provider, calls["messages"].prompt_tokens) == ("anthropic", 12)
    assert calls["responses"].request["messages"] == [{"role": "user", "content": "Hi"}]
    assert (calls["error"].error, calls["error"].response) == ("requests: slow down", None)
    assert calls["cancelled"].error == "cancelled"
    assert calls["cached"].is_cached
    assert calls["cached"].cost_usd == 0.0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (request(request_body={}), "--include-body"),
        (request(request_path="/v1/embeddings", request_body={"input": "x"}), "not a call to a chat endpoint"),
        (request(request_created_at="soon"), "'soon'"),
        (request(response_body={"choices": "?"}), "no list of choices"),
        (request(response_body={"streamed_data": 5}), "neither text nor a list of events"),
        (request(cost=-5), "does not cost -5"),
        (request(request_created_at=1e308), "is not a time"),
    ],
)
def test_what_cannot_be_read_is_said(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    calls, (broken,) = read(lines(tmp_path / "output.jsonl", row))
    assert not calls
    assert reason in broken.reason
    assert "Signature" not in broken.raw


def test_the_csv_has_no_answers_and_that_is_said_once(tmp_path: Path) -> None:
    header = "response_id,response_created_at,response_status,request_created_at,request_body,request_properties"
    header += ",request_user_id,model,prompt_tokens,completion_tokens,latency,cost_usd"
    row = (
        '"a-1","2025-07-08T02:35:28Z","200","2025-07-08T02:35:28Z","{""model"":""m""}","{}","anna","m","1","1","5","1"'
    )
    path = tmp_path / "output.csv"
    path.write_text(f"{header}\n{row}\n{row}\n")
    (broken,) = read_calls([str(path)])
    assert isinstance(broken, Broken)
    assert "--format jsonl --include-body" in broken.reason
