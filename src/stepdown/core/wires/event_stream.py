"""Server-sent events: the wire that answers are streamed on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


def events(text: str) -> Iterator[dict[str, Any]]:
    """The JSON object of every event's data, in order; "[DONE]" and comments are passed over.

    Source: WHATWG HTML, "Server-sent events". Raises ValueError where an event's data is not a JSON object.
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


def _object(text: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("an event of the stream is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("an event of the stream is not a JSON object")
    return value
