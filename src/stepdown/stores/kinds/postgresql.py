"""PostgreSQL, for more than one machine: the same tables and the same code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepdown.core.errors import ResourceError, StoreError, needs
from stepdown.stores.sql_store import SqlStore

if TYPE_CHECKING:
    import psycopg

EXTRA = "postgres"
LOCK_S = 30.0
_FETCH = 2000
# A server that is out of reach must not hold whoever writes for the quarter of an hour that TCP would.
_PATIENCE: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
_TYPES = {" BLOB": " BYTEA", " INTEGER": " BIGINT", " REAL": " DOUBLE PRECISION"}


def open(address: str) -> SqlStore:
    """The store at a `postgresql://` URL; `?schema=NAME` puts the tables in a schema of their own."""
    return SqlStore(PostgresDatabase(address))


def examples() -> list[str]:
    """A schema of its own on the server that STEPDOWN_TEST_POSTGRES names, where it is set."""
    server = os.environ.get("STEPDOWN_TEST_POSTGRES")
    if not server:
        return []
    joint = "&" if "?" in server else "?"
    return [f"{server}{joint}schema=stepdown_test_{os.getpid()}_{os.urandom(4).hex()}"]


class PostgresDatabase:
    """See stores.dialect.Database. Reads use a connection of their own, so that writing meanwhile is safe.

    A connection that the server or the network ended while it was idle is opened anew by whoever uses it next; what was
    under way when it ended fails with StoreError, and was not done.
    """

    def __init__(self, address: str) -> None:
        self._address, self._schema = _split_schema(address)
        self._writer = self._connect()
        self._reader: psycopg.Connection[tuple[Any, ...]] | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._translated(), ExitStack() as stack:
            self._writer = self._begun(self._writer, stack)
            yield

    @contextmanager
    def serialised(self, table: str) -> Iterator[None]:
        with self.transaction():
            self._writer.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        with self._translated():
            self._writer.execute(_translate(sql), values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._translated(), self._writer.cursor() as cursor:
            cursor.executemany(_translate(sql), rows)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        with self._translated():
            if self._in_transaction():
                yield from self._writer.execute(_translate(sql), values).fetchall()
                return
            with ExitStack() as stack:
                reader = self._reader = self._begun(self._reader, stack)
                cursor = stack.enter_context(reader.cursor(f"read_{os.urandom(6).hex()}"))
                cursor.itersize = _FETCH
                cursor.execute(_translate(sql), values)
                yield from cursor

    def has_table(self, name: str) -> bool:
        sql = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = ? AND tablename = ?"
        return next(self.rows(sql, (self._schema, name)), None) is not None

    def sync(self) -> None:
        """The server syncs every commit."""

    def damage(self) -> list[str]:
        return []  # The server has its own checksums and tools.

    def close(self) -> None:
        self._writer.close()
        if self._reader is not None:
            self._reader.close()

    def _in_transaction(self) -> bool:
        from psycopg.pq import TransactionStatus

        # Of a broken connection the status is unknown: it is in none, and there is another to read with.
        return self._writer.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    def _begun(
        self, connection: psycopg.Connection[tuple[Any, ...]] | None, stack: ExitStack
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """The connection, or a new one in its place, in a transaction that ends with the stack."""
        import psycopg

        if connection is not None and not connection.closed:
            try:
                stack.enter_context(connection.transaction())
                return connection
            except psycopg.OperationalError:
                # Only when it is used does a connection show that the other side has gone.
                if not connection.closed:
                    raise
        connection = self._connect()
        stack.enter_context(connection.transaction())
        return connection

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        with needs(EXTRA, "A PostgreSQL store"):
            import psycopg
        with self._translated():
            said = psycopg.conninfo.conninfo_to_dict(self._address)
            connection = psycopg.connect(self._address, autocommit=True, **{**_PATIENCE, **_only(said, _PATIENCE)})
            try:
                self._enter_schema(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _enter_schema(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        known = connection.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self._schema,))
        if known.fetchone() is None:
            connection.execute("SELECT pg_advisory_lock(7307)")
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"')
            connection.execute("SELECT pg_advisory_unlock(7307)")
        connection.execute(f"SET search_path TO \"{self._schema}\"; SET lock_timeout TO '{LOCK_S:.0f}s'")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.errors.DiskFull:
            raise ResourceError(
                "The PostgreSQL server's disk is full.", "", "Free space there and try again."
            ) from None
        except psycopg.errors.LockNotAvailable:
            raise StoreError(
                "The PostgreSQL store is in use by another process.",
                f"Waited {LOCK_S:.0f} s for it.",
                "Let the other stepdown command end, then try again.",
            ) from None
        except psycopg.Error as error:
            place = urlsplit(self._address).hostname or "the local socket"
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreError(
                f"The PostgreSQL store on {place} failed: {first}.",
                "Expected a server that answers and a user that may create tables.",
                "Check the address, the user and that the server runs.",
            ) from None


def _only(said: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: said[name] for name in names if name in said}


def _translate(sql: str) -> str:
    if sql.startswith("CREATE TABLE"):
        for ours, theirs in _TYPES.items():
            sql = sql.replace(ours, theirs)
    return sql.replace("?", "%s")


def _split_schema(address: str) -> tuple[str, str]:
    """The address without our own `schema` parameter, and the schema ("stepdown" when none is named)."""
    head, _, query = address.partition("?")
    given = [pair for pair in query.split("&") if pair]
    names = [pair.removeprefix("schema=") for pair in given if pair.startswith("schema=")]
    rest = "&".join(pair for pair in given if not pair.startswith("schema="))
    schema = names[-1] if names else "stepdown"
    if not schema.replace("_", "").isalnum():
        raise StoreError(f"{schema!r} is not a schema name.", "Expected letters, digits and _.", "Change the address.")
    return (f"{head}?{rest}" if rest else head), schema
