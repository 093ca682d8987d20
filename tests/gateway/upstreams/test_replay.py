"""Recorded calls in the large model's place."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import anthropic.types
import msgspec
import pytest
from openai.types.chat import ChatCompletionChunk

from stepdown.core.calls import Call
from stepdown.core.errors import InputError, UsageError
from stepdown.core.served import Served
from stepdown.gateway.http.messages import Request
from stepdown.gateway.upstream import UpstreamOptions, open_upstream
from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.event_stream import events
from tests.gateway.asked import COMPLETION, exchange, incumbent, json_of, whole

HELLO = {"model": "large", "messages": [{"role": "user", "content": "hello"}]}


def call(text: str = "hello", said: str = "hi", **more: Any) -> Call:
    response = {
        **COMPLETION,
        "choices": [{**COMPLETION["choices"][0], "message": {"role": "assistant", "content": said}}],
    }
    return Call(id=text, request={**HELLO, "messages": [{"role": "user", "content": text}]}, response=response, **more)


def replaying(*calls: Call) -> UpstreamOptions:
    return UpstreamOptions(url="replay:", name="replay", kind="replay", calls=lambda: calls)


def asked(options: UpstreamOptions, *asks: Any) -> list[Any]:
    async def main() -> list[Any]:
        asking = incumbent(options)
        replies = await asyncio.gather(*(asking.ask(one) for one in asks))
        found = [(reply.status, (await whole(reply))[0]) for reply in replies]
        await asking.close()
        return found

    found: list[Any] = asyncio.run(main())
    return found


def test_a_recorded_request_has_its_recorded_answer_whatever_its_other_fields() -> None:
    calls = [call(f"t{number}", f"a{number}") for number in range(300)]
    asks = [exchange(messages=calls[n].request["messages"], temperature=n, model="x") for n in range(300)]
    answers = asked(replaying(*calls), *asks)
    assert [status for status, _ in answers] == [200] * 300
    assert [msgspec.json.decode(body) for _, body in answers] == [one.response for one in calls]


def test_tools_and_response_format_tell_requests_apart() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    shaped = Call(id="s", request={**HELLO, "tools": tools}, response={**COMPLETION, "id": "shaped"})
    answers = asked(replaying(call(), shaped), exchange(), exchange(tools=tools), exchange(response_format={"a": 1}))
    assert [status for status, _ in answers] == [200, 200, 404]
    assert msgspec.json.decode(answers[1][1])["id"] == "shaped"


def test_what_was_never_recorded_is_a_404_that_says_so() -> None:
    student = call("student", served=Served(rung="linear"))
    failed = Call(id="f", request={**HELLO, "messages": []}, response=None, error="500")
    options = replaying(call(), student, failed)
    asks = [exchange(messages=[{"role": "user", "content": text}]) for text in ("other", "student")]
    for status, body in asked(options, *asks, exchange(messages=[])):
        assert status == 404
        assert msgspec.json.decode(body)["error"]["code"] == "not_recorded"
    ((status, body),) = asked(options, exchange(anthropic_messages, messages=[{"role": "user", "content": "other"}]))
    assert status == 404
    assert msgspec.json.decode(body)["error"]["type"] == "not_found_error"


def test_answers_are_streamed_and_said_on_the_other_wire() -> None:
    options = replaying(call(), call())
    stream, message, messages = asked(
        options,
        exchange(stream=True, stream_options={"include_usage": True}),
        exchange(anthropic_messages),
        exchange(anthropic_messages, stream=True),
    )
    chunks = list(events(stream[1].decode()))
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    joined = openai_chat.joined(chunks)
    assert joined["choices"][0]["message"]["content"] == "hi"
    assert joined["usage"] == COMPLETION["usage"]
    assert anthropic.types.Message.model_validate(msgspec.json.decode(message[1])).content[0].type == "text"
    assert anthropic_messages.joined(events(messages[1].decode()))["content"][0]["text"] == "hi"


def write(path: Path, *calls: Call) -> UpstreamOptions:
    lines = b"\n".join(msgspec.json.encode({"request": one.request, "response": one.response}) for one in calls)
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines + b"\n\n")
    return UpstreamOptions(url=f"replay:{path}?latency_s=0.001", name="file", kind="replay")


@pytest.mark.parametrize("name", ["calls.jsonl", "calls.jsonl.gz"])
def test_a_file_is_replayed(tmp_path: Path, name: str) -> None:
    options = write(tmp_path / name, call(), call("more", "yes"))
    first, second = asked(options, exchange(), exchange(messages=call("more").request["messages"]))
    assert msgspec.json.decode(first[1]) == call().response
    assert b'"yes"' in second[1]


@pytest.mark.parametrize(
    "raw", [b'{"request": {}}\n{"request": 1}\n', b"[]", b"\xff\xfe", b'{"request": {"messages": [', b"[" * 100_000]
)
def test_a_file_that_cannot_be_read_is_a_502_that_names_the_line(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(raw)
    ((status, body),) = asked(UpstreamOptions(url=f"replay:{path}", kind="replay"), exchange())
    assert status == 502
    assert "broken.jsonl, line" in msgspec.json.decode(body)["error"]["message"]


def test_what_names_nothing_to_replay_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        open_upstream(UpstreamOptions(url="replay:/no/such/file", kind="replay"))
    with pytest.raises(UsageError, match="names no recorded calls"):
        open_upstream(UpstreamOptions(url="replay:", kind="replay"))
    for wrong in ("?latency_s=soon", "?latency_s=-1", "?x", "?latency_s=nan"):
        with pytest.raises(UsageError, match="latency_s"):
            open_upstream(UpstreamOptions(url=f"replay:{tmp_path}{wrong}", kind="replay"))


def test_the_first_to_ask_going_away_does_not_take_the_recordings_along() -> None:
    async def main() -> None:
        asking = incumbent(replaying(*(call(f"t{number}") for number in range(2000)), call()))
        first = asyncio.create_task(asking.ask(exchange()))
        await asyncio.sleep(0)
        first.cancel()
        assert (await asking.ask(exchange())).status == 200
        assert [one["id"] for one in await asking.models()] == ["large"]
        reply = await asking.forward(Request("POST", "/v1/embeddings"), openai_chat)
        assert reply.status == 404
        assert (await json_of(reply))["error"]["code"] == "not_found"
        await asking.close()

    asyncio.run(main())


def test_real_traffic_is_replayed(shared_data: Path) -> None:
    path = shared_data / "banking77_qwen3" / "traffic.jsonl.gz"
    with gzip.open(path) as file:
        lines = [msgspec.json.decode(file.readline()) for _ in range(50)]
    asks = [exchange(**line["request"]) for line in lines]
    answers = asked(UpstreamOptions(url=f"replay:{path}", kind="replay"), *asks)
    assert [msgspec.json.decode(body) for _, body in answers] == [line["response"] for line in lines]
