"""LiteLLM's spend logs (litellm 1.110.2, proxy/schema.prisma: LiteLLM_SpendLogs) and what it leaves out.

What its loggers send is in exports/, as it wrote it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.calls import Broken, Call
from stepdown.traffic.read import read_calls

PAYLOADS = Path(__file__).parents[1] / "exports" / "litellm-1.110.2.jsonl"
ASKED = [{"role": "user", "content": "Good or bad? I love it"}]
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
ANSWER = {"id": "chatcmpl-1", "model": "m", "choices": [CHOICE], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}


def spent(**fields: Any) -> dict[str, Any]:
    row = {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": "88dc28d0",
        "spend": 0.003,
        "total_tokens": 10,
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "startTime": "2025-07-08T02:35:28.000Z",
        "endTime": "2025-07-08T02:35:28.500Z",
        "completionStartTime": None,
        "model": "gpt-4o-mini",
        "model_group": "small",
        "custom_llm_provider": "openai",
        "user": "u-1",
        "metadata": {"user_api_key_alias": "web", "status": "success"},
        "cache_hit": "False",
        "request_tags": ["mood"],
        "end_user": "anna",
        "messages": {},
        "response": ANSWER,
        "session_id": "s-1",
        "status": "success",
        "proxy_server_request": {"model": "small", "messages": ASKED, "temperature": 0, "metadata": {"secret": 1}},
        "litellm_call_id": "11111111-2222",
    }
    return {**row, **fields}


def read(path: Path, *rows: Any) -> list[Call | Broken]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_calls([str(path)]))


def test_spend_logs_with_what_the_proxy_was_asked(tmp_path: Path) -> None:
    (call,) = read(tmp_path / "spend.jsonl", spent())
    assert isinstance(call, Call)
    assert call.request == {
        "model": "small",
        "temperature": 0,
        "messages": ASKED,
        "metadata": {"session_id": "s-1", "tags": "mood"},
    }
    assert (call.id, call.client_id, call.provider, call.cost_usd) == ("11111111-2222", "anna", "openai", 0.003)
    assert (call.content, call.timestamp, call.latency_s) == ("good", 1751942128.0, 0.5)


def test_cached_answers_and_failed_tries(tmp_path: Path) -> None:
    failure = {"error_class": "RateLimitError", "error_message": "slow down"}
    rows = [
        spent(),
        spent(status="failure", response={}, startTime="2025-07-08T02:35:27Z", metadata={"error_information": failure}),
        spent(litellm_call_id="2", cache_hit="True", spend=0.0),
    ]
    whole, failed, cached = read(tmp_path / "spend.jsonl", *rows)
    assert isinstance(whole, Call)
    assert isinstance(failed, Call)
    assert isinstance(cached, Call)
    assert failed.id != whole.id
    assert (failed.error, failed.response) == ("RateLimitError: slow down", None)
    assert cached.is_cached
    assert cached.cost_usd == 0.0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"proxy_server_request": {}}, "store_prompts_in_spend_logs: true"),
        ({"messages": [{"role": "user", "content": "redacted-by-litellm"}]}, "turn_off_message_logging"),
        ({"messages": [{"role": "user", "content": "Good ... (litellm_truncated 4000 chars) ..."}]}, "cut short"),
        ({"call_type": "aembedding"}, "not a chat: aembedding"),
        ({"startTime": "soon"}, "'soon'"),
        ({"response": "{}"}, "no answer was kept"),
    ],
)
def test_what_cannot_be_read_is_said(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (broken,) = read(tmp_path / "spend.jsonl", spent(**fields))
    assert isinstance(broken, Broken)
    assert reason in broken.reason


def test_batches_as_arrays_and_payloads_in_their_wrapper(tmp_path: Path) -> None:
    payloads = [json.loads(line) for line in PAYLOADS.read_text().splitlines()]
    whole = list(read_calls([str(PAYLOADS)]))
    array = tmp_path / "batch.json"
    array.write_text(json.dumps(payloads))
    wrapped = read(tmp_path / "wrapped.jsonl", *({"standard_logging_object": each} for each in payloads))
    for found in (list(read_calls([str(array)])), wrapped):
        assert [getattr(item, "id", "") for item in found] == [getattr(item, "id", "") for item in whole]


def test_a_page_of_spend_logs(tmp_path: Path) -> None:
    page = {"data": [spent(), spent(litellm_call_id="2")], "total": 2, "page": 1, "page_size": 50, "total_pages": 1}
    assert [one.id for one in read(tmp_path / "page.json", page) if isinstance(one, Call)] == ["11111111-2222", "2"]
