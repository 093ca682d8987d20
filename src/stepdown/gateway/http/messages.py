"""What goes in and out of the gateway's HTTP: plain values, bytes as they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from typing import Any

Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection, never passed on (RFC 9110, section 7.6.1), and those we set ourselves."""

HEADER_LINE = b"%b: %b\r\n".__mod__
"""A header as it stands in a head."""
HEADER_COST = 32
"""Bytes that a header counts for beside its text, as RFC 9113 (6.5.2) counts them."""
STEP = 4 << 10
"""Bytes that a parser gets at once, but for bodies of a known length: what it does with them takes far below 1 ms."""
TURN_S = 0.001
"""How long one connection may be parsed before others get their turn."""
MAX_FRAMING = 16 << 10
"""Bytes of one chunk's extensions, or of all trailers."""
FRAMING_SHARE = 8
"""Times a body's size that a chunked message may be in all: chunks of one byte are of six."""


class Request:
    """One request, read whole. headers: names in lower case; values of a name that comes twice are joined by ", "."""

    __slots__ = ("body", "client", "headers", "memo", "method", "path", "query", "version")

    memo: dict[Any, Any] | None
    """What others make of its headers, kept for the next requests of the same; None where it is not known that there
    are any."""

    def __init__(
        self, method: str, path: str, query: str = "", headers: dict[bytes, bytes] | None = None, body: bytes = b""
    ) -> None:
        self.method, self.path, self.query = method, path, query
        self.headers: dict[bytes, bytes] = headers if headers is not None else {}
        self.body = body
        self.client = ""
        self.version = "1.1"
        self.memo = None

    def header(self, name: bytes) -> str:
        """A header's value as text, "" where it is absent; bytes that are not UTF-8 become U+FFFD."""
        value = self.headers.get(name)
        return value.decode("utf-8", "replace") if value else ""


class Response:
    """One response. body: whole, or the pieces of a stream in order. The server adds length and connection headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes | AsyncIterator[bytes]) -> None:
        self.status, self.headers, self.body = status, headers, body


class PendingResponse:
    """A response that comes without a task. done: called once, when it is there, in the same turn of the loop; with an
    awaitable where a task has to go on."""

    __slots__ = ("done",)

    done: Callable[[Answer], None]

    def cancel(self) -> None:
        """Nobody waits for it any more."""

    def __await__(self) -> Generator[Any, None, Response]:
        came: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.done = came.set_result
        try:
            answer = yield from came.__await__()
        except BaseException:
            self.cancel()
            raise
        return answer if isinstance(answer, Response) else (yield from answer.__await__())


Answer = Response | PendingResponse | Awaitable[Response]


class HttpError(Exception):
    """A request that cannot be read as HTTP, or that passes a limit. `status` is what it is answered with.

    response: the whole answer, where there is one already.
    """

    def __init__(self, status: int, message: str, response: Response | None = None) -> None:
        super().__init__(message)
        self.status, self.response = status, response


class UnfinishedStream(Exception):
    """A stream's source broke after its beginning was sent: the connection is cut, lest it be taken for whole."""


class UpstreamError(Exception):
    """An upstream gave no whole answer. retriable: whether asking again could help and could do no harm."""

    kind = "upstream"

    def __init__(self, message: str, retriable: bool = True) -> None:
        super().__init__(message)
        self.retriable = retriable


class ConnectFailed(UpstreamError):
    """No connection could be made: nothing was asked yet."""

    kind = "connect"


class Saturated(ConnectFailed):
    """All the connections that are allowed are in use: it says nothing about the upstream."""

    kind = "saturated"


class TimedOut(UpstreamError):
    """The upstream was too slow to connect, to begin or to end."""

    kind = "timeout"


class BrokenReply(UpstreamError):
    """The upstream's answer was cut off or is not HTTP."""

    kind = "broken"
