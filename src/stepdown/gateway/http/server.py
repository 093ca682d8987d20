"""An HTTP/1.1 server on asyncio and llhttp (httptools): keep-alive, pipelining, streams, limits, drain.

Measured against a general server and client library as a bare proxy in docs/benchmarks.md; it is why this is ours.
Source of the rules: RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools

from stepdown.gateway.http.messages import HttpError, Request, Response

log = logging.getLogger("stepdown.gateway")

Handler = Callable[[Request], Awaitable[Response]]
OnError = Callable[[str, int, str], Response]
"""Makes the response to a request that never became one: (path, status, message)."""

MAX_PIPELINED = 8
_SWEEP_S = 0.5
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


@dataclass(frozen=True)
class ServerLimits:
    """Bounds on what a client may send and how long it may take. Sizes in bytes, times in seconds."""

    max_body: int = 16 << 20
    max_header: int = 64 << 10
    max_headers: int = 100
    max_target: int = 8 << 10
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    write_s: float = 60.0
    max_connections: int = 4096


class HttpServer:
    """Serves one handler. `start`, then `drain` to end: what is under way is finished, nothing new is taken."""

    def __init__(self, handler: Handler, on_error: OnError, limits: ServerLimits | None = None) -> None:
        self.handler, self.on_error, self.limits = handler, on_error, limits or ServerLimits()
        self.connections: set[_Connection] = set()
        self.draining = False
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Take connections from a bound socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, loop), sock=listener, backlog=2048)
        self._sweeper = loop.create_task(self._sweep(loop))

    async def drain(self, within_s: float) -> int:
        """Stop listening, let requests under way end. Returns how many had to be cut off after `within_s`."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        for connection in list(self.connections):
            connection.close_when_idle()
        while self.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        cut = sum(connection.busy for connection in self.connections)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return cut

    @property
    def busy(self) -> int:
        """Requests under way."""
        return sum(connection.busy for connection in self.connections)

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: a timer for each request would cost more than the request."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = loop.time()
            for connection in list(self.connections):
                if connection.deadline < now:
                    connection.too_slow()


class _Connection(asyncio.Protocol):
    """One client's connection. Requests are answered one at a time, in order."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop, self._limits = server, loop, server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None
        self._reading = False
        self._closing = False
        self._paused: asyncio.Future[None] | None = None
        self._peer = ""
        self.deadline = loop.time() + self._limits.header_s

    # The connection's life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._server.connections.add(self)
        if len(self._server.connections) > self._limits.max_connections:
            self._refuse(503, "Too many connections are open.")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.connections.discard(self)
        self._closing = True
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        if self._task is not None:
            self._task.cancel()

    @property
    def busy(self) -> bool:
        return self._task is not None

    def close_when_idle(self) -> None:
        self._closing = True
        if self._task is None and not self._reading:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def too_slow(self) -> None:
        """A time-out: a client that trickles its request, reads nothing of its answer, or keeps an idle connection."""
        if self._task is not None:
            self._transport.abort()
        elif self._reading:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self._transport.close()

    def pause_writing(self) -> None:
        self._paused = self._loop.create_future()
        self.deadline = self._loop.time() + self._limits.write_s

    def resume_writing(self) -> None:
        self.deadline = float("inf")
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._closing and self._task is None and not self._reading:
            return
        try:
            self._parser.feed_data(data)
        except HttpError as error:
            self._refuse(error.status, str(error))
        except httptools.HttpParserUpgrade:
            self._refuse(400, "This server does not change protocols.")
        except httptools.HttpParserError as error:
            # What our own callbacks raise arrives wrapped.
            cause = error.__context__ if isinstance(error.__context__, HttpError) else None
            self._refuse(cause.status if cause else 400, str(cause or "The request is not HTTP/1.1."))

    def on_message_begin(self) -> None:
        self._reading = True
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._size = 0
        if self._task is None:
            self.deadline = self._loop.time() + self._limits.header_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.max_target:
            raise HttpError(414, "The request's target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._limits.max_header or len(self._headers) >= self._limits.max_headers:
            raise HttpError(431, "The request's headers are too large.")
        known = self._headers.get(name)
        self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        length = self._headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > self._limits.max_body):
            raise HttpError(413, f"The request's body is larger than {self._limits.max_body >> 20} MB.")
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._task is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._task is None:
            self.deadline = self._loop.time() + self._limits.body_s

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._limits.max_body:
            raise HttpError(413, f"The request's body is larger than {self._limits.max_body >> 20} MB.")
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._reading = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(self._parser.get_method().decode("ascii"), path, query, self._headers, body)
        request.client = self._peer
        keep = self._parser.should_keep_alive()
        if self._task is not None:
            self._waiting.append((request, keep))
            if len(self._waiting) >= MAX_PIPELINED:
                self._transport.pause_reading()
            return
        self._begin(request, keep)

    # Answering

    def _begin(self, request: Request, keep: bool) -> None:
        self.deadline = float("inf")
        self._task = self._loop.create_task(self._answer(request, keep))

    async def _answer(self, request: Request, keep: bool) -> None:
        try:
            response = await self._server.handler(request)
            keep = keep and not self._closing and not self._server.draining
            if isinstance(response.body, bytes):
                self._write_whole(request, response, response.body, keep)
            else:
                await self._write_stream(request, response, response.body, keep)
        except asyncio.CancelledError:
            self._transport.abort()
            return
        except Exception:  # the outermost boundary of one request: a mistake of ours must not take the others along
            log.exception("a request failed")
            if not self._transport.is_closing():
                self._refuse(500, "The gateway failed; its log says where.")
            return
        finally:
            self._task = None
        self._next(keep)

    def _next(self, keep: bool) -> None:
        if not keep:
            self._transport.close()
        elif self._waiting:
            request, keep = self._waiting.popleft()
            if len(self._waiting) == MAX_PIPELINED - 1:
                self._transport.resume_reading()
            self._begin(request, keep)
        else:
            self.deadline = self._loop.time() + self._limits.idle_s

    def _write_whole(self, request: Request, response: Response, body: bytes, keep: bool) -> None:
        lines = _head(response, keep)
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
        if request.method != "HEAD":
            lines.append(body)
        self._transport.write(b"".join(lines))

    async def _write_stream(self, request: Request, response: Response, body: AsyncIterator[bytes], keep: bool) -> None:
        lines = _head(response, keep)
        lines.append(b"transfer-encoding: chunked\r\n\r\n")
        self._transport.write(b"".join(lines))
        try:
            async for piece in body:
                if piece:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if self._paused is not None:
                    await self._paused
        except UnfinishedStream:
            # The client must see that the end is missing: no last chunk, no clean close.
            self._transport.abort()
            return
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        self._transport.write(b"0\r\n\r\n")

    def _refuse(self, status: int, message: str) -> None:
        """Answer what never became a request, and close: where the next one would begin is not known."""
        self._closing = True
        path = getattr(self, "_url", b"").decode("latin-1").partition("?")[0]
        response = self._server.on_error(path, status, message)
        if isinstance(response.body, bytes) and not self._transport.is_closing():
            lines = _head(response, keep=False)
            self._transport.write(b"".join([*lines, b"content-length: %d\r\n\r\n" % len(response.body), response.body]))
        self._transport.close()


class UnfinishedStream(Exception):
    """A stream's source broke after its beginning was sent: the connection is cut, lest it be taken for whole."""


def _head(response: Response, keep: bool) -> list[bytes]:
    lines = [_STATUS_LINES.get(response.status) or b"HTTP/1.1 %d Status\r\n" % response.status]
    lines.extend(b"%b: %b\r\n" % header for header in response.headers)
    if not keep:
        lines.append(b"connection: close\r\n")
    return lines
