"""Streams of one wire as streams of the other: whole, cut anywhere, broken, and stopped half way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.event_stream import DONE, EventSplitter, frame
from stepdown.wires.stream_translator import StreamTranslator
from stepdown.wires.translated_streams import ChatToMessages, MessagesToChat

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_CALL = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z_]{1,8}", fullmatch=True), "input": st.dictionaries(_TEXT, _TEXT | st.integers(-9, 9))}
)
_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4},
}


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    """Chat completions with text, tool calls or both."""
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": call["name"], "arguments": msgspec.json.encode(call["input"]).decode()},
        }
        for number, call in enumerate(draw(st.lists(_CALL, max_size=3)))
    ]
    message: dict[str, Any] = {"role": "assistant", "content": draw(_TEXT) or None}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    choice = {"index": 0, "finish_reason": reason, "message": message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [choice],
        "usage": _USAGE,
    }


def _chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return frame({"id": "chatcmpl-1", "created": 7, "model": "m", "choices": [choice], **more})


def _call_delta(index: int, arguments: str, name: str = "", identity: str = "") -> bytes:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return _chunk({"tool_calls": [{"index": index, "function": function, **({"id": identity} if identity else {})}]})


def _through(translator: StreamTranslator, stream: bytes, places: list[int] | None = None) -> bytes:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places or []), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    return b"".join(translator.feed(piece) for piece in pieces) + translator.close()


def _core(completion: dict[str, Any]) -> Any:
    choice = completion["choices"][0]
    calls = choice["message"].get("tool_calls") or []
    said = [
        (call["id"], call["function"]["name"], msgspec.json.decode(call["function"]["arguments"])) for call in calls
    ]
    return choice["message"]["content"], said, choice["finish_reason"], completion["usage"]["prompt_tokens"]


@settings(deadline=None)
@given(completion=completions(), places=st.lists(st.integers(0, 100_000), max_size=20), crlf=st.booleans())
def test_there_and_back_whatever_the_cut(completion: dict[str, Any], places: list[int], crlf: bool) -> None:
    chat = b"".join(openai_chat.stream_of(completion, include_usage=True))
    if crlf:
        chat = chat.replace(b"\n", b"\r\n")
    messages = _through(ChatToMessages(), chat)
    assert _through(ChatToMessages(), chat, places) == messages
    back = _through(MessagesToChat(include_usage=True, created=7), messages)
    assert _through(MessagesToChat(include_usage=True, created=7), messages, places) == back
    there = openai_chat.joined(EventSplitter().feed(back))
    assert _core(there) == _core(completion)
    assert there["id"] == "chatcmpl-1"
    assert there["created"] == 7


@settings(deadline=None)
@given(completion=completions())
def test_a_finished_message_streams_as_itself(completion: dict[str, Any]) -> None:
    message = anthropic_messages.to_message(completion)
    joined = anthropic_messages.joined(EventSplitter().feed(b"".join(anthropic_messages.stream_of(message))))
    assert _core(anthropic_messages.response(joined)) == _core(anthropic_messages.response(message))


def test_the_openai_client_reads_a_finished_answer(read_chat: Callable[[bytes], list[Any]]) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    logprobs = {"content": [{"token": "hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}], "refusal": None}
    choices = [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}, "logprobs": logprobs},
        {
            "index": 1,
            "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": None, "tool_calls": calls},
        },
    ]
    completion = {"id": "x", "created": 5, "model": "m", "choices": choices, "usage": _USAGE}
    chunks = read_chat(b"".join(openai_chat.stream_of(completion, include_usage=True)))
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks] == [None] * (len(chunks) - 1) + [17]
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks} == {
        ("x", 5, "m", "chat.completion.chunk")
    }
    joined = openai_chat.joined([chunk.model_dump() for chunk in chunks])
    assert joined["choices"][0]["logprobs"]["content"][0]["token"] == "hi"
    assert joined["choices"][1]["message"]["tool_calls"] == calls
    plain = b"".join(openai_chat.stream_of(completion))
    assert b"usage" not in plain
    assert plain.endswith(DONE)


def test_the_anthropic_client_reads_a_finished_answer(read_message: Callable[[bytes], Any]) -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}},
    ]
    usage = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 9}
    message = {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": content}
    message |= {"stop_reason": "tool_use", "stop_sequence": None, "usage": usage}
    read = read_message(b"".join(anthropic_messages.stream_of(message)))
    assert [block.model_dump(exclude_none=True) for block in read.content] == content
    assert read.usage.model_dump(exclude_none=True) == usage
    assert (read.id, read.model, read.stop_reason) == ("x", "m", "tool_use")


def test_tool_calls_that_mix_come_out_one_after_another(read_message: Callable[[bytes], Any]) -> None:
    stream = (
        _chunk({"role": "assistant", "content": "so"})
        + _call_delta(0, '{"a"', "f", "c0")
        + _call_delta(1, '{"b"', "g", "c1")
        + _call_delta(0, ":1}")
        + _call_delta(1, ":2}")
        + _chunk({}, "tool_calls")
        + DONE
    )
    out = _through(ChatToMessages(), stream)
    opened: list[int] = []
    for event in EventSplitter().feed(out):
        if event["type"] == "content_block_start":
            opened.append(event["index"])
            assert len(opened) == 1
        elif event["type"] == "content_block_stop":
            assert opened.pop() == event["index"]
    blocks = read_message(out).content
    assert [(block.id, block.name, block.input) for block in blocks[1:]] == [
        ("c0", "f", {"a": 1}),
        ("c1", "g", {"b": 2}),
    ]


def test_calls_all_numbered_zero_stay_apart(read_message: Callable[[bytes], Any]) -> None:
    stream = _call_delta(0, '{"a":1}', "f", "c0") + _call_delta(0, "", "g", "c1") + _chunk({}, "stop") + DONE
    message = read_message(_through(ChatToMessages(), stream))
    assert [(block.id, block.name, block.input) for block in message.content] == [
        ("c0", "f", {"a": 1}),
        ("c1", "g", {}),
    ]
    assert message.stop_reason == "tool_use"


def test_a_call_without_an_id_gets_one(read_message: Callable[[bytes], Any]) -> None:
    message = read_message(_through(ChatToMessages(), _call_delta(0, "{}", "f") + _chunk({}, "tool_calls") + DONE))
    assert message.content[0].id == "toolu_chatcmpl-1_0"


def test_a_tool_call_that_goes_on_after_its_end_is_refused() -> None:
    stream = _call_delta(0, "{}", "f", "a") + _call_delta(1, "{}", "g", "b") + _call_delta(0, "{}")
    translator = ChatToMessages()
    with pytest.raises(ValueError, match="had ended"):
        translator.feed(stream)
    out = translator.failed("garbage from the upstream")
    assert [event["type"] for event in EventSplitter().feed(out)][-1] == "error"
    assert translator.ended


def test_a_call_without_arguments_is_an_empty_object() -> None:
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    }
    events = [{"type": "message_start", "message": {"id": "x", "model": "m"}}, start]
    events += [
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}},
    ]
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]
    out = _through(MessagesToChat(), b"".join(frame(event, event["type"]) for event in events))
    joined = openai_chat.joined(EventSplitter().feed(out))
    assert joined["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert out.endswith(DONE)
    assert b"usage" not in out


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (_chunk({"content": "ha"}) + frame({"error": {"message": "slow down", "type": "rate_limit_error"}}), 429),
        (_chunk({"content": "ha"}) + frame({"error": {"message": "slow down", "code": 503}}), 503),
        (_chunk({"content": "ha"}) + frame({"error": "slow down"}) + _chunk({"content": "more"}, "stop") + DONE, 500),
    ],
)
def test_an_error_in_a_chat_stream_is_the_anthropic_client_s(
    stream: bytes, status: int, read_message: Callable[[bytes], Any]
) -> None:
    translator = ChatToMessages()
    out = _through(translator, stream)
    assert translator.error is not None
    assert translator.error.status == status
    assert b"more" not in out
    with pytest.raises(anthropic.APIStatusError, match="slow down"):
        read_message(out)


def test_an_error_in_a_messages_stream_is_the_openai_client_s(read_chat: Callable[[bytes], list[Any]]) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    start = {"type": "message_start", "message": {"id": "x", "model": "m", "usage": {"input_tokens": 1}}}
    translator = MessagesToChat(include_usage=True)
    out = _through(translator, frame(start, "message_start") + frame(error, "error"))
    assert translator.error is not None
    assert translator.error.status == 529
    with pytest.raises(openai.APIError, match="Overloaded"):
        read_chat(out)
    assert DONE not in out


@pytest.mark.parametrize("end", [b"", b'data: {"id": "chatcmpl-1", "cho', b": comment\n"])
def test_a_chat_stream_that_stops_half_way_is_an_error(end: bytes, read_message: Callable[[bytes], Any]) -> None:
    out = _through(ChatToMessages(), _chunk({"content": "ha"}) + end)
    with pytest.raises(anthropic.APIStatusError, match="the upstream's stream"):
        read_message(out)


@pytest.mark.parametrize("end", [b"", b'event: content_block_delta\ndata: {"type": "con', b": comment\n"])
def test_a_messages_stream_that_stops_half_way_is_an_error(end: bytes, read_chat: Callable[[bytes], list[Any]]) -> None:
    start = {"type": "message_start", "message": {"id": "x", "model": "m"}}
    with pytest.raises(openai.APIError, match="the upstream's stream"):
        read_chat(_through(MessagesToChat(), frame(start, "message_start") + end))


@pytest.mark.parametrize("translator", [ChatToMessages(), MessagesToChat()])
def test_a_stream_with_nothing_but_its_end_is_an_error(translator: StreamTranslator) -> None:
    out = _through(translator, DONE)
    assert b"no answer in it" in out
    assert translator.error is not None


def test_an_answer_that_ended_needs_no_done(read_message: Callable[[bytes], Any]) -> None:
    message = read_message(_through(ChatToMessages(), _chunk({"content": "ha"}) + _chunk({}, "length")))
    assert (message.content[0].text, message.stop_reason) == ("ha", "max_tokens")


def test_a_refusal_is_said_and_named(read_message: Callable[[bytes], Any]) -> None:
    message = read_message(_through(ChatToMessages(), _chunk({"refusal": "no"}) + _chunk({}, "stop") + DONE))
    assert (message.content[0].text, message.stop_reason) == ("no", "refusal")


def test_what_came_before_garbage_is_not_lost() -> None:
    whole, pieces = ChatToMessages(), ChatToMessages()
    stream = _chunk({"content": "ha"}) + b"data: nonsense\n\n"
    with pytest.raises(ValueError, match="not JSON"):
        whole.feed(stream)
    out = b"".join(pieces.feed(bytes([byte])) for byte in stream[:-1])
    with pytest.raises(ValueError, match="not JSON"):
        pieces.feed(stream[-1:])
    assert whole.failed("garbage") == out + pieces.failed("garbage")
    assert whole.failed("again") == whole.feed(stream) == whole.close() == b""


def test_events_and_tool_calls_are_bounded() -> None:
    with pytest.raises(ValueError, match="larger than"):
        ChatToMessages(max_event_bytes=1000).feed(_chunk({"content": "x" * 2000}))
    with pytest.raises(ValueError, match="larger than"):
        ChatToMessages(max_event_bytes=1000).feed(_call_delta(0, "x" * 100, "f", "c") * 20)


_WORDS = st.sampled_from(["tool_use", "text", "a", "", '{"a":1}', "stop"])
_LEAVES = st.none() | st.booleans() | st.integers(-3, 600) | _WORDS
_ANY = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_WORDS, inner, max_size=2))


def _with(**fields: Any) -> Any:
    """Any JSON, or an object with some of the fields."""
    return _ANY | st.fixed_dictionaries({}, optional=fields)


_FUNCTION = _with(name=_ANY, arguments=_ANY)
_CALLS = st.lists(_with(index=_ANY, id=_ANY, type=_ANY, function=_FUNCTION), max_size=3) | _ANY
_DELTA = _with(content=_ANY, refusal=_ANY, tool_calls=_CALLS, text=_ANY, partial_json=_ANY, stop_reason=_ANY)
_CHUNK = st.fixed_dictionaries(
    {"choices": st.lists(_with(index=st.just(0), delta=_DELTA, finish_reason=_ANY), max_size=2) | _ANY},
    optional={"usage": _with(prompt_tokens=_ANY, prompt_tokens_details=_ANY), "id": _ANY, "model": _ANY, "error": _ANY},
)
_KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "error"]
_EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(_KINDS)},
    optional={
        "index": st.just(0) | _ANY,
        "message": _with(id=_ANY, model=_ANY, usage=_ANY),
        "content_block": _with(type=_ANY, id=_ANY, name=_ANY, text=_ANY, input=_ANY),
        "delta": _DELTA,
        "usage": _with(input_tokens=_ANY, output_tokens=_ANY),
        "error": _ANY,
    },
)


@settings(deadline=None)
@given(chunks=st.lists(_CHUNK, max_size=4), events=st.lists(_EVENT, max_size=5))
def test_whatever_comes_only_value_errors_are_raised(
    chunks: list[dict[str, Any]], events: list[dict[str, Any]]
) -> None:
    for translator, stream in ((ChatToMessages(), chunks), (MessagesToChat(include_usage=True), events)):
        out = b""
        try:
            for event in stream:
                out += translator.feed(frame(event))
            out += translator.close()
        except ValueError:
            out += translator.failed("garbage")
        assert translator.ended
        EventSplitter().feed(out)
