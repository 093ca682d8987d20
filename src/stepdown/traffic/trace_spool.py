"""Calls of traces, wherever in the files their parts stand: joined on disk, and each call once.

The parts of a call may come in any order and in several files: a span, its events, what its trace says of user and
session. They wait in a temporary SQLite file, packed, and not in memory.

One call is often in a trace twice, as the client library and the code around it both write a span. Of a span and one
directly in it, within its time, the inner one is taken; of two that have one answer's id and overlap in time the
earlier; and always the one that has text.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import msgspec
import zstandard

_TABLES = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
CREATE TABLE call (
    trace TEXT, name TEXT, parent TEXT, answer TEXT, begun REAL, ended REAL, has_text INTEGER,
    source INTEGER, line INTEGER, packed BLOB
);
CREATE TABLE other (trace TEXT, name TEXT);
CREATE TABLE note (trace TEXT, name TEXT, has_text INTEGER, source INTEGER, line INTEGER, packed BLOB);
"""
_INDEXES = """
CREATE INDEX note_name ON note (trace, name);
CREATE INDEX other_name ON other (trace, name);
CREATE INDEX call_name ON call (trace, name);
CREATE INDEX call_parent ON call (trace, parent);
CREATE INDEX call_answer ON call (answer, trace);
"""
_MARK_TEXT = """
UPDATE call SET has_text = 1 WHERE has_text = 0 AND EXISTS (
    SELECT 1 FROM note WHERE note.trace = call.trace AND note.name = call.name AND note.has_text
)
"""
# A call is left out where another span is the same call: seen from nearer, or as well and earlier, or with its text.
_CALLS = """
SELECT trace, name, source, line, packed FROM call AS this WHERE NOT EXISTS (
    SELECT 1 FROM call AS inner_one WHERE inner_one.trace = this.trace AND inner_one.parent = this.name
    AND inner_one.name <> this.name AND inner_one.has_text >= this.has_text
    AND inner_one.begun >= this.begun AND inner_one.ended <= this.ended
    AND (inner_one.name <> this.parent OR inner_one.rowid < this.rowid)
) AND NOT EXISTS (
    SELECT 1 FROM call AS outer_one WHERE NOT this.has_text AND outer_one.has_text
    AND outer_one.trace = this.trace AND outer_one.name = this.parent AND outer_one.name <> this.name
    AND this.begun >= outer_one.begun AND this.ended <= outer_one.ended
) AND NOT EXISTS (
    SELECT 1 FROM call AS other WHERE this.answer <> '' AND other.trace = this.trace AND other.answer = this.answer
    AND other.name <> this.name AND other.begun <= this.ended AND this.begun <= other.ended
    AND (other.has_text > this.has_text OR (other.has_text = this.has_text AND other.rowid < this.rowid))
) ORDER BY rowid
"""
_LONELY = """
SELECT trace, name, source, MIN(line) FROM note WHERE name <> '' AND NOT EXISTS (
    SELECT 1 FROM call WHERE call.trace = note.trace AND call.name = note.name
) AND NOT EXISTS (
    SELECT 1 FROM other WHERE other.trace = note.trace AND other.name = note.name
) GROUP BY trace, name ORDER BY MIN(rowid)
"""
_NOTES = "SELECT packed FROM note WHERE trace = ? AND name = ? ORDER BY rowid"


class Span(msgspec.Struct, frozen=True):
    """What tells a call's span apart: its trace, its id, its parent's, the id of the answer; times in seconds, 0 for
    none. "" is an id that nothing says."""

    trace: str
    name: str
    parent: str = ""
    answer: str = ""
    begun: float = 0.0
    ended: float = 0.0


class SpooledCall(msgspec.Struct, frozen=True):
    """A call that is to be read: where it stands (source by its position, line), its value, and the notes to it."""

    source: int
    line: int
    value: Any
    notes: list[Any]
    trace_notes: list[Any]


class TraceSpool:
    """A context: `add` calls and `note` what belongs to one, then read `calls` and `lonely`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stepdown-traces-")
        self._base = sqlite3.connect(os.path.join(self._folder.name, "spool.sqlite"), isolation_level=None)
        self._base.executescript(_TABLES)
        self._base.execute("BEGIN")
        self._pack = zstandard.ZstdCompressor(level=1).compress
        self._unpack = zstandard.ZstdDecompressor().decompress

    def __enter__(self) -> TraceSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()
        self._folder.cleanup()

    def add(self, value: Any, at: tuple[int, int], span: Span, has_text: bool = True) -> None:
        """A call. at: source and line. has_text: whether what was asked stands in it."""
        row = (*msgspec.structs.astuple(span), int(has_text), *at, self._packed(value))
        self._base.execute("INSERT INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def pass_over(self, trace: str, name: str) -> None:
        """Note a span that is not a call, so that its notes are dropped."""
        self._base.execute("INSERT INTO other VALUES (?, ?)", (trace, name))

    def note(self, value: Any, at: tuple[int, int], trace: str, name: str = "", has_text: bool = False) -> None:
        """Note a value for the call of that name, or for every call of the trace."""
        row = (trace, name, int(has_text), *at, self._packed(value))
        self._base.execute("INSERT INTO note VALUES (?, ?, ?, ?, ?, ?)", row)

    def calls(self) -> Iterator[SpooledCall]:
        """Every call once, in the order in which they were added."""
        self._base.executescript(_INDEXES)
        self._base.execute(_MARK_TEXT)
        for trace, name, source, line, packed in self._base.execute(_CALLS):
            notes, of_trace = self._notes(trace, name), self._notes(trace, "") if name else []
            yield SpooledCall(source, line, self._unpacked(packed), notes, of_trace)

    def lonely(self) -> Iterator[tuple[int, int, list[Any]]]:
        """(source, line, notes) where notes name a call that is not here. To be asked after `calls`."""
        for trace, name, source, line in self._base.execute(_LONELY):
            yield source, line, self._notes(trace, name)

    def _notes(self, trace: str, name: str) -> list[Any]:
        return [self._unpacked(packed) for (packed,) in self._base.execute(_NOTES, (trace, name))]

    def _packed(self, value: Any) -> bytes:
        return self._pack(msgspec.json.encode(value))

    def _unpacked(self, packed: bytes) -> Any:
        return msgspec.json.decode(self._unpack(packed))
