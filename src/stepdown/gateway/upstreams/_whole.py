"""Whether an answer that passes through untouched is one at all: a page, half a JSON or half a stream is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import BrokenReply
from stepdown.gateway.upstreams._echoes import Unechoed

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_LONGEST = 64 << 10
"""Bytes of one event that are looked at; the wires' own ends are shorter."""


class StreamEnd:
    """Looks for the end in a stream of events that passes by, its pieces cut anywhere.

    ended: whether the wire's own last event has passed. told: whether an event has said why the answer stops, or what
    is wrong: some servers leave out the last line of the first wire, none that. What texts say is no event.
    """

    def __init__(self, wire: str) -> None:
        self._wire = wire
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self.ended = self.told = False

    def feed(self, piece: bytes) -> bool:
        """Returns whether the wire's own end has passed."""
        held = self._rest + piece
        half = b"\r" if held.endswith(b"\r") else b""  # Of a line's end, perhaps.
        *lines, rest = held[: len(held) - len(half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._size += len(line)
                if self._size <= _LONGEST:
                    self._data.append(line[5:])
            elif not line:
                self._dispatch()
        if len(rest) > _LONGEST:
            self._size += len(rest)
            rest = rest[:5]
        self._rest = rest + half
        return self.ended

    def close(self) -> bool:
        """The stream is over: what was not followed by a blank line counts too. Returns whether it came to an end."""
        return self.feed(b"\n\n\n") or self.told

    def _dispatch(self) -> None:
        data, size = b"\n".join(self._data), self._size
        self._data, self._size = [], 0
        if size > _LONGEST or not data:
            return
        if self._wire == "openai":
            if data.strip() == b"[DONE]":
                self.ended = True
            elif b'"finish_reason"' in data or b'"error"' in data:
                event = _event(data)
                self.told |= bool(event.get("error")) or any(map(_says_why, _listed(event.get("choices"))))
        elif b"message_stop" in data or b'"error"' in data:
            kind = _event(data).get("type")
            self.ended |= kind == "message_stop"
            self.told |= kind == "error"


def _event(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _says_why(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("finish_reason"), str)


async def whole_body(response: Unechoed) -> bytes:
    """The body of an answer, which must be a JSON object where its status says that all is well. Raises BrokenReply."""
    body = await response.read()
    if response.status >= 300 or response.header(b"content-encoding"):
        return body
    if not is_object(body):
        raise BrokenReply("The upstream's answer is no JSON object.")
    return body


def is_object(body: bytes) -> bool:
    """Whether a body is a JSON object."""
    try:
        _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


async def whole_stream(response: Unechoed, wire: str, exchange: Exchange | None = None) -> AsyncIterator[bytes]:
    """The pieces of a stream as they come; the exchange is told of the wire's own end before its piece is given out.

    Raises BrokenReply at its end where the end is missing.
    """
    end = StreamEnd(wire)
    pieces: AsyncGenerator[bytes, Any] = response.pieces()
    try:
        async for piece in pieces:
            if not end.ended and end.feed(piece) and exchange is not None:
                exchange.whole = True
            yield piece
    finally:
        await pieces.aclose()
    if not end.close():
        raise BrokenReply("The upstream's stream ended before its end.", retriable=False)
