"""What a stream used, asked of an upstream although its client did not ask: it is kept for the record, and the client
gets the bytes that it would have got without.

Source: `stream_options.include_usage`, platform.openai.com/docs/api-reference/chat/create. With it every chunk has a
null `usage`, and one more before the end, without choices, has the figures.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec

from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import UpstreamError
from stepdown.wires import openai_chat

OPTION = b"stream_options"
_ASKED = b'"stream_options":{"include_usage":true}'
_NULL = re.compile(rb',[ \t]*"usage"[ \t]*:[ \t]*null|"usage"[ \t]*:[ \t]*null[ \t]*,[ \t]*')
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST = 1 << 20
"""Bytes of one event that are held back; a longer one is passed on as it comes, and looked at no more."""


def is_missing(exchange: Exchange) -> bool:
    """Whether the client wants a stream of chat chunks that does not say what it used."""
    return exchange.wire is openai_chat and exchange.wants_stream and not exchange.wants_usage


def with_usage(exchange: Exchange) -> bytes:
    """The request as it leaves, with its usage asked for. Where the client says nothing of its stream, its own bytes
    are kept and the option stands before them."""
    body = exchange.outgoing
    given = exchange.body if body is None else body
    options = given.get("stream_options")
    if body is None and "stream_options" not in given:
        before, brace, after = exchange.request.body.partition(b"{")
        return before + brace + _ASKED + b"," + after
    more = options if isinstance(options, dict) else {}
    return msgspec.json.encode({**given, "stream_options": {**more, "include_usage": True}})


class UsageFilter:
    """Takes out of a stream of chat chunks, its pieces cut anywhere, what the client did not ask for."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._held = b""
        self._is_over = False

    def feed(self, piece: bytes) -> bytes:
        """What the client gets of it, as far as whole events have come."""
        if self._is_over:
            return piece
        self._held += piece
        end = max((found.end() for found in _END.finditer(self._held)), default=0)
        whole, self._held = self._held[:end], self._held[end:]
        out = self._filtered(whole)
        if len(self._held) > _LONGEST:
            out += self.close()
            self._is_over = True
        return out

    def close(self) -> bytes:
        """What is left when the stream ends, or breaks off."""
        rest, self._held = self._held, b""
        return rest

    def _filtered(self, events: bytes) -> bytes:
        if b'"usage"' not in events:
            return events
        starts = [0, *(found.end() for found in _END.finditer(events))]
        return b"".join(self._event(events[start:end]) for start, end in itertools.pairwise(starts))

    def _event(self, event: bytes) -> bytes:
        decoded = _decoded(event) if b'"usage"' in event else None
        if decoded is None or "usage" not in decoded:
            return event
        if isinstance(decoded["usage"], dict) and not decoded.get("choices"):
            self._exchange.withheld = event
            return b""
        if decoded["usage"] is not None:
            return event
        del decoded["usage"]
        shorter = (event[: found.start()] + event[found.end() :] for found in _NULL.finditer(event))
        return next((one for one in shorter if _decoded(one) == decoded), event)


def told(exchange: Exchange, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Of a stream with its usage what the client gets, where it did not ask for that."""
    if not is_missing(exchange):
        yield from pieces
        return
    usage = UsageFilter(exchange)
    for piece in pieces:
        if said := usage.feed(piece):
            yield said
    if said := usage.close():
        yield said


async def told_as_it_comes(exchange: Exchange, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same of a stream that comes from elsewhere."""
    usage = UsageFilter(exchange)
    try:
        async for piece in pieces:
            if said := usage.feed(piece):
                yield said
        if said := usage.close():
            yield said
    except UpstreamError:
        if said := usage.close():
            yield said
        raise
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _decoded(event: bytes) -> dict[str, Any] | None:
    """The JSON object of one event; None for anything else."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:"))
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
