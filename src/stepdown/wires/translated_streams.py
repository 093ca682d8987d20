"""Streams translated as they come: Anthropic messages events to chat.completions chunks, and back.

On the messages wire one block ends before the next begins. Chunks of several tool calls may mix, so a call that begins
while another's arguments are incomplete waits, in memory, until those are a whole JSON object.

Source: docs.anthropic.com/en/docs/build-with-claude/streaming (events, deltas, errors in a stream).
"""

from __future__ import annotations

from typing import Any

from stepdown.core.canonical import canonical_json
from stepdown.wires import messages_stream as wire
from stepdown.wires.accounts import chat_usage, finish_reason_of, messages_usage, stop_reason
from stepdown.wires.chat_stream import ChunkWriter
from stepdown.wires.event_stream import MAX_EVENT_BYTES, frame
from stepdown.wires.loose import mapping, mappings, text
from stepdown.wires.messages_from_chat import input_of, tool_id
from stepdown.wires.stream_translator import StreamTranslator
from stepdown.wires.wire_errors import WireError, chat_error, messages_error


class MessagesToChat(StreamTranslator):
    """Text and tool calls of the events; thinking, citations and what hosted tools do are left out.

    `created` is the time in whole seconds since the epoch that every chunk shall carry; the other wire has none.
    """

    def __init__(self, include_usage: bool = False, created: int = 0, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes)
        self._writer = ChunkWriter(whole={"created": created}, include_usage=include_usage)
        self._calls: dict[int, _ToolBlock] = {}
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
            call = self._calls[index] = _ToolBlock(len(self._calls), mapping(block.get("input")))
            function = {"name": text(block.get("name")), "arguments": ""}
            opening = {"index": call.number, "id": text(block.get("id")), "type": "function", "function": function}
            self._say({"tool_calls": [opening]})

    def _add_delta(self, index: Any, delta: dict[str, Any]) -> None:
        content, piece = text(delta.get("text")), text(delta.get("partial_json"))
        if content:
            self._say({"content": content})
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

    def _say_arguments(self, call: _ToolBlock, piece: str) -> None:
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


class _ToolBlock:
    __slots__ = ("given", "has_arguments", "number")

    def __init__(self, number: int, given: dict[str, Any]) -> None:
        self.number, self.given, self.has_arguments = number, given, False


class ChatToMessages(StreamTranslator):
    """Text, refusals and tool calls of the first choice; reasoning is left out, as nobody could sign it."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes)
        self._max_bytes = max_event_bytes
        self._identity = ""
        self._is_started = False
        self._next_block = 0
        self._text_block: int | None = None
        self._calls: dict[int, _Call] = {}
        self._waiting: list[_Call] = []
        self._call_characters = 0
        self._calls_begun = 0
        self._finish_reason: str | None = None
        self._is_refusal = False
        self._usage: Any = None

    def _take(self, event: dict[str, Any]) -> None:
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        for choice in mappings(event.get("choices")):
            if not choice.get("index"):
                self._start(event)
                self._add(choice)

    def _start(self, event: dict[str, Any]) -> None:
        if not self._is_started:
            self._is_started, self._identity = True, text(event.get("id"))
            self._out.append(wire.start({"id": self._identity, "model": text(event.get("model"))}, {}))

    def _add(self, choice: dict[str, Any]) -> None:
        delta = mapping(choice.get("delta"))
        for key in ("content", "refusal"):
            content = text(delta.get(key)) or "".join(text(part.get("text")) for part in mappings(delta.get(key)))
            if content:
                self._is_refusal |= key == "refusal"
                self._say(content)
        for position, call in enumerate(mappings(delta.get("tool_calls"))):
            self._add_call(call, position)
        self._finish_reason = text(choice.get("finish_reason")) or self._finish_reason

    def _say(self, content: str) -> None:
        self._stop_calls()
        if self._text_block is None:
            self._text_block = self._begin({"type": "text", "text": ""})
        self._out.append(wire.block_delta(self._text_block, {"type": "text_delta", "text": content}))

    def _begin(self, block: dict[str, Any]) -> int:
        index, self._next_block = self._next_block, self._next_block + 1
        self._out.append(wire.block_start(index, block))
        return index

    def _stop_text(self) -> None:
        if self._text_block is not None:
            self._out.append(wire.block_stop(self._text_block))
            self._text_block = None

    def _add_call(self, delta: dict[str, Any], position: int) -> None:
        call = self._call_of(delta, position)
        function = mapping(delta.get("function"))
        piece = text(function.get("arguments"))
        call.name = call.name or text(function.get("name"))
        if call.is_stopped:
            if piece.strip():
                raise ValueError("the upstream went on with a tool call that had ended")
            return
        self._call_characters += len(piece)
        if self._call_characters > self._max_bytes:
            raise ValueError(f"the tool calls of the stream are larger than {self._max_bytes:,} bytes")
        if piece:
            call.pieces.append(piece)
        self._send_calls()

    def _call_of(self, delta: dict[str, Any], position: int) -> _Call:
        """The call a delta belongs to. Some servers number every call 0, so a new id at an old index is a new call."""
        index = delta["index"] if isinstance(delta.get("index"), int) else position
        identity = text(delta.get("id"))
        call = self._calls.get(index)
        if call is None or (identity and call.identity and identity != call.identity):
            call = self._calls[index] = _Call(identity or tool_id(self._identity, self._calls_begun))
            self._calls_begun += 1
            self._waiting.append(call)
        return call

    def _send_calls(self) -> None:
        """Send the pending arguments of the first call in the queue, and of the next ones while those before are
        complete."""
        while self._waiting:
            call = self._waiting[0]
            if not call.name:
                return
            self._send(call)
            if len(self._waiting) == 1 or not call.is_whole():
                return
            self._stop(call)

    def _send(self, call: _Call) -> None:
        if call.block is None:
            self._stop_text()
            call.block = self._begin({"type": "tool_use", "id": call.identity, "name": call.name, "input": {}})
        if call.sent < len(call.pieces):
            piece, call.sent = "".join(call.pieces[call.sent :]), len(call.pieces)
            self._out.append(wire.block_delta(call.block, {"type": "input_json_delta", "partial_json": piece}))

    def _stop(self, call: _Call) -> None:
        self._out.append(wire.block_stop(call.block or 0))
        call.is_stopped = True
        self._waiting.remove(call)

    def _stop_calls(self) -> None:
        for call in list(self._waiting):
            self._send(call)
            self._stop(call)

    def _is_answered(self) -> bool:
        return self._finish_reason is not None

    def _finish(self) -> None:
        if not self._is_started:
            self._fail(WireError(status=502, message="the upstream's stream has no answer in it"))
            return
        self._stop_text()
        self._stop_calls()
        reason = stop_reason(self._finish_reason, bool(self._calls), self._is_refusal)
        self._out.append(wire.end(reason, None, messages_usage(self._usage)))

    def _error_event(self, error: WireError) -> bytes:
        return wire.event(messages_error(error.status, "", error.message))


class _Call:
    """One tool call: the pieces of its arguments so far, how many of them were sent, and the block they went to."""

    __slots__ = ("block", "identity", "is_stopped", "name", "pieces", "sent", "unfinished_at")

    def __init__(self, identity: str) -> None:
        self.identity, self.name = identity, ""
        self.pieces: list[str] = []
        self.sent = 0
        self.unfinished_at = 0
        self.block: int | None = None
        self.is_stopped = False

    def is_whole(self) -> bool:
        """Whether the arguments so far are a JSON object, so that nothing can follow them."""
        # Asked again for every piece of a later call, and reading a large object that often would take for ever.
        if len(self.pieces) == self.unfinished_at or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            input_of("".join(self.pieces))
        except ValueError:
            self.unfinished_at = len(self.pieces)
            return False
        return True
