"""One connection to an upstream, one request at a time, and the answer that comes over it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

import httptools

from stepdown.gateway.http.known_head import KnownHead, known_head
from stepdown.gateway.http.messages import (
    FRAMING_SHARE,
    HEADER_COST,
    MAX_FRAMING,
    STEP,
    TURN_S,
    BrokenReply,
    TimedOut,
    UpstreamError,
)

_HIGH_WATER = 1 << 20
_MAX_HEADER = 64 << 10
_MAX_HEADERS = 256
_LARGE = 64 << 10
MAX_WHOLE = 16 << 20
"""Bytes of an answer that is read whole."""


class HttpResponse:
    """An answer whose head has come. Read it whole or in pieces, or close it; until then it holds its connection."""

    __slots__ = ("_connection", "_turn", "headers", "status")

    def __init__(self, connection: UpstreamConnection, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._connection, self.status, self.headers = connection, status, headers
        self._turn = connection.turn

    def __del__(self) -> None:
        # Whoever drops an answer unread must not keep its connection busy. It may be dropped on any thread.
        self._connection.forsaken(self._turn)

    def header(self, name: bytes) -> bytes:
        for key, value in self.headers:
            if key == name:
                return value
        return b""

    async def read(self, limit: int = MAX_WHOLE) -> bytes:
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


class Keeper(Protocol):
    """The pool, as a connection knows it."""

    opened: set[UpstreamConnection]

    def freed(self, connection: UpstreamConnection | None) -> None:
        """A connection may be used again, or None: there is room for another."""


class ClosedInSilence(Exception):
    """A connection was closed before the first byte of an answer."""


class UpstreamConnection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, pool: Keeper, loop: asyncio.AbstractEventLoop) -> None:
        self._pool, self._loop = pool, loop
        self._transport: Any = None
        self._head: asyncio.Future[None] | None = None
        self.listener: Callable[[], None] | None = None
        """Called once when the head of an answer is there, or all of it, or none will come."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.memo: dict[Any, Any] = {}
        """What others make of an answer's headers; it is kept while the next ones have the same."""
        self._known: tuple[KnownHead, list[tuple[bytes, bytes]], int] | None = None
        """The head of an answer before, its headers, and which of them is its length."""
        self._first = b""
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
        self._parser = httptools.HttpResponseParser(self)  # At an answer's end whenever the connection is used again.
        self._reset()

    def _reset(self) -> None:
        self._header_bytes = self._size = self._fed = self._gap = 0
        self._fresh: list[bytes] = []
        self._unparsed = b""
        self._has_more = False
        self._delimited = self._keep = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._pool.opened.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.closed = True
        self._pool.opened.discard(self)
        self._pool.freed(None)
        if self.complete or self._failure is not None:
            return
        if self._final and not self._delimited and exc is None:
            self.complete = True  # A body without a length ends with the connection.
            self._wake()
        else:
            self._fail(ClosedInSilence() if not self._begun else BrokenReply("The upstream cut its answer off."))

    def ask(self, head: bytes, body: bytes, bodyless: bool, first_byte_s: float, total_s: float) -> None:
        """Send a request. bodyless: the answer has a length but no body, as to HEAD. Raises ClosedInSilence."""
        if self.closed or self._transport.is_closing():
            raise ClosedInSilence
        self.complete = self.released = self._begun = self._final = False
        self.turn += 1
        self._bodyless = bodyless
        self._failure = None
        now = self._loop.time()
        self._first_byte_at, self._end_at = now + first_byte_s, now + total_s
        if len(body) < _LARGE:
            self._transport.write(head + body)
        else:  # Not copied.
            self._transport.write(head)
            self._transport.write(body)

    async def response(self) -> HttpResponse:
        """Wait for the head of the answer. Raises what went wrong."""
        if not self._final and self._failure is None:
            self._head = self._loop.create_future()
            try:
                await self._head
            finally:
                self._head = None
        if self._failure is not None and not self._final:
            raise self._failure
        return HttpResponse(self, self.status, self.headers)

    async def more(self) -> None:
        """Wait for more of the body. Raises what went wrong."""
        if self._failure is not None:
            raise self._failure
        self._hold(self._has_more)
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
        self.pieces.clear()
        self._held = 0
        self._idle_since = self._loop.time()
        if self.closed or not self._keep:
            self.abort()
        else:
            self._pool.freed(self)

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
        self._tell()
        if self._head is not None and not self._head.done():
            self._head.set_result(None)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell(self) -> None:
        if self.listener is not None:
            listener, self.listener = self.listener, None
            listener()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.released:
            self.abort()  # Words that nobody asked for: this connection can no longer be trusted.
            return
        if not self._begun:
            self._begun = True
            if self._known is not None and not self._bodyless and self._is_known(data):
                return
            self._reset()
            self._first = data
        self._unparsed = self._unparsed + data if self._unparsed else data
        if not self._has_more:
            self._parse()

    def _is_known(self, data: bytes) -> bool:
        """Whether a whole answer has a head that was read before; it is taken if so."""
        assert self._known is not None
        head, headers, place = self._known
        found = head.split(data)
        if found is None:
            return False
        digits, body = found
        headers[place] = (b"content-length", digits)
        self._final = self._delimited = self._keep = self.complete = True
        self._first_byte_at = float("inf")
        self.pieces.append(body)
        self._tell()
        if self._head is not None and not self._head.done():
            self._head.set_result(None)
        return True

    def _parse(self) -> None:
        """Parse what came, step by step; what is too much for one turn is left for later."""
        data, at = self._unparsed, 0
        until = time.perf_counter() + TURN_S if len(data) > STEP else 0.0
        failure: BrokenReply | None = None
        try:
            while at < len(data) and not self.complete and (at == 0 or time.perf_counter() < until):
                self._feed(data[at : at + STEP])
                at += STEP
        except BrokenReply as error:
            failure = error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            failure = BrokenReply("The upstream's answer is not HTTP/1.1.")
        self._unparsed, self._first = data[at:], b""
        if self._fresh:
            # In one piece: an answer in chunks of a byte would take many times its size, and its time.
            self.pieces.append(b"".join(self._fresh))
            self._fresh = []
            self._wake()
        if self.complete:
            # Words beyond the answer's end: the answer stands, the connection does not.
            self._keep = self._keep and failure is None and not self._unparsed
            self._unparsed = b""
        elif failure is not None:
            self._fail(failure)
            return
        self._has_more = bool(self._unparsed)
        if self._has_more:
            self._loop.call_soon(self._parse_on)
        self._hold(not self.complete and (self._has_more or self._held > _HIGH_WATER))
        if self._final:
            self._tell()

    def _parse_on(self) -> None:
        if not self.closed and self._has_more:
            self._parse()

    def _hold(self, paused: bool) -> None:
        if paused != self._paused and not self._transport.is_closing():
            self._paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def _feed(self, step: bytes) -> None:
        self._parser.feed_data(step)
        # The parser keeps an unfinished header, and what stands between chunks, to itself: only what is fed to it can
        # be counted.
        self._fed += len(step)
        self._gap += len(step)
        if not self._final:
            if self._fed > _MAX_HEADER + STEP:
                raise BrokenReply("The upstream's headers are too large.")
        elif self._gap > MAX_FRAMING + STEP or self._fed > FRAMING_SHARE * self._size + _MAX_HEADER + MAX_FRAMING:
            raise BrokenReply("The upstream's chunk extensions or trailers are too large.", retriable=False)

    def on_message_begin(self) -> None:
        if self._final:
            raise BrokenReply("The upstream answered more than it was asked.")
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._final:
            return  # a trailer
        self._header_bytes += len(name) + len(value) + HEADER_COST
        if self._header_bytes > _MAX_HEADER or len(self.headers) >= _MAX_HEADERS:
            raise BrokenReply("The upstream's headers are too large.")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._final = True
        self._first_byte_at = float("inf")
        names = [name for name, _ in self.headers]
        self.status, self._known, self.memo = status, None, {}
        self._delimited = b"content-length" in names or b"transfer-encoding" in names or status in {204, 304}
        if self._bodyless:
            self.complete = self._delimited = True  # The parser waits for a body: it cannot be used again.
        else:
            self._keep = self._parser.should_keep_alive()
            if self._first and self._keep and b"content-length" in names and b"transfer-encoding" not in names:
                head = known_head(self._first, len(names))
                self._known = (head, self.headers, names.index(b"content-length")) if head is not None else None
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_chunk_header(self) -> None:
        self._gap = 0

    def on_body(self, body: bytes) -> None:
        self._gap = 0
        self._size += len(body)
        if not self._bodyless:
            self._fresh.append(body)
            self._held += len(body)

    def on_message_complete(self) -> None:
        if self._final and not self._bodyless:
            self.complete = True
            self._keep = self._parser.should_keep_alive()
            self._wake()
