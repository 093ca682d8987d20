"""What differs between the SQL databases we speak to, and nothing else of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Database(Protocol):
    """A connection whose statements use `?` for parameters and these type names: TEXT, INTEGER, REAL, BLOB.

    Raises StoreError (or ResourceError when the disk is full), never a driver's own error. A connection that broke is
    opened anew by the next call.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside happens or nothing does. Writers wait for each other. One inside another is part of it."""

    def serialised(self, table: str) -> AbstractContextManager[None]:
        """A transaction in which nobody else writes `table`."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None: ...

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Streams; safe to write meanwhile, but for rows of the tables that are being read."""

    def has_table(self, name: str) -> bool: ...

    def sync(self) -> None:
        """Have the disk itself hold what was committed, against a loss of power."""

    def damage(self) -> list[str]:
        """Reads the whole database's own structure, and says what in it is damaged."""

    def close(self) -> None: ...
