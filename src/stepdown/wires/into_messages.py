"""A stream of chat.completions chunks, as it comes, as a stream of Anthropic messages events.

On the messages wire one block ends before the next begins. Chunks of several tool calls may mix, so a call that begins
while another's arguments are still unfinished waits, in memory, until those are a whole JSON object.
"""

from __future__ import annotations

from typing import Any

from stepdown.wires import messages_stream as wire
from stepdown.wires.accounts import messages_usage, stop_reason
from stepdown.wires.event_stream import MAX_EVENT_BYTES
from stepdown.wires.loose import mapping, mappings, text
from stepdown.wires.messages_response import input_of, tool_id
from stepdown.wires.stream_translator import StreamTranslator
from stepdown.wires.wire_errors import WireError, messages_error


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
            said = text(delta.get(key)) or "".join(text(part.get("text")) for part in mappings(delta.get(key)))
            if said:
                self._is_refusal |= key == "refusal"
                self._say(said)
        for position, call in enumerate(mappings(delta.get("tool_calls"))):
            self._add_call(call, position)
        self._finish_reason = text(choice.get("finish_reason")) or self._finish_reason

    def _say(self, said: str) -> None:
        self._stop_calls()
        if self._text_block is None:
            self._text_block = self._begin({"type": "text", "text": ""})
        self._out.append(wire.block_delta(self._text_block, {"type": "text_delta", "text": said}))

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
        """Say what the first call in the queue has to say, and the next ones' too as far as those before are whole."""
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
