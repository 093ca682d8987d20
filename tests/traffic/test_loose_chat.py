"""What tools write down of a conversation, brought into chat shape."""

from __future__ import annotations

from typing import Any

import pytest

from stepdown.traffic.loose_chat import answers_of, has_text, messages_of, tools_of, usage_of

USER = {"role": "user", "content": "Rain?"}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "t", "type": "function", "function": {"name": "look", "arguments": '{"at":"Bonn"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "t", "content": "wet"}
BLOCK = {"type": "tool_use", "id": "t", "name": "look", "input": {"at": "Bonn"}}
RESULT_BLOCK = {"type": "tool_result", "tool_use_id": "t", "content": "wet"}


@pytest.mark.parametrize(
    ("asked", "messages"),
    [
        ("Rain?", [USER]),
        ([USER], [USER]),
        (USER, [USER]),
        ({"messages": [SYSTEM, USER]}, [SYSTEM, USER]),
        ({"input": "Rain?", "instructions": "Be brief."}, [SYSTEM, USER]),
        ({"prompt": "Rain?"}, [USER]),
        ({"prompts": ["Rain?"]}, [USER]),
        ({"text": "Rain?"}, [USER]),
        # LangChain: a batch of one, messages by their type, and constructors as its serialisation has them.
        ([[{"type": "system", "content": "Be brief."}, {"type": "human", "content": "Rain?"}]], [SYSTEM, USER]),
        ([{"type": "human", "data": {"content": "Rain?"}}], [USER]),
        ([{"lc": 1, "type": "constructor", "id": ["a", "HumanMessage"], "kwargs": {"content": "Rain?"}}], [USER]),
        (
            [{"type": "ai", "content": "", "tool_calls": [{"name": "look", "args": {"at": "Bonn"}, "id": "t"}]}],
            [CALLED],
        ),
        ([{"type": "ai", "content": "", "additional_kwargs": {"tool_calls": [CALL]}}], [CALLED]),
        ([{"type": "tool", "content": "wet", "tool_call_id": "t"}], [RESULT]),
        # Anthropic's blocks.
        (
            [USER, {"role": "assistant", "content": [BLOCK]}, {"role": "user", "content": [RESULT_BLOCK]}],
            [USER, CALLED, RESULT],
        ),
        # OpenTelemetry's parts; two results in one message are two messages.
        ([{"role": "user", "parts": [{"type": "text", "content": "Rain?"}]}], [USER]),
        (
            [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "t", "response": "wet"}] * 2}],
            [RESULT, RESULT],
        ),
        (
            [{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {**BLOCK, "type": "tool_call"}]}],
            [CALLED],
        ),
    ],
)
def test_what_was_asked_becomes_messages(asked: Any, messages: list[dict[str, Any]]) -> None:
    assert messages_of(asked) == messages


@pytest.mark.parametrize("asked", [None, 5, [], {}, [1, 2], {"messages": []}, {"x": 1}, [{"x": 1}]])
def test_what_is_no_conversation_is_said(asked: Any) -> None:
    with pytest.raises(ValueError, match="neither a text nor"):
        messages_of(asked)


GOOD = {"role": "assistant", "content": "good"}


@pytest.mark.parametrize(
    ("answered", "answers"),
    [
        (None, []),
        ("", []),
        ("good", [(GOOD, "")]),
        (GOOD, [(GOOD, "")]),
        ([GOOD, GOOD], [(GOOD, ""), (GOOD, "")]),
        ({"choices": [{"message": GOOD, "finish_reason": "length"}]}, [(GOOD, "length")]),
        ({"choices": [{"text": "good", "finish_reason": "stop"}]}, [(GOOD, "stop")]),
        ({"generations": [[{"text": "good"}]]}, [(GOOD, "")]),
        (
            {
                "generations": [
                    [{"message": {"type": "ai", "content": "good"}, "generation_info": {"finish_reason": "stop"}}]
                ]
            },
            [(GOOD, "stop")],
        ),
        (
            [{"role": "assistant", "parts": [{"type": "text", "content": "good"}], "finish_reason": "tool_call"}],
            [(GOOD, "tool_calls")],
        ),
        ({"role": "assistant", "content": [BLOCK], "stop_reason": "tool_use"}, [(CALLED, "tool_calls")]),
        ({"role": "assistant", "content": [{"type": "text", "text": "good"}]}, [(GOOD, "")]),
        ({"category": "x"}, [({"role": "assistant", "content": '{"category":"x"}'}, "")]),
        (5, [({"role": "assistant", "content": "5"}, "")]),
        ({"type": "x", "text": "y"}, [({"role": "assistant", "content": '{"type":"x","text":"y"}'}, "")]),
        ({"text": "good"}, [(GOOD, "")]),
    ],
)
def test_what_was_answered_becomes_messages(answered: Any, answers: list[Any]) -> None:
    assert answers_of(answered) == answers


def test_tools_of_either_wire_and_of_conventions() -> None:
    schema = {"type": "object"}
    wanted = [{"type": "function", "function": {"name": "look", "description": "L", "parameters": schema}}]
    assert tools_of(wanted) == wanted
    assert tools_of([{"name": "look", "description": "L", "input_schema": schema}]) == wanted
    assert (
        tools_of([{"type": "function", "name": "look", "description": "L", "parameters": '{"type":"object"}'}])
        == wanted
    )
    assert tools_of([{"type": "web_search"}]) == [{"type": "web_search"}]
    assert tools_of("?") == []


def test_tokens_and_text() -> None:
    assert usage_of(None, None) == {}
    assert usage_of("9", 1) == {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    assert usage_of(9, 1, 4)["prompt_tokens_details"] == {"cached_tokens": 4, "cache_write_tokens": 0}
    assert not has_text([{"role": "user", "content": None}])
    assert has_text([USER])
