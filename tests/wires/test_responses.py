"""Answers of one wire as answers of the other."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.anthropic_messages import to_message


def _completion(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": None, **message}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice], **more}


def _calling(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}, **more}]}


def test_a_whole_answer() -> None:
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
    }
    message = to_message(_completion({"content": "hi", **_calling('{"a": 1}')}, "tool_calls", usage=usage))
    Message.model_validate(message)
    assert message == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 8,
            "cache_creation_input_tokens": 2,
        },
    }
    back = openai_chat.from_completion(anthropic_messages.response(message), created=9)
    ChatCompletion.model_validate(back)
    assert back["usage"] == usage
    assert back["created"] == 9
    assert back["choices"][0]["message"] == {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        **_calling('{"a":1}'),
    }


@pytest.mark.parametrize(
    ("message", "reason", "expected"),
    [
        ({"content": "a"}, "stop", "end_turn"),
        ({"content": "a"}, "length", "max_tokens"),
        ({"content": "a"}, "content_filter", "refusal"),
        ({"content": "a"}, "", "end_turn"),
        ({"content": "a"}, "something new", "end_turn"),
        (_calling("{}"), "tool_calls", "tool_use"),
        (_calling("{}"), "stop", "tool_use"),
        ({"refusal": "no"}, "stop", "refusal"),
    ],
)
def test_why_it_ended(message: dict[str, Any], reason: str, expected: str) -> None:
    assert to_message(_completion(message, reason))["stop_reason"] == expected


def test_nothing_said_is_no_block() -> None:
    assert to_message(_completion({"content": ""}))["content"] == []
    assert to_message(_completion({"content": [{"type": "text", "text": "a"}]}))["content"][0]["text"] == "a"


def test_arguments_that_are_no_object_are_refused_unless_the_answer_was_cut() -> None:
    for arguments in ('{"a": ', "[1]"):
        with pytest.raises(ValueError, match="tool call's arguments"):
            to_message(_completion(_calling(arguments), "tool_calls"))
    cut = to_message(_completion(_calling('{"a": '), "length"))
    assert (cut["content"][0]["input"], cut["stop_reason"]) == ({}, "max_tokens")


def test_a_call_without_an_id_gets_the_one_its_stream_would_give() -> None:
    message = to_message(_completion(_calling("{}", id=None), "tool_calls"))
    assert message["content"][0]["id"] == "toolu_chatcmpl-1_0"


def test_an_answer_that_lacks_fields_is_completed_and_keeps_the_rest() -> None:
    given_back = openai_chat.from_completion({"id": "x", "model": "m", "odd": 1, "usage": {}, "choices": []}, created=3)
    assert given_back == {
        "id": "x",
        "model": "m",
        "odd": 1,
        "choices": [],
        "object": "chat.completion",
        "created": 3,
    }


@pytest.mark.parametrize(
    "body", [{}, {"choices": None}, {"choices": []}, {"choices": [{"index": 0}]}, {"choices": [3]}]
)
def test_what_is_no_completion_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="choice"):
        to_message(body)


_LEAF = st.none() | st.booleans() | st.integers(-3, 5) | st.sampled_from(["text", "tool_use", "stop", "{}", ""])
_ANY = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_LEAF.map(str), inner, max_size=2)
)
_MESSAGE = st.fixed_dictionaries(
    {"content": _ANY},
    optional={"refusal": _ANY, "tool_calls": st.lists(st.fixed_dictionaries({"function": _ANY, "id": _ANY})) | _ANY},
)
_BLOCK = _ANY | st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "thinking"])}, optional=dict.fromkeys(("text", "id", "input"), _ANY)
)


@settings(deadline=None)
@given(message=_MESSAGE, reason=_ANY, usage=_ANY, blocks=st.lists(_BLOCK, max_size=3) | _ANY)
def test_whatever_is_answered_only_value_errors_are_raised(message: Any, reason: Any, usage: Any, blocks: Any) -> None:
    try:
        translated = to_message({**_completion(message, reason), "usage": usage, "id": reason})
        Message.model_validate(translated)
        b"".join(anthropic_messages.stream_of(translated))
    except ValueError as problem:
        assert "arguments" in str(problem)
    try:
        completion = openai_chat.from_completion(
            anthropic_messages.response({"content": blocks, "stop_reason": reason, "usage": usage})
        )
        b"".join(openai_chat.stream_of(completion, include_usage=True))
    except ValueError as problem:
        assert "content blocks" in str(problem)
