"""Server-sent events, in which answers are streamed.

Source: WHATWG HTML, "Server-sent events" (line ends, the data field, comments, the byte order mark).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

MAX_EVENT_BYTES = 8 * 1024 * 1024
DONE = b"data: [DONE]\n\n"
_encoder = msgspec.json.Encoder()


def events(text: str) -> Iterator[dict[str, Any]]:
    """The JSON object of every event's data, in order; "[DONE]" and comments are passed over.

    Raises ValueError where an event's data is not a JSON object.
    """
    data: list[str] = []
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            joined, data = "\n".join(data), []
            if joined.strip() != "[DONE]":
                yield _object(joined)


def looks_like(text: str) -> bool:
    """Whether a body is a stream of events rather than JSON."""
    return text.lstrip()[:6] in {"data: ", "event:"} or text.lstrip().startswith("data:{")


def frame(data: Any, event: str = "") -> bytes:
    """One event, named or not, whose data is `data` as JSON."""
    name = b"event: " + event.encode() + b"\n" if event else b""
    return name + b"data: " + _encoder.encode(data) + b"\n\n"


class EventSplitter:
    """The events of a stream that comes in pieces, cut anywhere: inside a line end, a character or an event.

    Holds at most `max_bytes` of an unfinished event. `done` tells whether "[DONE]" has passed.
    """

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self.done = False
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_return = False
        self._at_start = True

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The JSON objects of the events that `data` completes.

        Raises ValueError where an event is larger than the bound or its data is not a JSON object.
        """
        return list(self.split(data))

    def close(self) -> list[dict[str, Any]]:
        """What is left when the stream ends without a blank line. Raises ValueError as `feed` does."""
        return list(self.split(b"\n\n"))

    def split(self, data: bytes) -> Iterator[dict[str, Any]]:
        """As `feed`, one by one, so that events before a broken one are not lost with it. To be read to its end."""
        if self._after_return and data[:1] == b"\n":
            self._after_return, data = False, data[1:]
        if not data:
            return
        self._after_return = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = data.split(b"\n")
        for piece in ended:
            event = self._taken(self._whole(piece))
            if event is not None:
                yield event
        self._line += rest
        self._check_size()

    def _whole(self, piece: bytes) -> bytes:
        if self._line:
            self._line += piece
            self._check_size()
            piece = bytes(self._line)
            self._line.clear()
        if self._at_start:
            self._at_start, piece = False, piece.removeprefix(b"\xef\xbb\xbf")
        return piece

    def _taken(self, line: bytes) -> dict[str, Any] | None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._data_bytes += len(line)
            self._check_size()
        if line or not self._data:
            return None
        whole = b"\n".join(self._data)
        self._data.clear()
        self._data_bytes = 0
        if whole.strip() == b"[DONE]":
            self.done = True
            return None
        return _object(whole)

    def _check_size(self) -> None:
        if len(self._line) + self._data_bytes > self._max_bytes:
            raise ValueError(f"an event of the stream is larger than {self._max_bytes:,} bytes")


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise ValueError("an event of the stream is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("an event of the stream is not a JSON object")
    return value
