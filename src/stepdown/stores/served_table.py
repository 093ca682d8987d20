"""What the gateways served: sums by hour, task, key and rung, to which any number of processes add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from stepdown.core.store import ServedHour
from stepdown.stores.dialect import Database

_COLUMNS = ServedHour.__struct_fields__
_NAMES = 4
_SUMS = ", ".join(f"{name} = served.{name} + excluded.{name}" for name in _COLUMNS[_NAMES:])
_ADD = (
    f"INSERT INTO served ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    f" ON CONFLICT (hour, task, key, rung) DO UPDATE SET {_SUMS}"
)
_LAST_HOUR = 1 << 40
_TOTALS = ", ".join(f"SUM({name})" for name in _COLUMNS[_NAMES:])
_SUM = f"SELECT task, key, {_TOTALS} FROM served WHERE hour >= ? AND hour < ? GROUP BY task, key ORDER BY task, key"  # noqa: S608
_READ = f"SELECT {', '.join(_COLUMNS)} FROM served WHERE hour >= ? ORDER BY hour, task, key, rung"  # noqa: S608


class ServedTable:
    """The table `served`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Iterable[ServedHour]) -> None:
        """Add to what is there, all rows or none."""
        # In one order everywhere: two processes that lock the same rows in two orders would wait for each other.
        values = sorted(msgspec.structs.astuple(row) for row in rows)
        if values:
            with self._database.transaction():
                self._database.execute_many(_ADD, values)

    def since(self, hour: int | None) -> Iterator[ServedHour]:
        for row in self._database.rows(_READ, (0 if hour is None else hour,)):
            yield ServedHour(**dict(zip(_COLUMNS, row, strict=True)))

    def sums(self, since: int, until: int | None) -> Iterator[ServedHour]:
        # Summed by the database: a month has too many rows to read every other second.
        hours = (since, _LAST_HOUR if until is None else until)
        for task, key, *sums in self._database.rows(_SUM, hours):
            requests, prompt, completion, *usd_and_time = sums
            counts = (int(requests), int(prompt), int(completion))
            yield ServedHour(**dict(zip(_COLUMNS, (since, task, key, "", *counts, *usd_and_time), strict=True)))
