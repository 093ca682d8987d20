"""Whether an answer that passes through untouched is one at all: a page, half a JSON or half a stream is none."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from stepdown.gateway.http.messages import BrokenReply
from stepdown.gateway.upstreams._echoes import Unechoed

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_TAIL = 128
_ENDS = {
    "openai": re.compile(rb'\[DONE\]|"finish_reason"\s*:\s*"|"error"\s*:'),
    "anthropic": re.compile(rb'message_stop|"error"\s*:'),
}
"""What a stream of each wire has said when it is whole, or has itself told what is wrong. Some servers leave out the
last line of the first wire, none the reason why they stop."""


async def whole_body(response: Unechoed) -> bytes:
    """The body of an answer, which must be a JSON object where its status says that all is well. Raises BrokenReply."""
    body = await response.read()
    if response.status >= 300 or response.header(b"content-encoding"):
        return body
    try:
        _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BrokenReply("The upstream's answer is no JSON object.") from None
    return body


async def whole_stream(response: Unechoed, wire: str) -> AsyncIterator[bytes]:
    """The pieces of a stream as they come. Raises BrokenReply at its end where the end is missing."""
    ends: re.Pattern[bytes] = _ENDS.get(wire, re.compile(b""))
    pieces: AsyncGenerator[bytes, Any] = response.pieces()
    tail, ended = b"", False
    try:
        async for piece in pieces:
            if not ended:
                tail = tail + piece
                ended = ends.search(tail) is not None
                tail = tail[-_TAIL:]
            yield piece
    finally:
        await pieces.aclose()
    if not ended:
        raise BrokenReply("The upstream's stream ended before its end.", retriable=False)
