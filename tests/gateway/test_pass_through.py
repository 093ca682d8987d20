"""What belongs to no task goes through untouched, both ways, on the client's wire or across two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.gateway.large_model import EVENTS, SAID, LargeModel, Says, usual_answer
from tests.gateway.serving import Gateway, kept, serving, soon

HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello – 你好 👋"}]}
CLAUDE: dict[str, Any] = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": "hello 👋"}]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CLAUDE_WEATHER: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-clients-own", max_retries=0)


@pytest.fixture(scope="module")
def across(upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway without a task whose upstream speaks Anthropic's wire."""
    home = tmp_path_factory.mktemp("across")
    (home / "stepdown.toml").write_text(
        f'[[gateway.upstreams]]\nurl = "{upstream.url}"\nkind = "anthropic"\nname = "claude"\n'
    )
    with serving(home) as running:
        yield running


def test_bytes_go_through_untouched_both_ways(gateway: Gateway, upstream: LargeModel) -> None:
    body = b'{ "model":"gpt-4o-mini",\n "zz_unknown": {"a":[1.0,1e3,null,"\\u00e9"]},'
    body += b'"messages":[{"role":"user","content":"\xc3\xa9","x":1}] }'
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer sk-clients-own",
        "idempotency-key": "stainless-python-retry-1",
    }
    got = gateway.client.post("/v1/chat/completions?beta=true", content=body, headers=headers)
    seen = upstream.last()
    assert seen.body == body
    assert seen.path == "/v1/chat/completions?beta=true"
    assert {name: seen.headers.get(name) for name in headers} == headers
    assert not [name for name in seen.headers if name.startswith("x-stepdown")]
    assert got.content == usual_answer(seen).body
    assert got.headers["x-stepdown-rung"] == "incumbent"
    assert got.headers["x-stepdown-reason"] == "no task"


def test_a_stream_goes_through_piece_by_piece(gateway: Gateway, upstream: LargeModel) -> None:
    said = Says([b'data: {"x": 1}\n\n', b": a comment\n\nda", b"ta: [DONE]\n\n"], headers=dict(EVENTS), pause_s=0.05)
    upstream.then(said)
    with gateway.client.stream("POST", "/v1/chat/completions", json={**HELLO, "stream": True}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        pieces = list(response.iter_raw())
    assert b"".join(pieces) == b"".join(said.body)
    assert len(pieces) == 3


def test_another_gateways_word_is_not_passed_on_as_ours(gateway: Gateway, upstream: LargeModel) -> None:
    upstream.then(
        Says(b"{}", headers={"content-type": "application/json", "x-stepdown-rung": "linear", "x-request-id": "1"})
    )
    got = gateway.client.post("/v1/chat/completions", json=HELLO)
    assert got.headers.get_list("x-stepdown-rung") == ["incumbent"]
    assert got.headers["x-request-id"] == "1"


def test_capture_equals_what_was_sent_and_said(gateway: Gateway, upstream: LargeModel) -> None:
    got = gateway.client.post("/v1/chat/completions", json={**HELLO, "zz": [1, {"b": None}], "temperature": 0.25})
    call = kept(gateway.home, got.headers["x-stepdown-id"])
    assert call.request == {**HELLO, "zz": [1, {"b": None}], "temperature": 0.25}
    assert call.response == got.json()
    assert call.provider == "127.0.0.1"
    streamed = gateway.client.post(
        "/v1/chat/completions", json={**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    )
    call = kept(gateway.home, streamed.headers["x-stepdown-id"])
    assert call.content == SAID
    assert (call.prompt_tokens, call.completion_tokens) == (40, 9)


def test_the_openai_client(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**HELLO, extra_body={"zz_unknown": 1})
    assert completion.choices[0].message.content == SAID
    assert completion.usage.total_tokens == 49
    assert completion.unknown_field == {"é": [1.0, None]}
    assert len(client.chat.completions.create(**HELLO, n=2).choices) == 2
    asked: Any = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 49
    assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"


def test_tools_through_the_openai_client(client: openai.OpenAI) -> None:
    asked: Any = {**HELLO, "tools": [WEATHER]}
    (call,) = client.chat.completions.create(**asked).choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Århus"}
    pieces = [
        chunk.choices[0].delta.tool_calls[0].function.arguments
        for chunk in client.chat.completions.create(**asked, stream=True)
        if chunk.choices and chunk.choices[0].delta.tool_calls
    ]
    assert json.loads("".join(pieces)) == {"city": "Århus"}


def test_the_asynchronous_client(gateway: Gateway) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0) as client:
            asked: Any = {**HELLO, "stream": True}
            stream = await client.chat.completions.create(**asked)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert asyncio.run(ask()) == SAID


def test_langchain_with_tools(gateway: Gateway) -> None:
    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return city

    chat = ChatOpenAI(model="gpt-4o-mini", base_url=gateway.url + "/v1", api_key="k", max_retries=0)
    (call,) = chat.bind_tools([weather]).invoke("weather?").tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Århus"})
    whole: AIMessageChunk | None = None
    for piece in chat.bind_tools([weather]).stream("weather?"):
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert whole.tool_calls[0]["args"] == {"city": "Århus"}


def test_an_anthropic_client_on_an_openai_upstream(gateway: Gateway, upstream: LargeModel) -> None:
    claude = anthropic.Anthropic(base_url=gateway.url, api_key="sk-own", max_retries=0)
    message = claude.messages.create(**CLAUDE)
    assert message.content[0].type == "text"
    assert message.content[0].text == SAID
    assert (message.usage.input_tokens, message.usage.output_tokens) == (40, 9)
    assert upstream.last().path == "/v1/chat/completions"
    assert upstream.last().headers["authorization"] == "Bearer sk-own"
    with claude.messages.stream(**CLAUDE) as stream:
        assert "".join(stream.text_stream) == SAID
        assert stream.get_final_message().stop_reason == "end_turn"
    tools = {**CLAUDE, "tools": [CLAUDE_WEATHER]}
    used = claude.messages.create(**tools)
    assert used.stop_reason == "tool_use"
    assert [block.input for block in used.content if block.type == "tool_use"] == [{"city": "Århus"}]
    with claude.messages.stream(**tools) as stream:
        final = stream.get_final_message()
    assert [block.input for block in final.content if block.type == "tool_use"] == [{"city": "Århus"}]


def test_an_openai_client_on_an_anthropic_upstream(across: Gateway, upstream: LargeModel) -> None:
    client = openai.OpenAI(base_url=across.url + "/v1", api_key="sk-own", max_retries=0)
    asked: Any = dict(HELLO)
    completion = client.chat.completions.create(**asked)
    assert completion.choices[0].message.content == SAID
    assert completion.usage
    assert completion.usage.total_tokens == 49
    assert upstream.last().path == "/v1/messages"
    assert upstream.last().headers["x-api-key"] == "sk-own"
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 9
    asked["tools"] = [WEATHER]
    (call,) = client.chat.completions.create(**asked).choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Århus"}
    pieces = [
        chunk.choices[0].delta.tool_calls[0].function
        for chunk in client.chat.completions.create(**asked, stream=True)
        if chunk.choices and chunk.choices[0].delta.tool_calls
    ]
    assert json.loads("".join(piece.arguments or "" for piece in pieces if piece)) == {"city": "Århus"}


def test_an_anthropic_client_on_an_anthropic_upstream_is_not_touched(across: Gateway, upstream: LargeModel) -> None:
    body = b'{"model":"claude-x", "max_tokens":5,"zz":[1.0], "messages":[{"role":"user","content":"\\u00e9"}]}'
    headers = {"content-type": "application/json", "x-api-key": "sk-ant", "anthropic-beta": "new-thing-1"}
    got = across.client.post("/v1/messages", content=body, headers=headers)
    assert upstream.last().body == body
    assert {name: upstream.last().headers[name] for name in headers} == headers
    assert got.content == usual_answer(upstream.last()).body


ODD = b'{"error":{"message":"odd","zz":[1.0,null]} , "more":"\\u00e9"}\n'


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, ODD, openai.BadRequestError),
        (404, b'{"error":{"message":"no such model","code":"model_not_found"}}', openai.NotFoundError),
        (401, b"<html>who are you</html>", openai.AuthenticationError),
        (418, b"", openai.APIStatusError),
    ],
)
def test_an_upstreams_error_keeps_status_and_body(
    client: openai.OpenAI, gateway: Gateway, upstream: LargeModel, status: int, body: bytes, error: type[Exception]
) -> None:
    before = len(upstream.seen)
    said = Says(body, status, headers={"content-type": "text/odd", "x-request-id": "r-7"})
    upstream.then(said, said)
    got = gateway.client.post("/v1/chat/completions", json=HELLO)
    assert (got.status_code, got.content) == (status, body)
    assert got.headers["x-request-id"] == "r-7"
    assert got.headers["content-type"] == "text/odd"
    with pytest.raises(error):
        client.chat.completions.create(**HELLO)
    assert len(upstream.seen) == before + 2, "what the client did wrong is not tried again"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_help_is_tried_again_and_the_last_answer_kept(
    gateway: Gateway, upstream: LargeModel, status: int
) -> None:
    before = len(upstream.seen)
    body = b'{"error": {"message": "not now", "n": %d}}'
    headers = {"content-type": "application/json", "retry-after": "0"}
    upstream.then(*(Says(body % n, status, headers) for n in range(3)))
    got = gateway.client.post("/v1/chat/completions", json=HELLO)
    assert (got.status_code, got.content) == (status, body % 2)
    assert len(upstream.seen) == before + 3
    upstream.then(Says(b"{}", status, headers))
    assert gateway.client.post("/v1/chat/completions", json=HELLO).status_code == 200


def test_errors_across_wires_have_the_clients_shape(across: Gateway, upstream: LargeModel) -> None:
    upstream.then(
        Says(b'{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too many"}}', 400)
    )
    got = across.client.post("/v1/chat/completions", json=HELLO)
    assert got.status_code == 400
    assert got.json()["error"]["message"] == "max_tokens: too many"
    assert got.json()["error"]["type"] == "invalid_request_error"


GARBAGE = [
    Says(b"\xff\xfe garbage"),
    Says(b"{"),
    Says(b"[1,2]"),
    Says(b""),
    Says(b'{"choices": 7}'),
    Says([b'data: {"choices": [{"delta"', b""], headers=dict(EVENTS), breaks_off=True),
    Says([b"not an event at all"], headers=dict(EVENTS)),
]


@pytest.mark.parametrize("said", GARBAGE)
@pytest.mark.parametrize("streams", [False, True])
def test_an_upstreams_garbage_does_no_harm(
    gateway: Gateway, across: Gateway, upstream: LargeModel, said: Says, streams: bool
) -> None:
    for running in (gateway, across):
        upstream.then(said)
        try:
            got = running.client.post("/v1/chat/completions", json={**HELLO, "stream": streams})
            if running is across and not streams:
                assert got.status_code == 502
                assert got.json()["error"]["message"]
        except httpx.RemoteProtocolError:
            assert isinstance(said.body, list), "only a stream that never came to its end may break off"
        assert running.client.post("/v1/chat/completions", json=HELLO).status_code == 200


def test_an_abandoned_stream_is_given_up_upstream_and_recorded(gateway: Gateway, upstream: LargeModel) -> None:
    before = upstream.cut_off
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"more "}}]}\n\n'
    upstream.then(Says([piece] * 2000, headers=dict(EVENTS), pause_s=0.01))
    with gateway.client.stream("POST", "/v1/chat/completions", json={**HELLO, "stream": True}) as response:
        name = response.headers["x-stepdown-id"]
        next(response.iter_raw())
    assert soon(lambda: upstream.cut_off > before), "the upstream still speaks to nobody"
    call = kept(gateway.home, name)
    assert call.error == "the client went away"
    assert call.response is None


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/responses", "/v1/files/x/content?y=1"])
def test_other_paths_go_through(gateway: Gateway, upstream: LargeModel, path: str) -> None:
    got = gateway.client.post(path, content=b'{"input": "x"}', headers={"content-type": "application/json"})
    assert got.json() == {"took": path}
    assert upstream.last().body == b'{"input": "x"}'


def test_a_recording_proxy_needs_no_task(across: Gateway, tmp_path: Path) -> None:
    got = across.client.post("/v1/chat/completions", json=HELLO)
    call = kept(across.home, got.headers["x-stepdown-id"])
    assert call.content == SAID
    assert call.provider == "claude"
    assert call.request == HELLO
