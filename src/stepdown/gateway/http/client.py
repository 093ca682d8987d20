"""An HTTP/1.1 client to one origin: a pool of kept connections, bounded times, answers whole or in pieces.

Source of the rules: RFC 9112 (HTTP/1.1). A request is sent once; asking again is for whoever knows whether it may be.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools

from stepdown.core.errors import UsageError
from stepdown.gateway.http.messages import (
    HEADER_COST,
    BrokenReply,
    ConnectFailed,
    Headers,
    Saturated,
    TimedOut,
    UpstreamError,
)

_SWEEP_S = 0.25
_HIGH_WATER = 1 << 20
_MAX_HEADER = 256 << 10


@dataclass(frozen=True)
class Origin:
    """Where an upstream is. path: what stands before every target, without a slash at its end."""

    host: str
    port: int
    tls: bool
    path: str = ""

    @property
    def authority(self) -> bytes:
        default = 443 if self.tls else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        name = host if host.isascii() else host.encode("idna").decode("ascii")
        return (name if self.port == default else f"{name}:{self.port}").encode("ascii")


def parse_origin(url: str) -> Origin:
    """The origin in an http(s) URL. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        shown = url.rsplit("@", 1)[-1]
        raise UsageError(
            f"{shown!r} is not an upstream's address.",
            "Expected http(s)://HOST[:PORT][/PATH], without user, password or query.",
            "For example http://127.0.0.1:8000/v1",
        )
    tls = parts.scheme == "https"
    return Origin(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))


class HttpResponse:
    """An answer whose head has come. Read it whole or in pieces, or close it; until then it holds its connection."""

    __slots__ = ("_connection", "_turn", "headers", "status")

    def __init__(self, connection: _Connection, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._connection, self.status, self.headers = connection, status, headers
        self._turn = connection.turn

    def __del__(self) -> None:
        # Whoever drops an answer unread must not keep its connection busy. It may be dropped on any thread.
        self._connection.forsaken(self._turn)

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key == name), b"")

    async def read(self, limit: int = 64 << 20) -> bytes:
        """The whole body. Raises BrokenReply where it is cut off or longer than `limit` bytes, TimedOut."""
        connection = self._connection
        pieces = []
        size = 0
        try:
            while True:
                while connection.pieces:
                    piece = connection.take()
                    size += len(piece)
                    pieces.append(piece)
                if size > limit:
                    raise BrokenReply(f"The answer is longer than {limit >> 20} MB.", retriable=False)
                if connection.complete:
                    break
                await connection.more()
        except BaseException:
            connection.abort()
            raise
        connection.release()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Closing the iterator early closes the connection. Raises as `read` does."""
        connection = self._connection
        try:
            while True:
                while connection.pieces:
                    yield connection.take()
                if connection.complete:
                    connection.release()
                    return
                await connection.more()
        finally:
            self.close()

    def close(self) -> None:
        """Give up on the rest of the answer."""
        self._connection.leave(self._turn)


class HttpPool:
    """Connections to one origin, kept and used again, newest first so that the others can go idle and be closed."""

    def __init__(
        self,
        origin: Origin,
        connect_s: float = 5.0,
        idle_s: float = 30.0,
        most: int = 1024,
        sweep_s: float = _SWEEP_S,
    ) -> None:
        self.origin = origin
        self._host_line = b"host: %b\r\n" % origin.authority
        self._sweep_s = sweep_s
        self._connect_s, self._idle_s, self._most = connect_s, idle_s, most
        self._free: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._room: deque[asyncio.Future[None]] = deque()
        self._opening = 0
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def open_connections(self) -> int:
        return len(self._open)

    async def send(
        self, method: str, target: str, headers: Headers, body: bytes, first_byte_s: float, total_s: float
    ) -> HttpResponse:
        """Send one request and wait for the head of its answer. Raises ConnectFailed, TimedOut, BrokenReply.

        target: path and query below the origin's path. A kept connection that the other side closed before it said a
        word is replaced: it was closed for idleness, and the request was never taken.
        """
        lines = [f"{method} {self.origin.path}{target} HTTP/1.1\r\n".encode("latin-1", "replace"), self._host_line]
        lines.extend(b"%b: %b\r\n" % header for header in headers)
        lines.append(b"content-length: %d\r\n\r\n" % len(body) if body or method != "GET" else b"\r\n")
        lines.append(body)
        raw = b"".join(lines)
        while True:
            connection, kept = await self._connection()
            try:
                return await connection.ask(raw, method == "HEAD", first_byte_s, total_s)
            except _ClosedInSilence:
                if not kept:
                    raise BrokenReply("The upstream closed the connection without an answer.") from None
            except BaseException:
                connection.abort()
                raise

    async def close(self) -> None:
        """Close every connection. Whoever waits for an answer gets BrokenReply."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._open):
            connection.give_up(BrokenReply("The connection was closed on this side.", retriable=False))

    async def _connection(self) -> tuple[_Connection, bool]:
        while True:
            while self._free:
                connection = self._free.pop()
                if not connection.closed:
                    return connection, True
            if len(self._open) + self._opening < self._most:
                return await self._connect(), False
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(room)
            try:
                async with asyncio.timeout(self._connect_s):
                    await room
            except BaseException as error:
                if room.done() and not room.cancelled():
                    self._freed(None)  # It came too late for this one.
                if isinstance(error, TimeoutError):
                    raise Saturated("Every connection to the upstream is in use.", retriable=False) from None
                raise

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep(loop))
        if self.origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        self._opening += 1
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, loop), self.origin.host, self.origin.port, ssl=self._tls
                )
        except TimeoutError:
            raise TimedOut(f"No connection within {self._connect_s:g} s.") from None
        except OSError as error:
            raise ConnectFailed(f"No connection: {error.strerror or type(error).__name__}.") from None
        finally:
            self._opening -= 1
            if connection is None:
                self._freed(None)
        return connection

    def _freed(self, connection: _Connection | None) -> None:
        if connection is not None:
            self._free.append(connection)
        while self._room:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)
                return

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            now = loop.time()
            for connection in list(self._open):
                connection.sweep(now, self._idle_s)
            while self._free and self._free[0].closed:
                self._free.popleft()


class _ClosedInSilence(Exception):
    """A connection was closed before the first byte of an answer."""


class _Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, pool: HttpPool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool, self._loop = pool, loop
        self._transport: Any = None
        self._head: asyncio.Future[HttpResponse] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._first_byte_at = self._end_at = float("inf")
        self._idle_since = loop.time()
        self.pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = self._bodyless = False
        self.complete = self.released = True
        self.closed = False
        self.turn = 0
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = self._fed = 0
        self._begun = self._final = self._delimited = self._keep = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._pool._open.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.closed = True
        self._pool._open.discard(self)
        self._pool._freed(None)
        if self.complete or self._failure is not None:
            return
        if self._final and not self._delimited and exc is None:
            self.complete = True  # A body without a length ends with the connection.
            self._wake()
        else:
            silent = self._head is not None and not self._begun
            self._fail(_ClosedInSilence() if silent else BrokenReply("The upstream cut its answer off."))

    async def ask(self, raw: bytes, bodyless: bool, first_byte_s: float, total_s: float) -> HttpResponse:
        """bodyless: the answer has a length but no body, as to HEAD."""
        self.complete = self.released = False
        self.turn += 1
        self._bodyless = bodyless
        self._failure = None
        self.pieces.clear()
        self._held = 0
        self._reset()
        self._head = self._loop.create_future()
        now = self._loop.time()
        self._first_byte_at, self._end_at = now + first_byte_s, now + total_s
        if self.closed or self._transport.is_closing():
            raise _ClosedInSilence
        self._transport.write(raw)
        try:
            return await self._head
        finally:
            self._head = None

    async def more(self) -> None:
        """Wait for more of the body. Raises what went wrong."""
        if self._failure is not None:
            raise self._failure
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        if self.pieces or self.complete:
            return
        self._waiter = self._loop.create_future()
        await self._waiter

    def take(self) -> bytes:
        piece = self.pieces.popleft()
        self._held -= len(piece)
        return piece

    def release(self) -> None:
        """The answer was read to its end: the connection may serve another."""
        if self.released:
            return
        self.released = True
        self._first_byte_at = self._end_at = float("inf")
        self._idle_since = self._loop.time()
        if self.closed or not self._keep:
            self.abort()
        else:
            self._pool._freed(self)

    def abort(self) -> None:
        """Close at once. For the one that reads, who has no more interest in the answer."""
        self.released = self.complete = self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def forsaken(self, turn: int) -> None:
        """As `leave`, from any thread."""
        if turn == self.turn and not self.released and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.leave, turn)

    def leave(self, turn: int) -> None:
        """Nobody will read the rest of the answer of that turn, if it is not another's already."""
        if turn == self.turn and not self.released:
            self.abort()

    def give_up(self, failure: UpstreamError) -> None:
        """Close at once, telling the one that waits for an answer."""
        if self.released:
            self.abort()
        else:
            self._fail(failure)

    def sweep(self, now: float, idle_s: float) -> None:
        if self.released:
            if now - self._idle_since > idle_s:
                self.closed = True
                self._transport.close()
        elif self._failure is not None:
            return
        elif now > self._first_byte_at:
            self._fail(TimedOut("The upstream did not begin to answer in time."))
        elif now > self._end_at:
            self._fail(TimedOut("The upstream did not end its answer in time.", retriable=False))

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        if self._head is not None and not self._head.done():
            self._head.set_exception(failure)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.released:
            self.abort()  # Words that nobody asked for: this connection can no longer be trusted.
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UpstreamError):
            if self.complete:
                self._keep = False  # Words beyond the answer's end: the answer stands, the connection does not.
            else:
                self._fail(BrokenReply("The upstream's answer is not HTTP/1.1."))
            return
        if not self._final:
            # The parser keeps an unfinished header to itself: only what is fed to it can be counted.
            self._fed += len(data)
            if self._fed > _MAX_HEADER:
                self._fail(BrokenReply("The upstream's headers are too large."))
        if self.pieces:
            if self._held > _HIGH_WATER and not self._paused and not self.complete:
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def on_message_begin(self) -> None:
        if self._final:
            raise BrokenReply("The upstream answered more than it was asked.")
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._final:
            return  # a trailer
        self._header_bytes += len(name) + len(value) + HEADER_COST
        if self._header_bytes > _MAX_HEADER:
            raise BrokenReply("The upstream's headers are too large.")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._final = True
        self._first_byte_at = float("inf")
        names = {name for name, _ in self._headers}
        self._delimited = b"content-length" in names or b"transfer-encoding" in names or status in {204, 304}
        if self._bodyless:
            self.complete = self._delimited = True  # The parser waits for a body: it cannot be used again.
        else:
            self._keep = self._parser.should_keep_alive()
        if self._head is not None and not self._head.done():
            self._head.set_result(HttpResponse(self, status, self._headers))

    def on_body(self, body: bytes) -> None:
        if self._bodyless:
            return
        self.pieces.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        if self._final and not self._bodyless:
            self.complete = True
            self._keep = self._parser.should_keep_alive()
            self._wake()
