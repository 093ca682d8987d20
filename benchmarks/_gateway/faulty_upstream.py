"""An upstream that fails in every way, and whose right answers are known beforehand: a hash of what it was asked.

usage: python -m benchmarks._gateway.faulty_upstream PORT SEED FAULTS, FAULTS as "500=0.02,stall=0.01,...".

It answers chat.completions with the SHA-256 of the last message's text, whole or streamed in eight pieces, so that an
answer that went to the wrong client is seen. GET /counts tells what it did; after GET /outage it refuses everything for
5 s.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import uvloop

FAULTS = ("500", "429", "stall", "reset", "cut", "not-http", "garbage", "half")
"""500, 429: an error answer. stall: no answer for a minute. reset: the connection is cut before, cut: within an answer.
not-http: words that are none. garbage: 200 with a page in place of JSON. half: an answer that ends in its middle as if
that were all."""

STALL_S, OUTAGE_S, PIECE_S = 60.0, 5.0, 0.002
PIECES = 8
GARBAGE = "<html>out of order: "
_JSON = b"application/json"
_STREAM = b"text/event-stream"


def digest_of(text: str) -> str:
    """What the upstream answers to a last message."""
    return hashlib.sha256(text.encode()).hexdigest()


class Upstream:
    """draw: which fault befalls a request, "" for none."""

    def __init__(self, shares: dict[str, float], generator: random.Random) -> None:
        self._kinds, self._weights = ["", *shares], [1.0 - sum(shares.values()), *shares.values()]
        self._generator = generator
        self._out_until = 0.0
        self.counts: Counter[str] = Counter()
        self.open = self.answering = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while (request := await _read(reader)) is not None:
                self.answering += 1
                try:
                    keep = await self._answer(request, reader, writer)
                    await writer.drain()
                finally:
                    self.answering -= 1
                if not keep:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.counts["left by the gateway"] += 1
        finally:
            self.open -= 1
            writer.close()

    async def _answer(
        self, request: tuple[str, bytes, bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        path, head, body = request
        if path == "/counts":
            figures = {**self.counts, "open": self.open - 1, "answering": self.answering - 1}
            writer.write(_whole(200, json.dumps(figures).encode()))
            return True
        if path == "/outage":
            self._out_until = time.monotonic() + OUTAGE_S
            writer.write(_whole(200, b"{}"))
            return True
        if b"\r\nx-stepdown-" in head.lower():
            self.counts["headers that should not leave"] += 1
        asked = json.loads(body)
        digest = digest_of(_text_of(asked["messages"][-1]))
        fault = self._generator.choices(self._kinds, self._weights)[0]
        if time.monotonic() < self._out_until:
            fault = "500"
        self.counts[fault or "answered"] += 1
        return await self._with_fault(fault, asked.get("stream") is True, digest, reader, writer)

    async def _with_fault(
        self, fault: str, stream: bool, digest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if fault in ("500", "429"):
            writer.write(_whole(int(fault), json.dumps({"error": {"message": fault, "type": "fault"}}).encode()))
        elif fault == "stall":
            await asyncio.wait_for(_gone(reader), STALL_S)
            return False
        elif fault == "reset":
            writer.transport.abort()
            return False
        elif fault == "not-http":
            writer.write(f"HELLO {digest}\r\n\r\n".encode())
            return False
        elif fault == "garbage":
            writer.write(_whole(200, f"{GARBAGE}{digest}</html>".encode(), b"text/html"))
        elif stream:
            return await _stream(digest, fault, writer)
        else:
            body = json.dumps(_completion(digest)).encode()
            if fault == "half":
                writer.write(_whole(200, body[: body.index(digest.encode()) + 32]))
            elif fault == "cut":
                writer.write(_whole(200, body)[:-20])
                return False
            else:
                writer.write(_whole(200, body))
        return True


async def _gone(reader: asyncio.StreamReader) -> None:
    """Until the other side has left."""
    while await reader.read(1024):
        pass


async def _stream(digest: str, fault: str, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    events = list(_events(digest))
    wanted = len(events) // 2 if fault else len(events)
    for event in events[:wanted]:
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(PIECE_S)
    if fault:
        half = events[wanted][: len(events[wanted]) // 2]
        writer.write(b"%x\r\n%b\r\n" % (len(half), half))
    if fault == "cut":
        return False
    writer.write(b"0\r\n\r\n")
    return True


def _events(digest: str) -> Iterator[bytes]:
    size = len(digest) // PIECES
    for place in range(0, len(digest), size):
        yield _event({"role": "assistant", "content": digest[place : place + size]}, None)
    yield _event({}, "stop")
    yield b"data: [DONE]\n\n"


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "faulty", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _completion(digest: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": digest}
    return {
        "id": f"r-{digest[:16]}",
        "object": "chat.completion",
        "created": 1,
        "model": "faulty",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 32, "total_tokens": 42},
    }


def _whole(status: int, body: bytes, kind: bytes = _JSON) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, kind, len(body), body)


def _text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def _read(reader: asyncio.StreamReader) -> tuple[str, bytes, bytes] | None:
    """(path, head, body); None where the connection ended between two requests."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    body = await reader.readexactly(int(rest.split(b"\r\n", 1)[0])) if found else b""
    return head.split(b" ", 2)[1].decode(), head, body


async def serve(port: int, seed: int, shares: dict[str, float]) -> None:
    upstream = Upstream(shares, random.Random(seed))
    server = await asyncio.start_server(upstream.connected, "127.0.0.1", port)
    await server.serve_forever()


def parse_shares(said: str) -> dict[str, float]:
    """Raises SystemExit for a fault that there is not."""
    shares = {name: float(share) for name, share in (one.split("=") for one in said.split(",") if one)}
    unknown = sorted(set(shares) - set(FAULTS))
    if unknown or sum(shares.values()) > 1.0:
        raise SystemExit(f"Expected shares that add up to at most 1 of {', '.join(FAULTS)}; got {said!r}.")
    return shares


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), parse_shares(sys.argv[3])))
