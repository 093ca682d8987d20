"""A fixed fast upstream: one chat completion for every request, from memory, so that what is measured is the gateway.

usage: python -m benchmarks._gateway.fixed_upstream PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

CONTENT = '{"category": "card_arrival", "confidence": 0.9}'
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "fixed",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": CONTENT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 14, "total_tokens": 114},
}


def response() -> bytes:
    body = json.dumps(COMPLETION).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


class Fixed(asyncio.Protocol):
    """Reads no more of a request than where it ends."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._held = b""
        self._response = response()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := _end_of_request(self._held)) is not None:
            self._held = self._held[end:]
            self._transport.write(self._response)


def _end_of_request(data: bytes) -> int | None:
    """Where the first request in `data` ends; None while it is not whole."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    _, found, rest = data[:head].lower().partition(b"content-length:")
    end = head + 4 + (int(rest.split(b"\r\n", 1)[0]) if found else 0)
    return end if len(data) >= end else None


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
