"""One client's connection to the server: requests in, answers out, one at a time and in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import httptools

from stepdown.gateway.http.messages import HEADER_COST, HttpError, Request, Response, UnfinishedStream

log = logging.getLogger("stepdown.gateway")

Handler = Callable[[Request], Awaitable[Response]]
OnError = Callable[[str, int, str], Response]
"""Makes the response to a request that never became one: (path, status, message)."""

MAX_PIPELINED = 8
MAX_PIPELINED_BYTES = 1 << 20
LINGER_S = 2.0
ONE_READ = 256 << 10
"""The most that an event loop hands over at once, in bytes."""
_NEVER = float("inf")
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_UPGRADING = frozenset({b"connection", b"upgrade", b"http2-settings"})


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


class Serving(Protocol):
    """What a connection needs of its server."""

    handler: Handler
    on_error: OnError
    limits: ServerLimits
    connections: set[Connection]
    draining: bool


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Serving, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop, self._limits = server, loop, server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None
        self._reading = self._closing = self._lingering = self._half_said = self._held = self._has_head = False
        self._refusal: bytes | None = None
        self._paused: asyncio.Future[None] | None = None
        self._peer = ""
        self._url = b""
        self._version = "1.1"
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._header_bytes = self._size = self._fed = 0
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
        if self._lingering or (self._task is None and not self._reading):
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def too_slow(self) -> None:
        """A time-out: a client that trickles its request, reads nothing of its answer, or keeps an idle connection."""
        if self._task is not None or self._lingering or self._transport.is_closing():
            self._transport.abort()
        elif self._reading:
            self._refuse(408, "The request took too long to arrive.")
        else:
            # Closed gently, but not for ever: it may have bytes to send that nobody takes.
            self._transport.close()
            self.deadline = self._loop.time() + self._limits.write_s

    def pause_writing(self) -> None:
        self._paused = self._loop.create_future()
        self.deadline = self._loop.time() + self._limits.write_s

    def resume_writing(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None
        if self._task is not None:
            self.deadline = _NEVER
        elif not self._closing:
            self.deadline = self._loop.time() + self._limits.idle_s

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._closing and (self._lingering or self._refusal is not None or not (self._task or self._reading)):
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            # What our own callbacks raise arrives wrapped.
            cause = error.__context__ if isinstance(error.__context__, HttpError) else None
            self._refuse(cause.status if cause else 400, str(cause or "The request is not HTTP/1.1."))
        else:
            if self._reading and not self._has_head:
                # The parser keeps an unfinished header to itself: only what is fed to it can be counted.
                self._fed += len(data)
                if self._fed > self._limits.max_header + self._limits.max_target + ONE_READ:
                    self._refuse(431, "The request's headers are too large.")

    def _without_upgrade(self, rest: bytes) -> None:
        """An offer to change protocols is passed over, as RFC 9110 (7.8) has it: some clients make it every time.

        The parser stops at such a request's head, so the head is read once more without the offer.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "This server is no proxy.")
            return
        head = [b"%b %b HTTP/1.1\r\n" % (method, self._url)]
        head.extend(b"%b: %b\r\n" % pair for pair in self._headers.items() if pair[0] not in _UPGRADING)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def on_message_begin(self) -> None:
        self._reading = True
        self._url = b""
        self._headers = {}
        self._header_bytes = self._fed = 0
        self._has_head = False
        self._body = []
        self._size = 0
        if self._task is None:
            self.deadline = self._loop.time() + self._limits.header_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.max_target:
            raise HttpError(414, "The request's target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._header_bytes += len(name) + len(value) + HEADER_COST
        if self._header_bytes > self._limits.max_header or len(self._headers) >= self._limits.max_headers:
            raise HttpError(431, "The request's headers are too large.")
        known = self._headers.get(name)
        if known is not None and name == b"host":  # RFC 9112, section 3.2.
            raise HttpError(400, "The request has two host headers.")
        self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        headers = self._headers
        self._has_head = True
        self._version = self._parser.get_http_version()
        if b"host" not in headers and self._version == "1.1":
            raise HttpError(400, "The request has no host header.")
        length = headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > self._limits.max_body):
            raise HttpError(413, f"The request's body is larger than {self._limits.max_body >> 20} MB.")
        if self._task is None:
            self.deadline = self._loop.time() + self._limits.body_s
            if b"expect" in headers and headers[b"expect"].lower() == b"100-continue" and b"upgrade" not in headers:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._limits.max_body:
            raise HttpError(413, f"The request's body is larger than {self._limits.max_body >> 20} MB.")
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        if method == b"CONNECT" or (b"upgrade" in self._headers and self._parser.should_upgrade()):
            return
        self._reading = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        url = self._url
        if url[:7].lower() == b"http://":  # The absolute form, which RFC 9112 (3.2.2) wants taken.
            url = b"/" + url[7:].partition(b"/")[2]
        path, _, query = url.decode("latin-1").partition("?")
        request = Request(method.decode("ascii"), path, query, self._headers, body)
        request.client, request.version = self._peer, self._version
        keep = self._version == "1.1" and self._parser.should_keep_alive()
        if self._task is not None:
            self._waiting.append((request, keep))
            self._waiting_bytes += len(body)
            if len(self._waiting) >= MAX_PIPELINED or self._waiting_bytes > MAX_PIPELINED_BYTES:
                self._held = True
                self._transport.pause_reading()
            return
        self._begin(request, keep)

    # Answering

    def _begin(self, request: Request, keep: bool) -> None:
        self.deadline = _NEVER
        self._half_said = False
        self._task = self._loop.create_task(self._answer(request, keep))

    async def _answer(self, request: Request, keep: bool) -> None:
        failed = False
        try:
            response = await self._server.handler(request)
            keep = keep and not self._closing and not self._server.draining
            if self._transport.is_closing():
                raise asyncio.CancelledError  # The client has gone, and the loop was about to say so.
            self._half_said = True
            if isinstance(response.body, bytes):
                self._write_whole(request, response, response.body, keep)
                if self._paused is not None:
                    await self._paused
            else:
                keep = await self._write_stream(request, response, response.body, keep)
            self._half_said = False
        except asyncio.CancelledError:
            self._transport.abort()
            return
        except UnfinishedStream:
            failed = True
        except Exception:  # the outermost boundary of one request: a mistake of ours must not take the others along
            log.exception("a request failed")
            failed = True
        finally:
            self._task = None
        if not failed:
            self._next(keep)
        elif self._half_said:
            self._break_off(request)
        else:
            self._refuse(500, "The gateway failed; its log says where.")

    def _next(self, keep: bool) -> None:
        if self._transport.is_closing():
            return
        if self._refusal is not None:
            self._say_and_linger(self._refusal)
        elif not keep:
            self._end()
        elif self._waiting:
            request, keep = self._waiting.popleft()
            self._waiting_bytes -= len(request.body)
            if self._held and len(self._waiting) < MAX_PIPELINED and self._waiting_bytes <= MAX_PIPELINED_BYTES:
                self._held = False
                self._transport.resume_reading()
            self._begin(request, keep)
        else:
            self.deadline = self._loop.time() + (self._limits.body_s if self._reading else self._limits.idle_s)

    def _write_whole(self, request: Request, response: Response, body: bytes, keep: bool) -> None:
        lines = _head(response, keep)
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
        if request.method != "HEAD":
            lines.append(body)
        self._transport.write(b"".join(lines))

    async def _write_stream(self, request: Request, response: Response, body: AsyncIterator[bytes], keep: bool) -> bool:
        """Returns whether the connection can be kept: before HTTP/1.1 only its end tells the stream's."""
        is_chunked = request.version != "1.0"
        lines = _head(response, keep and is_chunked)
        lines.append(b"transfer-encoding: chunked\r\n\r\n" if is_chunked else b"\r\n")
        self._transport.write(b"".join(lines))
        try:
            if request.method == "HEAD":
                return keep and is_chunked
            async for piece in body:
                if self._transport.is_closing():
                    raise asyncio.CancelledError
                if piece:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                if self._paused is not None:
                    await self._paused
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if is_chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")
        return keep and is_chunked

    def _break_off(self, request: Request) -> None:
        """End without the last chunk, so that the client misses it. What was written still goes out."""
        if request.version == "1.0":
            self._transport.abort()
        else:
            self._end()

    def _end(self) -> None:
        self._closing = True
        self.deadline = self._loop.time() + self._limits.write_s
        self._transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what never became a request, and close: where the next one would begin is not known."""
        self._closing = True
        if self._transport.is_closing():
            return
        response = self._server.on_error(self._url.decode("latin-1").partition("?")[0], status, message)
        body = response.body if isinstance(response.body, bytes) else b""
        raw = b"".join([*_head(response, keep=False), b"content-length: %d\r\n\r\n" % len(body), body])
        if self._task is not None:
            self._refusal = raw  # The requests before it are answered first.
        else:
            self._say_and_linger(raw)

    def _say_and_linger(self, raw: bytes) -> None:
        """Say it and go on taking in what the client sends, for a while: closing at once would make the system answer
        with a reset, which can overtake the answer (RFC 9112, section 9.6)."""
        self._lingering = True
        self._transport.write(raw)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.deadline = self._loop.time() + LINGER_S


def _head(response: Response, keep: bool) -> list[bytes]:
    lines = [_STATUS_LINES.get(response.status) or b"HTTP/1.1 %d Status\r\n" % response.status]
    lines.extend(b"%b: %b\r\n" % header for header in response.headers)
    if not keep:
        lines.append(b"connection: close\r\n")
    return lines
