"""One client's connection to the server: requests in, answers out, one at a time and in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import httptools

from stepdown.gateway.http.known_head import KnownHead, known_head
from stepdown.gateway.http.messages import (
    FRAMING_SHARE,
    HEADER_COST,
    HEADER_LINE,
    MAX_FRAMING,
    STEP,
    TURN_S,
    Answer,
    HttpError,
    PendingResponse,
    Request,
    Response,
    UnfinishedStream,
)
from stepdown.gateway.http.target import read_target

log = logging.getLogger("stepdown.gateway")

Handler = Callable[[Request], Answer]
OnError = Callable[[str, int, str], Response]
"""Makes the response to a request that never became one: (path, status, message)."""
AdmitHead = Callable[[str, str, dict[bytes, bytes]], Response | None]
"""Judges a request's head before its body is read: (method, path, headers); the refusal, or None."""

MAX_PIPELINED = 8
LINGER_S = 2.0
SMALL_BODY, LARGE_BODY = 256 << 10, 2 << 20
_NEVER = float("inf")
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_UPGRADING = frozenset({b"connection", b"upgrade", b"http2-settings"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class ServerLimits:
    """Bounds on what a client may send and how long it may take. Sizes in bytes, times in seconds.

    max_bodies: of all requests under way together; a quarter of it is kept for bodies of up to SMALL_BODY bytes.
    max_connections_per_client: from one address; 0 for no bound. half_closed_s: how long a client that has closed its
    side is taken for one that waits for its answer, before it is taken for one that has gone.
    """

    max_body: int = 16 << 20
    max_bodies: int = 64 << 20
    max_header: int = 32 << 10
    max_headers: int = 100
    max_target: int = 8 << 10
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    write_s: float = 60.0
    half_closed_s: float = 10.0
    max_connections: int = 4096
    max_connections_per_client: int = 1024


class _Known(NamedTuple):
    """A request's head that was read before on the connection, and what was read."""

    head: KnownHead
    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    memo: dict[Any, Any]


class Serving(Protocol):
    """What a connection needs of its server. body_bytes: held by all connections now."""

    handler: Handler
    on_error: OnError
    admit_head: AdmitHead | None
    limits: ServerLimits
    connections: set[Connection]
    clients: Counter[str]
    body_bytes: int
    large_turn: asyncio.Lock
    draining: bool


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Serving, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop, self._limits = server, loop, server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._unparsed = b""
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._current: asyncio.Task[None] | PendingResponse | None = None
        self._asked: tuple[Request, bool] | None = None
        """The request that is answered now, and whether the connection may be kept after it."""
        self._known: _Known | None = None
        self._first = b""
        """What came with the first byte of the request that is read."""
        self._transport: Any = None
        self._reading = self._closing = self._lingering = self._half_said = self._held = self._half_closed = False
        self._scheduled = False
        self._refusal: bytes | None = None
        self._paused: asyncio.Future[None] | None = None
        self._peer = self._path = self._query = ""
        self._url = b""
        self._version = self._version_answered = "1.1"
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes | bytearray] = []
        self._has_head = False
        self._header_bytes = self._header_count = self._size = self._left = 0
        self._fed = self._gap = 0
        """Bytes given to the parser since the message or its body began, and since it last gave something back."""
        self._reserved = self._kept = self._body_bytes = 0
        """Of the server's `body_bytes`: for the body that is read, for what is not parsed yet, and all in all."""
        self.deadline = loop.time() + self._limits.header_s

    # The connection's life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        server, limits = self._server, self._limits
        server.connections.add(self)
        server.clients[self._peer] += 1
        if len(server.connections) > limits.max_connections:
            self._refuse(HttpError(503, "Too many connections are open."))
        elif 0 < limits.max_connections_per_client < server.clients[self._peer]:
            self._refuse(HttpError(503, "Too many connections are open from this address."))

    def connection_lost(self, exc: BaseException | None) -> None:
        server = self._server
        server.connections.discard(self)
        server.clients[self._peer] -= 1
        if not server.clients[self._peer]:
            del server.clients[self._peer]
        self._release(self._body_bytes)
        self._waiting.clear()
        self._body = []
        self._unparsed = b""
        self._closing = True
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        if self._current is not None:
            self._current.cancel()
            if not isinstance(self._current, asyncio.Task):
                self._finished()

    def eof_received(self) -> bool:
        """A client that has said all may still wait for an answer. One that waits for none is done."""
        self._half_closed = True
        if self._lingering or not (self._current or self._unparsed):
            return False
        self.deadline = min(self.deadline, self._loop.time() + self._limits.half_closed_s)
        return True

    @property
    def busy(self) -> bool:
        return self._current is not None

    @property
    def waiting(self) -> int:
        """Requests that were read and wait for those before them."""
        return len(self._waiting)

    def close_when_idle(self) -> None:
        self._closing = True
        if self._lingering or (self._current is None and not self._reading):
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def too_slow(self) -> None:
        """A time-out: a client that trickles its request, reads nothing of its answer, or keeps an idle connection."""
        if self._current is not None or self._lingering or self._transport.is_closing():
            self._transport.abort()
        elif self._reading:
            self._refuse(HttpError(408, "The request took too long to arrive."))
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
        if self._current is not None:
            self.deadline = self._loop.time() + self._limits.half_closed_s if self._half_closed else _NEVER
        elif not self._closing:
            self.deadline = self._loop.time() + self._limits.idle_s

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._closing and (self._lingering or self._refusal is not None or not (self._current or self._reading)):
            return
        if self._known is not None and self._current is None and not (self._reading or self._unparsed or self._closing):
            found = self._known.head.split(data)
            if found is not None:
                self._take_known(self._known, *found)
                return
        self._unparsed = self._unparsed + data if self._unparsed else data
        if not self._held:
            self._parse()

    def _take_known(self, known: _Known, digits: bytes, body: bytes) -> None:
        """A whole request whose head was read before: what depends on more than its bytes is looked at again."""
        _, method, path, query, headers, memo = known
        headers = headers.copy()
        headers[b"content-length"] = digits
        try:
            self._check_head(method, path, headers, len(body))
            self._count(len(body), small=len(body) <= SMALL_BODY)
        except HttpError as error:
            self._refuse(error)
            return
        request = Request(method, path, query, headers, body)
        request.client, request.memo = self._peer, memo
        self._begin(request, True)

    def _parse(self) -> None:
        """Parse what came, step by step; what is too much for one turn, or waits for answers, is left for later."""
        data, at = self._unparsed, 0
        self._first = b"" if self._reading else data
        if self._kept:
            self._release(self._kept)
            self._kept = 0
        until = time.perf_counter() + TURN_S if len(data) > STEP else 0.0
        try:
            while at < len(data) and len(self._waiting) < MAX_PIPELINED and (at == 0 or time.perf_counter() < until):
                size = max(STEP, self._left)
                self._feed(data[at : at + size])
                at += size
            if at < len(data):
                self._count(len(data) - at, small=True)
                self._kept = len(data) - at
        except HttpError as error:
            self._refuse(error)
            at = len(data)
        self._unparsed, self._first = data[at:], b""
        if self._unparsed and not self._held and not self._transport.is_closing():
            self._held = True
            self._transport.pause_reading()
        if self._current is None and self._waiting:
            self._begin(*self._waiting.popleft())
        if self._unparsed:
            self._parse_soon()

    def _parse_soon(self) -> None:
        if not self._scheduled and len(self._waiting) < MAX_PIPELINED:
            self._scheduled = True
            self._loop.call_soon(self._parse_on)

    def _parse_on(self) -> None:
        self._scheduled = False
        if not self._held or self._transport.is_closing() or len(self._waiting) >= MAX_PIPELINED:
            return
        self._parse()
        if self._unparsed or self._transport.is_closing():
            return
        self._held = False
        if not self._half_closed:
            self._transport.resume_reading()
        elif self._current is None and not self._lingering:
            self._end()

    def _feed(self, step: bytes) -> None:
        """One step of the parser. Raises HttpError."""
        while True:
            try:
                self._parser.feed_data(step)
                break
            except httptools.HttpParserUpgrade as upgrade:
                step = self._without_upgrade() + step[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                # What our own callbacks raise arrives wrapped.
                if isinstance(error.__context__, HttpError):
                    raise error.__context__ from None
                raise HttpError(400, "The request is not HTTP/1.1.") from None
        # The parser keeps an unfinished header, and what stands between chunks, to itself: only what is fed to it can
        # be counted.
        count = min(len(step), STEP)  # A longer one is a body of a known length.
        self._fed += count
        self._gap += count
        if not self._has_head:
            if self._fed > self._limits.max_header + self._limits.max_target + STEP:
                raise HttpError(431, "The request's headers are too large.")
        elif self._gap > MAX_FRAMING + STEP or self._fed > FRAMING_SHARE * self._size + MAX_FRAMING + STEP:
            raise HttpError(431, "The request's chunk extensions or trailers are too large.")

    def _without_upgrade(self) -> bytes:
        """A request's head without its offer to change protocols, for a new parser.

        RFC 9110 (7.8) has such an offer passed over: some clients make it every time. The parser stops at its head.
        """
        head = [b"%b %b HTTP/1.1\r\n" % (self._parser.get_method(), self._url)]
        head.extend(b"%b: %b\r\n" % pair for pair in self._headers.items() if pair[0] not in _UPGRADING)
        if b"close" in self._headers[b"connection"].lower():
            head.append(b"connection: close\r\n")
        self._parser = httptools.HttpRequestParser(self)
        self._first = b""
        return b"".join([*head, b"\r\n"])

    def on_message_begin(self) -> None:
        self._reading = True
        self._url = b""
        self._headers = {}
        self._header_bytes = self._header_count = self._fed = self._size = self._left = 0
        self._has_head = False
        if self._current is None:
            self.deadline = self._loop.time() + self._limits.header_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.max_target:
            raise HttpError(414, "The request's target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # A trailer: nobody here needs any, and as a header it would overrule what was checked.
        name, headers, limits = name.lower(), self._headers, self._limits
        self._header_bytes += len(name) + len(value) + HEADER_COST
        self._header_count += 1
        if self._header_bytes > limits.max_header or self._header_count > limits.max_headers:
            raise HttpError(431, "The request's headers are too large.")
        if name in headers:
            if name == b"host":  # RFC 9112, section 3.2.
                raise HttpError(400, "The request has two host headers.")
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        method, version, headers = self._parser.get_method(), self._parser.get_http_version(), self._headers
        if self._parser.should_upgrade():
            if method == b"CONNECT":
                raise HttpError(405, "This server is no proxy.")
            return  # The head comes once more, without the offer.
        self._has_head, self._version = True, version
        self._fed = self._gap = 0
        if version not in {"1.1", "1.0"}:
            raise HttpError(505, "Only the versions 1.0 and 1.1 of HTTP are spoken here.")
        host = headers.get(b"host")
        if host is None and version == "1.1":
            raise HttpError(400, "The request has no host header.")
        coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length", b"0").strip()
        if coding is not None and (version == "1.0" or coding.strip().lower() != b"chunked"):  # RFC 9112, section 6.1.
            raise HttpError(
                501, "A body can be sent chunked with HTTP/1.1, or with a length; no other coding is known."
            )
        verb = method.decode("ascii")
        self._path, self._query = read_target(verb, self._url, host or b"")
        size = int(length) if length.isdigit() else self._limits.max_body + 1
        self._check_head(verb, self._path, headers, size)
        if size:
            self._reserve(size)
        self._left = size
        if self._current is None and not self._waiting:
            self.deadline = self._loop.time() + self._limits.body_s
            if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
                self._transport.write(_CONTINUE)
        if self._first and size and version == "1.1" and b"expect" not in headers and self._parser.should_keep_alive():
            head = known_head(self._first, self._header_count)
            self._known = _Known(head, verb, self._path, self._query, headers.copy(), {}) if head is not None else None

    def _check_head(self, method: str, path: str, headers: dict[bytes, bytes], size: int) -> None:
        """Raises HttpError where a request's body is not to be read."""
        if self._server.admit_head is not None:
            refusal = self._server.admit_head(method, path, headers)
            if refusal is not None:
                raise HttpError(refusal.status, "", refusal)
        if size > self._limits.max_body:
            raise self._too_large()

    def on_chunk_header(self) -> None:
        self._gap = 0

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._gap = 0
        if self._left:
            self._left -= len(body)
        else:
            if self._size > self._limits.max_body:
                raise self._too_large()
            self._reserve(len(body))
        last = self._body[-1] if self._body else body
        if isinstance(last, bytearray) and len(last) < STEP:
            last += body
        else:
            # Small pieces go into a block: by themselves they would take many times their size.
            self._body.append(bytearray(body) if self._body and len(body) < STEP else body)

    def on_message_complete(self) -> None:
        if not self._has_head:
            return  # It offers another protocol.
        self._reading = self._has_head = False
        self._fed = self._reserved = 0
        self._first = b""
        body = b"".join(self._body)
        self._body = []
        request = Request(self._parser.get_method().decode("ascii"), self._path, self._query, self._headers, body)
        request.client, request.version = self._peer, self._version
        keep = self._version == "1.1" and self._parser.should_keep_alive()
        self._waiting.append((request, keep))

    def _reserve(self, size: int) -> None:
        self._count(size, small=self._reserved + size <= SMALL_BODY)
        self._reserved += size

    def _count(self, size: int, small: bool) -> None:
        """Count bytes as held, bodies before they come. Raises HttpError where they would be too many."""
        most = self._limits.max_bodies
        if self._server.body_bytes + size > (most if small else most - most // 4):
            raise HttpError(503, "Too many bytes of requests are under way.")
        self._server.body_bytes += size
        self._body_bytes += size

    def _release(self, size: int) -> None:
        size = min(size, self._body_bytes)  # A connection that was lost has released everything.
        self._body_bytes -= size
        self._server.body_bytes -= size

    def _too_large(self) -> HttpError:
        return HttpError(413, f"The request's body is larger than {self._limits.max_body >> 20} MB.")

    # Answering

    def _begin(self, request: Request, keep: bool) -> None:
        self.deadline = self._loop.time() + self._limits.half_closed_s if self._half_closed else _NEVER
        self._half_said = False
        self._asked = request, keep
        if len(request.body) > LARGE_BODY:
            self._current = self._loop.create_task(self._answer(self._in_turn(request)))
            return
        try:
            answer = self._server.handler(request)
        except Exception:  # the outermost boundary of one request: a mistake of ours must not take the others along
            log.exception("a request failed")
            self._failed()
            return
        self._take(answer)

    async def _in_turn(self, request: Request) -> Response:
        """Reading a large body is one step that takes a while: never two of them without others in between."""
        async with self._server.large_turn:
            await asyncio.sleep(0)
        answer = self._server.handler(request)
        return answer if isinstance(answer, Response) else await answer

    def _take(self, answer: Answer) -> None:
        """Go on with an answer: send one that is there, wait for another, in a task where it needs one."""
        if isinstance(answer, PendingResponse):
            self._current = answer
            answer.done = self._take
        elif isinstance(answer, Response) and isinstance(answer.body, bytes):
            assert self._asked is not None
            request, keep = self._asked
            self._finished()
            if self._transport.is_closing():
                self._transport.abort()
                return
            keep = keep and not self._closing and not self._server.draining
            self._write_whole(request, answer, answer.body, keep)
            if self._paused is None:
                self._next(keep)
            else:
                self._current = self._loop.create_task(self._wait_until_read(keep))
        else:
            self._current = self._loop.create_task(self._answer(answer))

    async def _wait_until_read(self, keep: bool) -> None:
        try:
            if self._paused is not None:
                await self._paused
        finally:
            self._current = None
        self._next(keep)

    async def _answer(self, answer: Response | Awaitable[Response]) -> None:
        assert self._asked is not None
        request, keep = self._asked
        failed = False
        try:
            response = answer if isinstance(answer, Response) else await answer
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
        except Exception:  # the outermost boundary of one request, as above
            log.exception("a request failed")
            failed = True
        finally:
            self._finished()
        if failed:
            self._failed()
        else:
            self._next(keep)

    def _finished(self) -> None:
        """The request that was answered is over, and its body is let go."""
        self._current = None
        if self._asked is not None:
            self._release(len(self._asked[0].body))
            self._version_answered = self._asked[0].version
            self._asked = None

    def _failed(self) -> None:
        self._finished()
        if self._half_said:
            self._break_off()
        else:
            self._refuse(HttpError(500, "The gateway failed; its log says where."))

    def _next(self, keep: bool) -> None:
        if self._transport.is_closing():
            return
        if self._refusal is not None:
            self._say_and_linger(self._refusal)
        elif not keep or (self._half_closed and not self._waiting and not self._unparsed):
            self._end()
        elif self._waiting:
            self._begin(*self._waiting.popleft())
            if self._unparsed:
                self._parse_soon()
        else:
            self.deadline = self._loop.time() + (self._limits.body_s if self._reading else self._limits.idle_s)

    def _write_whole(self, request: Request, response: Response, body: bytes, keep: bool) -> None:
        end = b"content-length: %d\r\n\r\n" % len(body)
        self._transport.write(b"".join([*_head(response, keep), end, b"" if request.method == "HEAD" else body]))

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
                    if self._half_closed:  # It still reads: one that has gone answers with a reset.
                        self.deadline = self._loop.time() + self._limits.write_s
                if self._paused is not None:
                    await self._paused
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if is_chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")
        return keep and is_chunked

    def _break_off(self) -> None:
        """End without the last chunk, so that the client misses it. What was written still goes out."""
        if self._version_answered == "1.0":
            self._transport.abort()
        else:
            self._end()

    def _end(self) -> None:
        self._closing = True
        self.deadline = self._loop.time() + self._limits.write_s
        self._transport.close()

    def _refuse(self, error: HttpError) -> None:
        """Answer what never became a request, and close: where the next one would begin is not known."""
        self._closing = True
        self._body = []
        self._release(self._reserved)
        self._reserved = 0
        if self._transport.is_closing():
            return
        path = self._url.decode("latin-1").partition("?")[0]
        response = error.response or self._server.on_error(path, error.status, str(error))
        body = response.body if isinstance(response.body, bytes) else b""
        raw = b"".join([*_head(response, keep=False), b"content-length: %d\r\n\r\n" % len(body), body])
        if self._current is not None or self._waiting:
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
    lines.extend(map(HEADER_LINE, response.headers))
    if not keep:
        lines.append(b"connection: close\r\n")
    return lines
