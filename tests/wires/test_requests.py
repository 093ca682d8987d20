"""Requests of one wire as requests of the other: what must be carried, what is refused, what is left out."""

from __future__ import annotations

import itertools
import re
from typing import Any

import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.anthropic_messages import from_chat, to_chat

_MESSAGES: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
_CHAT: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)
_ASK = {"role": "user", "content": "q"}
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
_TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": _SCHEMA}}


def _asked(**more: Any) -> dict[str, Any]:
    return from_chat({"model": "m", "messages": [_ASK], **more})


def test_a_whole_chat_conversation() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    request = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, _image("data:image/PNG;base64,aGk=")]},
            {"role": "user", "content": [_image("https://example.org/a.png")]},
            {"role": "assistant", "content": "wait", "tool_calls": [call, {**call, "id": "d"}]},
            {"role": "tool", "tool_call_id": "c", "content": "sun"},
            {"role": "tool", "tool_call_id": "d", "content": ""},
            {"role": "user", "content": "and?"},
            {"role": "developer", "content": "be kind"},
        ],
        "tools": [_TOOL, {"type": "function", "function": {"name": "g", "strict": True}}],
        "max_completion_tokens": 7,
        "temperature": 1.7,
        "top_p": 0.5,
        "stop": "END",
        "user": "u-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
    }
    asked = from_chat(request)
    _MESSAGES.validate_python({**asked, "stream": False})
    assert asked == {
        "model": "m",
        "top_p": 0.5,
        "stream": True,
        "max_tokens": 7,
        "system": [{"type": "text", "text": "be brief"}, {"type": "text", "text": "be kind"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "wait"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                    {"type": "tool_use", "id": "d", "name": "f", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "sun"}]},
                    {"type": "tool_result", "tool_use_id": "d"},
                    {"type": "text", "text": "and?"},
                ],
            },
        ],
        "temperature": 1,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "tools": [
            {"name": "f", "description": "d", "input_schema": _SCHEMA},
            {"name": "g", "input_schema": {"type": "object", "properties": {}}, "strict": True},
        ],
    }


def test_a_whole_messages_conversation() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "sun"}, image]}
    body = {
        "model": "m",
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [document]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [result, {"type": "text", "text": "and?"}]},
        ],
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "stream": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "metadata": {"user_id": "u-1"},
        "tools": [{"name": "f", "description": "d", "input_schema": _SCHEMA}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}},
    }
    asked = to_chat(body)
    _CHAT.validate_python(asked)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert asked == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [_file("document.pdf", "data:application/pdf;base64,aGk=")]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "sun"},
            {"role": "user", "content": [_image("data:image/png;base64,aGk="), {"type": "text", "text": "and?"}]},
        ],
        "tools": [_TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stop": ["END"],
        "user": "u-1",
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": _SCHEMA, "strict": True},
        },
    }


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _file(name: str, data: str) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def test_an_unbounded_answer_gets_a_bound() -> None:
    assert _asked()["max_tokens"] == 4096
    assert _asked(max_tokens=5)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", True, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
    ],
)
def test_the_choice_of_a_tool(choice: Any, parallel: bool | None, expected: Any) -> None:
    asked = _asked(tools=[_TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert asked.get("tool_choice") == expected
    assert "tool_choice" not in _asked(tool_choice=choice, parallel_tool_calls=parallel)
    if expected:
        back = to_chat(asked)
        assert back["tool_choice"] == (choice or "auto")


def test_a_json_schema_is_asked_for_as_one() -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA, "strict": True}}
    asked = _asked(response_format=shape, reasoning_effort="high")
    assert asked["output_config"] == {"format": {"type": "json_schema", "schema": _SCHEMA}, "effort": "high"}
    assert "output_config" not in _asked(response_format={"type": "text"}, reasoning_effort="minimal")


def test_a_pdf_goes_there_and_back() -> None:
    asked = _asked(messages=[{"role": "user", "content": [_file("a.pdf", "data:application/pdf;base64,aGk=")]}])
    source = {"type": "base64", "media_type": "application/pdf", "data": "aGk="}
    assert asked["messages"][0]["content"] == [{"type": "document", "source": source, "title": "a.pdf"}]
    assert to_chat(asked)["messages"][0]["content"] == [_file("a.pdf", "data:application/pdf;base64,aGk=")]


def test_where_a_cache_may_end_is_kept() -> None:
    part = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    asked = _asked(messages=[{"role": "system", "content": [part]}, _ASK])
    assert asked["system"] == [part]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"n": 2}, "n:"),
        ({"logprobs": True}, "logprobs:"),
        ({"functions": [{"name": "f"}]}, "functions:"),
        ({"modalities": ["text", "audio"]}, "modalities:"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options:"),
        ({"response_format": {"type": "json_object"}}, "response_format:"),
        ({"response_format": {"type": "json_schema"}}, "response_format:"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0]:"),
        ({"tools": "f"}, "tools:"),
        ({"tools": [_TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice:"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role:"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]:"),
        ({"messages": [{"role": "user", "content": [_image("ftp://x")]}]}, "messages[0].content[0]:"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]}, "messages[0].tool_calls[0]:"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "messages[0].tool_calls[0].function.arguments:",
        ),
        ({"messages": "q"}, "the request has no list of messages"),
    ],
)
def test_what_an_anthropic_model_cannot_be_asked_is_refused_by_name(more: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(named)}"):
        _asked(**more)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]:"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers:"),
        ({"container": "x"}, "container:"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]}, "messages:"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages:",
        ),
        ({"messages": None}, "the request has no list of messages"),
    ],
)
def test_what_a_chat_model_cannot_be_asked_is_refused_by_name(more: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(named)}"):
        to_chat({"model": "m", "max_tokens": 5, "messages": [_ASK], **more})


def test_the_record_of_a_messages_request_holds_what_a_live_one_adds_nothing_to() -> None:
    body = {"model": "m", "max_tokens": 5, "stream": True, "messages": [_ASK], "metadata": {"user_id": "u"}}
    recorded = {"model": "m", "max_tokens": 5, "stream": True, "messages": [_ASK]}
    assert anthropic_messages.request(body) == recorded
    assert body["messages"] == [_ASK]


def test_a_chat_request_is_its_own_translation() -> None:
    request = {"messages": [_ASK], "anything": 1}
    assert openai_chat.to_chat(request) is request
    assert openai_chat.from_chat(request) is request


_WORD = st.text("abcdefgh ", min_size=1, max_size=6)
_TURN = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": _WORD}),
    st.builds(
        lambda text, name, argument: [
            {
                "role": "assistant",
                "content": text,
                "tool_calls": [
                    {
                        "id": f"call_{name}",
                        "type": "function",
                        "function": {"name": name, "arguments": msgspec.json.encode({"a": argument}).decode()},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": f"call_{name}", "content": argument},
        ],
        st.none() | _WORD,
        st.text("abc", min_size=1, max_size=3),
        _WORD,
    ),
)


@settings(deadline=None)
@given(turns=st.lists(_TURN, max_size=6), tools=st.lists(st.text("abc", min_size=1, max_size=3), max_size=3))
def test_texts_and_tools_survive_there_and_back(turns: list[Any], tools: list[str]) -> None:
    messages = [message for turn in turns for message in (turn if isinstance(turn, list) else [turn])]
    request: dict[str, Any] = {"model": "m", "messages": [*messages, _ASK]}
    request["tools"] = [{"type": "function", "function": {"name": name, "parameters": _SCHEMA}} for name in tools]
    asked = from_chat(request)
    _MESSAGES.validate_python(asked)
    roles = [turn["role"] for turn in asked["messages"]]
    assert all(first != second for first, second in itertools.pairwise(roles))
    back = to_chat(asked)
    assert back.get("tools", []) == request["tools"]
    assert _calls(back) == _calls(request)
    for group in (("system", "developer"), ("user",), ("assistant",), ("tool",)):
        assert _text(back, group) == _text(request, group)


def _text(request: dict[str, Any], roles: tuple[str, ...]) -> str:
    said = (message.get("content") or "" for message in request["messages"] if message["role"] in roles)
    return "".join(said).replace("\n", "")


def _calls(request: dict[str, Any]) -> list[Any]:
    calls = [call for message in request["messages"] for call in message.get("tool_calls") or ()]
    return [(call["id"], msgspec.json.decode(call["function"]["arguments"])) for call in calls]


_LEAF = st.none() | st.booleans() | st.integers(-3, 5) | st.sampled_from(["user", "text", "function", "auto", "{}", ""])
_ANY = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_LEAF.map(str), inner, max_size=2)
)
_ROLES = st.sampled_from(["user", "assistant", "tool", "system"]) | _ANY
_BLOCK = _ANY | st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "image_url", "file", "document", "tool_use", "tool_result", "refusal"])},
    optional=dict.fromkeys(
        ("text", "source", "content", "input", "id", "name", "image_url", "file", "tool_use_id"), _ANY
    ),
)
_MESSAGE = st.fixed_dictionaries(
    {"role": _ROLES, "content": st.lists(_BLOCK, max_size=2) | _ANY}, optional={"tool_calls": _ANY, "refusal": _ANY}
)
_FIELDS = (
    "model max_tokens temperature stop stream tools tool_choice parallel_tool_calls response_format n user system "
    "metadata output_config stop_sequences reasoning_effort modalities functions top_p"
)


@settings(deadline=None)
@given(
    request=st.fixed_dictionaries(
        {"messages": st.lists(_MESSAGE, max_size=3) | _ANY}, optional=dict.fromkeys(_FIELDS.split(), _ANY)
    )
)
def test_whatever_is_asked_only_value_errors_are_raised(request: dict[str, Any]) -> None:
    for translate in (from_chat, to_chat, anthropic_messages.request):
        try:
            out = translate(request)
        except ValueError as problem:
            assert str(problem)
        else:
            assert isinstance(out["messages"], list)
            msgspec.json.encode(out)
