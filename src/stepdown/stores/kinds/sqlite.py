"""SQLite in one file, in write-ahead mode: readers never wait, kill -9 loses no committed block."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stepdown.core.errors import ResourceError, StepdownError, StoreError
from stepdown.stores.sql_store import SqlStore

EXTRA = ""
BUSY_S = 30.0
MEMORY = ":memory:"
_FETCH = 2000


def open(address: str) -> SqlStore:
    """The store in the file after `sqlite:`; `sqlite::memory:` keeps nothing."""
    return SqlStore(SqliteDatabase(address.split(":", 1)[1]))


def examples() -> list[str]:
    return [f"sqlite:{Path(tempfile.mkdtemp(prefix='stepdown-')) / 'store.sqlite'}"]


class SqliteDatabase:
    """See stores.dialect.Database. busy_s: how long to wait for another process's lock.

    A file that was deleted or put in another's place is noticed, for SQLite would go on writing into the one that no
    longer has a name; when there is a file again, it is opened.
    """

    def __init__(self, path: str, busy_s: float = BUSY_S) -> None:
        self._path, self._busy_s = path, busy_s
        with self._translated():
            if path != MEMORY:
                Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not Path(path).exists():  # its owner's alone, and so are its -wal and -shm
                    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = self._connected()
            self._file = self._file_now()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._translated():
            if self._in_transaction():
                yield
                return
            self._look()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # Ctrl-C included: what was begun is undone. A full disk may have rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def serialised(self, table: str) -> Iterator[None]:
        # BEGIN IMMEDIATE already admits one writer. An event of the journal is on the disk when this ends: heads of it
        # that are kept elsewhere must not be younger than it after the power failed.
        durable = table == "events"
        with self._translated():
            if durable:
                self._connection.execute("PRAGMA synchronous = FULL")
            try:
                with self.transaction():
                    yield
            finally:
                if durable:
                    self._connection.execute("PRAGMA synchronous = NORMAL")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        with self._translated():
            self._connection.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._translated():
            self._connection.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        with self._translated():
            if not self._connection.in_transaction:
                self._look()
            cursor = self._connection.execute(sql, values)
            while found := cursor.fetchmany(_FETCH):
                yield from found

    def has_table(self, name: str) -> bool:
        found = self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
        return next(found, None) is not None

    def sync(self) -> None:
        """In write-ahead mode a commit is not synced (it survives any process); the log is one file, so syncing it once
        is enough for all commits before."""
        if self._path != MEMORY:
            with self._translated(), suppress(FileNotFoundError), Path(f"{self._path}-wal").open("rb") as written:
                os.fdatasync(written.fileno())

    def damage(self) -> list[str]:
        found = [str(said) for (said,) in self.rows("PRAGMA integrity_check(5)")]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        self._connection.close()

    def _in_transaction(self) -> bool:
        return self._connection.in_transaction

    def _connected(self) -> sqlite3.Connection:
        if self._is_sealed():
            # Write-ahead mode needs files beside this one, although it only be read.
            address = f"file:{quote(os.path.abspath(self._path))}?mode=ro&immutable=1"
            return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        connection = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _is_sealed(self) -> bool:
        """Whether this is a copy that can only be read, with nothing waiting in its log: nobody can change it."""
        if self._path == MEMORY or os.access(Path(self._path).parent, os.W_OK):
            return False
        log = Path(f"{self._path}-wal")
        return not log.exists() or log.stat().st_size == 0

    def _file_now(self) -> tuple[int, int]:
        if self._path == MEMORY:
            return (0, 0)
        found = os.stat(self._path)
        return (found.st_dev, found.st_ino)

    def _look(self) -> None:
        """Raises StoreError where the file is gone; opens the one that is in its place now."""
        try:
            now = self._file_now()
        except FileNotFoundError:
            raise StoreError(
                f"The store {self._path} is gone.", "It was there when it was opened.", "Put it back, or start anew."
            ) from None
        if now != self._file:
            connection = self._connected()
            self._connection.close()
            self._connection, self._file = connection, now

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StepdownError:
            raise
        except OSError as error:
            raise StoreError(
                f"The store {self._path} cannot be opened: {error.strerror or error}.",
                "Expected a folder that can be written.",
                "Check its permissions, or choose another with --home.",
            ) from None
        except sqlite3.Error as error:
            raise _explained(self._path, error) from None


def _explained(path: str, error: sqlite3.Error) -> StepdownError:
    if "full" in str(error) or "disk I/O" in str(error):
        got = "The disk is full" if "full" in str(error) else "The disk does not take what is written"
        return ResourceError(
            f"{got}: the store {path} could not be written.",
            "What was committed before is safe.",
            "Free some space and run the same command again; it goes on where it stopped.",
        )
    if "locked" in str(error) or "busy" in str(error):
        return StoreError(
            f"The store {path} is in use by another process.",
            "It was not let go in time.",
            "Let the other stepdown command end, then try again.",
        )
    if "readonly" in str(error):
        return StoreError(
            f"The store {path} can only be read: its folder may not be written.",
            "",
            "Copy the project to where it can be written, or change the folder's permissions.",
        )
    if "malformed" in str(error) or "not a database" in str(error):
        return StoreError(
            f"{path} is not a stepdown store ({error}).",
            "Expected an SQLite file that stepdown made.",
            "Restore it from a backup, or move it away and import again.",
        )
    return StoreError(f"The store {path} failed: {error}.", "", "Check the disk and the file's permissions.")
