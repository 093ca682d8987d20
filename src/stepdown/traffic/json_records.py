"""JSON records of a file: one a line (JSONL), or a whole document that is one object or an array of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from stepdown.core.calls import Broken
from stepdown.traffic.source import MAX_DEPTH, Source, too_deep

T = TypeVar("T")

_SNIFFED = 5


class Sizes(msgspec.Struct, frozen=True):
    """How long a line and a whole document may be, in bytes."""

    line: int
    document: int


def records(source: Source, sizes: Sizes) -> Iterator[tuple[int, bytes] | Broken]:
    """(line or record number from 1, JSON bytes) for every record; Broken for what is too long or cut short."""
    if not _is_document(source.head()):
        yield from source.lines(sizes.line)
        return
    raw = source.whole(sizes.document)
    if isinstance(raw, Broken):
        yield raw
        return
    text = b"\n".join(line for line in raw.split(b"\n") if not line.lstrip().startswith(b"//"))
    try:
        parts = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.lstrip()[:1] == b"[" else [text]
    except (msgspec.DecodeError, RecursionError) as error:
        yield source.broken(0, f"not a JSON array: {error}", raw)
        return
    yield from ((number, bytes(part)) for number, part in enumerate(parts, start=1))


def decoded(source: Source, number: int, raw: bytes, decode: Callable[[bytes], T]) -> T | Broken:
    """One record decoded, or a Broken that says why it cannot be."""
    if too_deep(raw):
        return source.broken(number, f"nested deeper than {MAX_DEPTH} levels", raw)
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        return source.broken(number, str(error) if _is_utf8(raw) else f"not UTF-8: {error}", raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return source.broken(number, f"{_what_is_wrong(raw)}: {error}", raw)


def peek(head: bytes) -> list[dict[str, Any]]:
    """The first few JSON objects that a file's head holds whole: of its lines, or of its array or single object."""
    if head.lstrip()[:1] == b"[":
        whole = _decode_or_none(head)
        return [item for item in whole[:_SNIFFED] if isinstance(item, dict)] if isinstance(whole, list) else []
    lines = [line for line in head.split(b"\n") if line.strip()][: _SNIFFED + 1]
    records = [value for line in lines if isinstance(value := _decode_or_none(line), dict)]
    if not records and _is_document(head):
        text = b"\n".join(line for line in head.split(b"\n") if not line.lstrip().startswith(b"//"))
        records = [value] if isinstance(value := _decode_or_none(text), dict) else []
    return records[:_SNIFFED]


def share(objects: list[dict[str, Any]], fits: Callable[[dict[str, Any]], bool]) -> float:
    """The share of sniffed objects that fit a format; 0 where there are none."""
    return sum(map(fits, objects)) / len(objects) if objects else 0.0


def _is_document(head: bytes) -> bool:
    """Whether a file is one JSON value over many lines rather than one record a line."""
    start = head.lstrip()
    if start[:1] == b"[" or start[:2] == b"//":
        return True
    lines = [line.strip() for line in start.split(b"\n")]
    if start[:1] != b"{" or len(lines) < 2 or _decode_or_none(lines[0]) is not None:
        return False
    # A broken first line of JSONL is followed by another record; a document goes on with a key or a bracket.
    return not lines[1].startswith(b"{")


def _decode_or_none(raw: bytes) -> Any:
    try:
        return None if too_deep(raw) else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _what_is_wrong(raw: bytes) -> str:
    return "not JSON" if _is_utf8(raw) else "not UTF-8"


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
