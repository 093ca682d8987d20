"""A stream of Anthropic messages events, as it comes, as a stream of chat.completions chunks.

Source: docs.anthropic.com/en/docs/build-with-claude/streaming (events, deltas, errors in a stream).
"""

from __future__ import annotations

from typing import Any

from stepdown.core.canonical import canonical_json
from stepdown.wires.accounts import chat_usage, finish_reason_of
from stepdown.wires.chat_stream import ChunkWriter
from stepdown.wires.event_stream import MAX_EVENT_BYTES, frame
from stepdown.wires.loose import mapping, text
from stepdown.wires.stream_translator import StreamTranslator
from stepdown.wires.wire_errors import WireError, chat_error


class MessagesToChat(StreamTranslator):
    """Text and tool calls of the events; thinking, citations and what hosted tools do are left out.

    `created` is the time in whole seconds since the epoch that every chunk shall carry; the other wire has none.
    """

    def __init__(self, include_usage: bool = False, created: int = 0, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes)
        self._writer = ChunkWriter(whole={"created": created}, include_usage=include_usage)
        self._calls: dict[int, _Call] = {}
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None
        self._is_started = False

    def _take(self, event: dict[str, Any]) -> None:
        kind, index = event.get("type"), event.get("index")
        if kind == "content_block_delta":
            self._add_delta(index, mapping(event.get("delta")))
        elif kind == "content_block_start":
            self._start_block(index, mapping(event.get("content_block")))
        elif kind == "content_block_stop":
            self._stop_block(index)
        elif kind == "message_start":
            self._start(mapping(event.get("message")))
        elif kind == "message_delta":
            self._stop_reason = text(mapping(event.get("delta")).get("stop_reason")) or self._stop_reason
            self._add_usage(event.get("usage"))
        elif kind == "message_stop":
            self._end()

    def _start(self, message: dict[str, Any]) -> None:
        self._writer.whole |= {key: message[key] for key in ("id", "model") if isinstance(message.get(key), str)}
        self._add_usage(message.get("usage"))
        self._is_started = True
        self._say({"role": "assistant", "content": "", "refusal": None})

    def _add_usage(self, usage: Any) -> None:
        self._usage |= {key: value for key, value in mapping(usage).items() if value is not None}

    def _start_block(self, index: Any, block: dict[str, Any]) -> None:
        if block.get("type") == "text" and text(block.get("text")):
            self._say({"content": block["text"]})
        if block.get("type") == "tool_use" and isinstance(index, int):
            call = self._calls[index] = _Call(len(self._calls), mapping(block.get("input")))
            function = {"name": text(block.get("name")), "arguments": ""}
            opening = {"index": call.number, "id": text(block.get("id")), "type": "function", "function": function}
            self._say({"tool_calls": [opening]})

    def _add_delta(self, index: Any, delta: dict[str, Any]) -> None:
        said, piece = text(delta.get("text")), text(delta.get("partial_json"))
        if said:
            self._say({"content": said})
        call = self._calls.get(index) if isinstance(index, int) else None
        if call is not None and piece:
            call.has_arguments = True
            self._say_arguments(call, piece)

    def _stop_block(self, index: Any) -> None:
        """A call whose input never came in pieces has it whole from its start; nothing at all is an empty object."""
        call = self._calls.get(index) if isinstance(index, int) else None
        if call is not None and not call.has_arguments:
            call.has_arguments = True
            self._say_arguments(call, canonical_json(call.given).decode())

    def _say_arguments(self, call: _Call, piece: str) -> None:
        self._say({"tool_calls": [{"index": call.number, "function": {"arguments": piece}}]})

    def _say(self, delta: dict[str, Any]) -> None:
        self._out.append(self._writer.chunk(delta, logprobs=None))

    def _is_answered(self) -> bool:
        return self._stop_reason is not None

    def _finish(self) -> None:
        if not self._is_started:
            self._fail(WireError(status=502, message="the upstream's stream has no answer in it"))
            return
        self._out.append(self._writer.chunk({}, finish_reason=finish_reason_of(self._stop_reason), logprobs=None))
        self._out.append(self._writer.end(chat_usage(self._usage)))

    def _error_event(self, error: WireError) -> bytes:
        return frame(chat_error(error.status, "", error.message, error.code))


class _Call:
    __slots__ = ("given", "has_arguments", "number")

    def __init__(self, number: int, given: dict[str, Any]) -> None:
        self.number, self.given, self.has_arguments = number, given, False
