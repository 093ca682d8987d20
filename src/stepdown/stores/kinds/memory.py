"""A store that keeps nothing: for trying things out, and for tests that need a real one quickly."""

from __future__ import annotations

from stepdown.stores.kinds.sqlite import SqliteDatabase
from stepdown.stores.sql_store import SqlStore

EXTRA = ""


def open(address: str) -> SqlStore:
    """A new, empty store; everything after `memory:` is ignored."""
    return SqlStore(SqliteDatabase(":memory:"))


def examples() -> list[str]:
    return ["memory:"]
