"""Rows of a file that is JSON, JSONL or a table alike, as tools that watch calls export them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from stepdown.core.calls import Broken
from stepdown.traffic.format import ReadOptions
from stepdown.traffic.json_records import Sizes, decoded, peek, records, share
from stepdown.traffic.loose_chat import unpacked
from stepdown.traffic.source import Source
from stepdown.traffic.tables import columns_of, rows

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def sniffed_share(head: bytes, fits: Callable[[dict[str, Any]], bool], wrapper: str = "") -> float:
    """The share of a head's objects that fit; a table counts by its header. wrapper: a key that rows may lie under."""
    objects = peek(head)
    if wrapper and len(objects) == 1 and isinstance(objects[0].get(wrapper), list):
        objects = [item for item in objects[0][wrapper] if isinstance(item, dict)]
    if objects:
        return share(objects, fits)
    first = head.split(b"\n", 1)[0]
    if first.lstrip()[:1] in {b"{", b"["} or b"\0" in first:
        # A first object that is larger than the head is known by its keys, and by no more than them.
        return share([dict.fromkeys(keys)], fits) if (keys := _beginning_keys(head)) else 0.0
    try:
        names = columns_of(first.decode("utf-8"))
    except (UnicodeDecodeError, csv.Error):
        return 0.0
    return float(len(names) > 1 and fits(dict.fromkeys(names)))


def rows_of(source: Source, options: ReadOptions, wrapper: str = "") -> Iterator[tuple[int, dict[str, Any]] | Broken]:
    """(line or record number, row) of every row; of a table's row, texts that are JSON are decoded."""
    if source.head().lstrip()[:1] not in {b"{", b"[", b"/"}:
        for line in rows(source, options.max_line_bytes):
            yield (
                line if isinstance(line, Broken) else (line[0], {key: unpacked(text) for key, text in line[1].items()})
            )
        return
    for item in records(source, Sizes(options.max_line_bytes, options.max_document_bytes)):
        row = item if isinstance(item, Broken) else decoded(source, *item, _decode)
        if isinstance(row, Broken):
            yield row
        elif isinstance(item, tuple):
            inner = row.get(wrapper) if wrapper else None
            if isinstance(inner, list):
                yield from _inner(source, inner)
            else:
                yield item[0], row


def first_of(row: dict[str, Any], *names: str) -> Any:
    """The first of these fields that says anything; None where none does."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def named(row: dict[str, Any], *names: str) -> str:
    """The first of these fields that says anything, as a text; "" where none does."""
    value = first_of(row, *names)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def number(value: Any) -> float | None:
    """A finite number, also where a table has it as text; None for anything else."""
    try:
        parsed = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return parsed if parsed is not None and abs(parsed) < 1e18 else None


def scalars(metadata: Any) -> dict[str, Any]:
    """The fields of somebody's metadata that are one value, by which calls can be told apart."""
    given = unpacked(metadata)
    if not isinstance(given, dict):
        return {}
    return {key: value for key, value in given.items() if isinstance(value, str | int | float) and value != ""}


def _inner(source: Source, values: list[Any]) -> Iterator[tuple[int, dict[str, Any]] | Broken]:
    for place, row in enumerate(values, start=1):
        if isinstance(row, dict):
            yield place, row
        else:
            yield source.broken(place, "not a JSON object", msgspec.json.encode(row))


def _beginning_keys(head: bytes) -> list[str]:
    """The keys, at the top, of a first JSON object that the head does not hold whole: texts that a colon follows."""
    keys: list[str] = []
    depth, at, text, start = 0, 0, head.decode("utf-8", "replace").lstrip(), 0
    base = 2 if text[:1] == "[" else 1
    while at < len(text) and len(keys) < 200:
        char = text[at]
        if char == '"':
            start, at = at + 1, at + 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
            if depth == base and text[at + 1 : at + 4].lstrip()[:1] == ":":
                keys.append(text[start:at])
        depth += (char in "{[") - (char in "}]")
        if char in "}]" and depth < base:
            break
        at += 1
    return keys
