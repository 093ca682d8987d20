"""A table whose rows are a hash chain: the journal, and the feedback. Rows are appended and never changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import TamperedError
from stepdown.core.events import Event, next_event
from stepdown.stores.dialect import Database

_COLUMNS = "sequence, at, kind, task, data, previous, digest"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ChainTable:
    """The table of that name: `events` or `feedback`."""

    def __init__(self, database: Database, name: str) -> None:
        self._database, self._name = database, name

    def append(self, kind: str, task: str, data: dict[str, Any], at: float) -> Event:
        """The row that follows the last one, written. Call it inside of `serialised`, so that the chain has no fork."""
        event = next_event(self.last(), at, kind, task, data)
        body = canonical_json(data).decode()
        values = (event.sequence, at, kind, task, body, event.previous, event.digest)
        self._database.execute(f"INSERT INTO {self._name} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
        return event

    def last(self, kind: str | None = None) -> Event | None:
        where = "" if kind is None else " WHERE kind = ?"
        return next(self._rows(f"{where} ORDER BY sequence DESC LIMIT 1", () if kind is None else (kind,)), None)

    def at(self, sequence: int) -> Event | None:
        return next(self._rows(" WHERE sequence = ?", (sequence,)), None)

    def all(self, kind: str | None = None, task: str | None = None, after: int = 0) -> Iterator[Event]:
        """In their order; `after`: only those with a higher sequence. Raises TamperedError for a row that is none.

        The whole table is read, by no index: a damaged one would hide rows that the chain has.
        """
        asked = {"kind || '' = ?": kind, "task || '' = ?": task, "sequence > ?": after or None}
        given = {clause: value for clause, value in asked.items() if value is not None}
        where = " WHERE " + " AND ".join(given) if given else ""
        return self._rows(f"{where} ORDER BY sequence", tuple(given.values()))

    def _rows(self, clause: str, values: tuple[Any, ...]) -> Iterator[Event]:
        for row in self._database.rows(f"SELECT {_COLUMNS} FROM {self._name}{clause}", values):  # noqa: S608
            yield self._event(row)

    def _event(self, row: tuple[Any, ...]) -> Event:
        sequence, at, kind, task, data, previous, sealed = row
        try:
            return msgspec.convert(
                {
                    "sequence": sequence,
                    "at": at,
                    "kind": kind,
                    "task": task,
                    "data": _decode(data),
                    "previous": previous,
                    "digest": sealed,
                },
                Event,
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
            raise TamperedError(
                f"Row {sequence} of the table {self._name!r} in the store cannot be read.",
                "It was written whole and is never changed.",
                "Restore the store from a backup.",
            ) from None
