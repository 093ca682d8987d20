"""How far each segment of captured calls has been taken into the store."""

from __future__ import annotations

from stepdown.stores.dialect import Database


class SegmentTable:
    """The table `segments`. Positions are bytes from a segment's beginning."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def taken(self, segment: str) -> int:
        found = next(self._database.rows("SELECT taken FROM segments WHERE name = ?", (segment,)), None)
        return int(found[0]) if found else 0

    def put(self, segment: str, taken: int) -> None:
        self._database.execute(
            "INSERT INTO segments VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET taken = excluded.taken",
            (segment, taken),
        )

    def forget(self, segment: str) -> None:
        with self._database.transaction():
            self._database.execute("DELETE FROM segments WHERE name = ?", (segment,))
