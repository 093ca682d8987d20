"""Anthropic messages as a stream: its events, and a finished message said in them.

Source: docs.anthropic.com/en/docs/build-with-claude/streaming. Each event is named after its type, which clients need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from stepdown.wires.event_stream import frame

_AT_THE_START = frozenset({"cache_creation", "service_tier", "inference_geo"})
_AT_THE_END = frozenset({"output_tokens_details", "server_tool_use"})
"""Fields of the usage that only the first event says, or only the last."""


def stream_of(message: dict[str, Any], include_usage: bool = True) -> Iterator[bytes]:
    """A finished message as the events of a stream. This wire always says the usage, asked or not."""
    del include_usage
    usage = message.get("usage") or {}
    yield start(message, usage)
    for index, block in enumerate(message.get("content") or ()):
        yield from _block(index, block)
    more = {key: message[key] for key in ("stop_details",) if key in message}
    yield end(message.get("stop_reason") or "end_turn", message.get("stop_sequence"), usage, more)


def start(message: dict[str, Any], usage: dict[str, Any]) -> bytes:
    """The first event: the message with nothing said yet. Fields of `message` beyond the usual ones are kept."""
    whole = {
        "id": "",
        "type": "message",
        "role": "assistant",
        "model": "",
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, **_without(usage, _AT_THE_END), "output_tokens": 0},
    }
    return event({"type": "message_start", "message": whole})


def block_start(index: int, block: dict[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def block_delta(index: int, delta: dict[str, Any]) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": delta})


def block_stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index})


def end(
    stop_reason: str, stop_sequence: str | None, usage: dict[str, Any], more: dict[str, Any] | None = None
) -> bytes:
    """The last two events: why the message ended with the whole usage, and that it did. more: further fields of why."""
    delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence, **(more or {})}
    counts = {"output_tokens": 0, **_without(usage, _AT_THE_START)}
    whole = event({"type": "message_delta", "delta": delta, "usage": counts})
    return whole + event({"type": "message_stop"})


def _without(usage: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in usage.items() if key not in names}


def event(data: dict[str, Any]) -> bytes:
    return frame(data, data["type"])


def _block(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    kind = block.get("type")
    if kind == "text":
        yield block_start(index, {**block, "text": ""})
        if block.get("text"):
            yield block_delta(index, {"type": "text_delta", "text": block["text"]})
    elif kind == "tool_use":
        yield block_start(index, {**block, "input": {}})
        arguments = msgspec.json.encode(block.get("input") or {}).decode()
        yield block_delta(index, {"type": "input_json_delta", "partial_json": arguments})
    elif kind == "thinking":
        yield block_start(index, {**block, "thinking": "", "signature": ""})
        yield block_delta(index, {"type": "thinking_delta", "thinking": block.get("thinking") or ""})
        yield block_delta(index, {"type": "signature_delta", "signature": block.get("signature") or ""})
    else:
        yield block_start(index, block)
    yield block_stop(index)
