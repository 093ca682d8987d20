"""CSV as people keep it: quoted line breaks, a delimiter to be guessed, damaged rows in the middle."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator

from stepdown.core.calls import Broken
from stepdown.traffic.source import Source

_DELIMITERS = ",;\t|"


def columns_of(header: str) -> list[str]:
    """The column names in a header line. Raises csv.Error."""
    return next(csv.reader([header.strip()], delimiter=delimiter_of(header)), [])


def delimiter_of(header: str) -> str:
    """The delimiter that splits a header into the most columns."""
    return max(_DELIMITERS, key=header.count)


def rows(source: Source, limit: int) -> Iterator[tuple[int, dict[str, str]] | Broken]:
    """(line number, row by column name) for every row below the header; Broken for a row that does not fit it.

    limit: the most bytes that one row may have. A quote that is never closed costs only its own line.
    """
    # The csv module's own bound is for the whole process; ours is stricter than any that we set here.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    header: list[str] | None = None
    reported = False
    delimiter = ","
    for item in _whole_rows(source, limit):
        if isinstance(item, Broken):
            reported = True
            yield item
            continue
        number, raw = item
        try:
            text = raw.decode("utf-8")
            if header is None:
                delimiter = delimiter_of(text)
                header = columns_of(text)
                continue
            reported = True
            fields = next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except UnicodeDecodeError as error:
            reported = True
            yield source.broken(number, f"not UTF-8: {error.reason} at byte {error.start}", raw)
            continue
        except csv.Error as error:
            reported = True
            yield source.broken(number, f"not CSV: {error}", raw)
            continue
        if len(fields) == len(header):
            yield number, dict(zip(header, fields, strict=True))
        else:
            yield source.broken(number, f"{len(fields)} fields where the header has {len(header)}", raw)
    if not reported:
        yield source.broken(0, "empty: a header at most, and no rows")


def _whole_rows(source: Source, limit: int) -> Iterator[tuple[int, bytes] | Broken]:
    """Lines joined where a quoted field runs over line ends: a row is whole when its quotes are even in number."""
    waiting: list[tuple[int, bytes]] = []
    odd, size = False, 0
    for item in source.lines(limit):
        if isinstance(item, Broken):
            yield from _given_up(source, waiting)
            waiting, odd, size = [], False, 0
            yield item
            continue
        if not waiting and item[1].count(b'"') % 2 == 0:
            yield item
            continue
        waiting.append(item)
        odd ^= item[1].count(b'"') % 2 == 1
        size += len(item[1])
        if not odd:
            yield _joined(waiting)
        elif size > limit:
            yield from _given_up(source, waiting)
        else:
            continue
        waiting, odd, size = [], False, 0
    yield from _given_up(source, waiting)


def _joined(lines: list[tuple[int, bytes]]) -> tuple[int, bytes]:
    # Blank lines inside a quoted field were passed over; their number tells how many there were.
    parts = [lines[0][1]]
    for (before, _), (number, line) in itertools.pairwise(lines):
        parts.append(b"\n" * (number - before) + line)
    return lines[0][0], b"".join(parts)


def _given_up(source: Source, waiting: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes] | Broken]:
    """The first line is the one with the open quote; those after it stand for themselves."""
    if waiting:
        yield source.broken(waiting[0][0], "a quote is opened and never closed", waiting[0][1])
        yield from waiting[1:]
