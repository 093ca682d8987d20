"""The wires by name: each has every name of the protocol, and there is a way from each to each."""

from __future__ import annotations

import pytest

from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.translated_streams import ChatToMessages, MessagesToChat
from stepdown.wires.wire import (
    WIRES,
    Wire,
    stream_translator,
    translate_request,
    translate_response,
    wire_named,
)


def test_every_wire_has_every_name() -> None:
    names = [name for name in {**vars(Wire), **Wire.__annotations__} if not name.startswith("_")]
    assert len(names) == 10
    for wire in WIRES.values():
        assert all(hasattr(wire, name) for name in names)


def test_wires_are_found_by_name() -> None:
    assert wire_named("openai") is openai_chat
    assert wire_named("anthropic") is anthropic_messages
    with pytest.raises(ValueError, match="no wire 'telex'; there are anthropic, openai"):
        wire_named("telex")


def test_one_wire_is_left_untouched() -> None:
    body = {"messages": "not even valid"}
    assert translate_request(body, "openai", "openai") is body
    assert translate_response(body, "anthropic", "anthropic") is body
    assert stream_translator("openai", "openai") is None
    assert isinstance(stream_translator("openai", "anthropic"), ChatToMessages)
    assert isinstance(stream_translator("anthropic", "openai"), MessagesToChat)


def test_the_way_from_each_to_the_other() -> None:
    asked = translate_request({"model": "m", "messages": [{"role": "user", "content": "q"}]}, "openai", "anthropic")
    assert asked == {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "q"}]}
    assert translate_request(asked, "anthropic", "openai") == asked
    message = {"id": "x", "model": "m", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}
    completion = translate_response(message, "anthropic", "openai", created=4)
    assert completion["choices"][0]["message"]["content"] == "a"
    assert completion["created"] == 4
    assert translate_response(completion, "openai", "anthropic")["content"] == message["content"]
