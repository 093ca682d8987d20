"""An HTTP/1.1 client to one origin: a pool of kept connections, bounded times, answers whole or in pieces.

Source of the rules: RFC 9112 (HTTP/1.1). A request is sent once; asking again is for whoever knows whether it may be.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from stepdown.core.errors import UsageError
from stepdown.gateway.http.messages import HEADER_LINE, BrokenReply, ConnectFailed, Headers, Saturated, TimedOut
from stepdown.gateway.http.upstream_connection import ClosedInSilence, HttpResponse, UpstreamConnection

__all__ = ["HttpPool", "HttpResponse", "Origin", "parse_origin"]

_SWEEP_S = 0.25


class HttpPool:
    """Connections to one origin, kept and used again, newest first so that the others can go idle and be closed."""

    def __init__(
        self, origin: Origin, connect_s: float = 5.0, idle_s: float = 30.0, most: int = 1024, sweep_s: float = _SWEEP_S
    ) -> None:
        self.origin = origin
        self._sweep_s = sweep_s
        self._connect_s, self._idle_s, self._most = connect_s, idle_s, most
        self._free: deque[UpstreamConnection] = deque()
        self.opened: set[UpstreamConnection] = set()
        self._room: deque[asyncio.Future[None]] = deque()
        self._opening = 0
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def open_connections(self) -> int:
        return len(self.opened)

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        first_byte_s: float,
        total_s: float,
        begun: UpstreamConnection | None = None,
    ) -> HttpResponse:
        """Send one request and wait for the head of its answer. Raises ConnectFailed, TimedOut, BrokenReply.

        target: path and query below the origin's path. begun: where it was sent already, by `begin`. A kept connection
        that the other side closed before it said a word is replaced: it was closed for idleness, and the request was
        never taken.
        """
        head = self.head(method, target, headers)
        head += b"content-length: %d\r\n\r\n" % len(body) if body or method != "GET" else b"\r\n"
        while True:
            connection, kept = await self._connection() if begun is None else (begun, True)
            try:
                if begun is None:
                    connection.ask(head, body, method == "HEAD", first_byte_s, total_s)
                begun = None
                return await connection.response()
            except ClosedInSilence:
                if not kept:
                    raise BrokenReply("The upstream closed the connection without an answer.") from None
            except BaseException:
                connection.abort()
                raise

    def head(self, method: str, target: str, headers: Headers) -> bytes:
        """A request's head up to its length."""
        origin = self.origin
        lines = [f"{method} {origin.path}{target} HTTP/1.1\r\n".encode("latin-1", "replace")]
        lines.append(b"host: %b\r\n" % origin.authority)
        lines.extend(map(HEADER_LINE, headers))
        return b"".join(lines)

    def begin(
        self, head: bytes, body: bytes, first_byte_s: float, total_s: float, listener: Callable[[], None]
    ) -> UpstreamConnection | None:
        """Send a request over a connection that is free, and tell the listener of the answer; None where none is.

        head: up to the length, as `head` makes it."""
        head = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
        while (connection := self._kept()) is not None:
            try:
                connection.ask(head, body, False, first_byte_s, total_s)
            except ClosedInSilence:
                continue
            connection.listener = listener
            return connection
        return None

    async def close(self) -> None:
        """Close every connection. Whoever waits for an answer gets BrokenReply."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self.opened):
            connection.give_up(BrokenReply("The connection was closed on this side.", retriable=False))

    def _kept(self) -> UpstreamConnection | None:
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        return None

    async def _connection(self) -> tuple[UpstreamConnection, bool]:
        while True:
            connection = self._kept()
            if connection is not None:
                return connection, True
            if len(self.opened) + self._opening < self._most:
                return await self._connect(), False
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(room)
            try:
                async with asyncio.timeout(self._connect_s):
                    await room
            except BaseException as error:
                if room.done() and not room.cancelled():
                    self.freed(None)  # It came too late for this one.
                if isinstance(error, TimeoutError):
                    raise Saturated("Every connection to the upstream is in use.", retriable=False) from None
                raise

    async def _connect(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep(loop))
        if self.origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        self._opening += 1
        connection: UpstreamConnection | None = None
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self, loop), self.origin.host, self.origin.port, ssl=self._tls
                )
        except TimeoutError:
            raise TimedOut(f"No connection within {self._connect_s:g} s.") from None
        except OSError as error:
            raise ConnectFailed(f"No connection: {error.strerror or type(error).__name__}.") from None
        finally:
            self._opening -= 1
            if connection is None:
                self.freed(None)
        return connection

    def freed(self, connection: UpstreamConnection | None) -> None:
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
            for connection in list(self.opened):
                connection.sweep(now, self._idle_s)
            while self._free and self._free[0].closed:
                self._free.popleft()


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
