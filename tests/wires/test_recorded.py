"""Real exchanges, there and back: texts, tool calls and usage survive, and the vendors' own types take the results."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.event_stream import EventSplitter, events, looks_like
from stepdown.wires.translated_streams import ChatToMessages, MessagesToChat

_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_ASKED: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)


def _of(exchanges: list[Any], path: str, kind: Any) -> list[Any]:
    """The exchanges with an endpoint whose answer is of the wire: JSON (dict), a stream (str) or either."""
    found = [
        one
        for one in exchanges
        if one.url.split("?")[0].endswith(path)
        and one.status == 200
        and isinstance(one.response, kind)
        and (looks_like(one.response) if isinstance(one.response, str) else {"choices", "content"} & set(one.response))
    ]
    assert found
    return found


def _said(completion: dict[str, Any]) -> tuple[str, list[tuple[str, Any]], str]:
    choice = completion["choices"][0]
    message = choice["message"]
    calls = [
        (call["function"]["name"], msgspec.json.decode(call["function"]["arguments"] or "{}"))
        for call in message.get("tool_calls") or ()
    ]
    return (message.get("content") or "") + (message.get("refusal") or ""), calls, choice["finish_reason"]


def _used(completion: dict[str, Any]) -> tuple[int, int, int]:
    usage = completion.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0), details.get("cached_tokens") or 0


def test_chat_completions_as_messages(exchanges: list[Any]) -> None:
    for one in _of(exchanges, "/chat/completions", dict):
        message = anthropic_messages.to_message(one.response)
        Message.model_validate(message)
        there, back = openai_chat.response(one.response), anthropic_messages.response(message)
        assert _said(back)[:2] == _said(there)[:2], one.name
        assert _used(back) == _used(there), one.name


def test_messages_as_chat_completions(exchanges: list[Any]) -> None:
    for one in _of(exchanges, "/v1/messages", dict):
        completion = openai_chat.from_completion(anthropic_messages.response(one.response), created=1_700_000_000)
        ChatCompletion.model_validate(completion)
        texts = "".join(block["text"] for block in one.response["content"] if block["type"] == "text")
        tools = [(block["name"], block["input"]) for block in one.response["content"] if block["type"] == "tool_use"]
        assert _said(completion)[:2] == (texts, tools), one.name
        assert completion["usage"]["completion_tokens"] == one.response["usage"]["output_tokens"]
        back = anthropic_messages.to_message(completion)
        assert back["usage"]["input_tokens"] == one.response["usage"]["input_tokens"]


def test_chat_streams_as_messages_events(exchanges: list[Any], read_message: Callable[[bytes], Any]) -> None:
    for one in _of(exchanges, "/chat/completions", str):
        translator = ChatToMessages()
        out = translator.feed(one.response.encode()) + translator.close()
        for event in EventSplitter().feed(out):
            _EVENT.validate_python(event)
        there = openai_chat.joined(events(one.response))
        back = anthropic_messages.response(read_message(out).model_dump())
        assert _said(back) == _said(there), one.name
        assert _used(back) == _used(there), one.name


def test_messages_streams_as_chat_chunks(exchanges: list[Any], read_chat: Callable[[bytes], list[Any]]) -> None:
    for one in _of(exchanges, "/v1/messages", str):
        translator = MessagesToChat(include_usage=True, created=1_700_000_000)
        out = translator.feed(one.response.encode()) + translator.close()
        assert out.endswith(b"data: [DONE]\n\n")
        chunks = [chunk.model_dump() for chunk in read_chat(out)]
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk)
        there = anthropic_messages.response(anthropic_messages.joined(events(one.response)))
        back = openai_chat.joined(chunks)
        assert _said(back) == _said(there), one.name
        assert _used(back) == _used(there), one.name


def test_chat_requests_as_messages_requests(exchanges: list[Any]) -> None:
    refused = []
    for one in _of(exchanges, "/chat/completions", dict | str):
        try:
            asked = anthropic_messages.from_chat(one.request)
        except ValueError as problem:
            refused.append(str(problem))
            continue
        _ASKED.validate_python({**asked, "stream": False}, strict=False)
        roles = [turn["role"] for turn in asked["messages"]]
        assert all(first != second for first, second in itertools.pairwise(roles)), one.name
        names = [tool["function"]["name"] for tool in one.request.get("tools") or ()]
        assert [tool["name"] for tool in asked.get("tools", ())] == names
        _same_conversation(one.request, anthropic_messages.to_chat(asked), one.name)
    assert len(refused) < 15
    assert all(problem.split(":")[0].split("[")[0] in _KNOWN for problem in refused), refused


_KNOWN = {
    "response_format",
    "messages",
    "logprobs",
    "logprobs, top_logprobs",
    "web_search_options",
    "moderation",
    "tools",
}


def test_messages_requests_as_chat_requests(exchanges: list[Any]) -> None:
    done = 0
    for one in _of(exchanges, "/v1/messages", dict | str):
        try:
            asked = anthropic_messages.to_chat(one.request)
        except ValueError as problem:
            assert str(problem).startswith(("tools[", "mcp_servers", "container", "messages")), problem
            continue
        done += 1
        _same_conversation(asked, anthropic_messages.to_chat(anthropic_messages.from_chat(asked)), one.name)
    assert done > 20


def _same_conversation(first: dict[str, Any], second: dict[str, Any], name: str) -> None:
    assert _words(first) == _words(second), name
    assert _calls(first) == _calls(second), name


def _words(request: dict[str, Any]) -> list[str]:
    found = []
    for message in request["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}] if content else []
        found += [part["text"] for part in parts if part.get("text")]
    return sorted(" ".join(found).split())


def _calls(request: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (call["id"], call["function"]["name"], msgspec.json.decode(call["function"]["arguments"] or "{}"))
        for message in request["messages"]
        for call in message.get("tool_calls") or ()
    ]


@pytest.mark.parametrize("wire", [openai_chat, anthropic_messages])
def test_recorded_errors_keep_their_message(exchanges: list[Any], wire: Any) -> None:
    from stepdown.wires.wire import translate_error

    found = [one for one in exchanges if one.status >= 400 and isinstance(one.response, dict)]
    assert found
    for one in found:
        other = "anthropic" if wire is openai_chat else "openai"
        body = translate_error(one.response, one.status, other, wire.NAME)
        said = one.response.get("error") or one.response
        assert body["error"]["message"] == said["message"]
