"""What can befall a server: it ends connections, restarts, or cannot be reached. STEPDOWN_TEST_POSTGRES names one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from stepdown.core.calls import Call
from stepdown.core.errors import StoreError
from stepdown.core.store import Added, ServedHour, Store
from stepdown.stores.kinds import postgresql
from stepdown.stores.store import open_store

psycopg = pytest.importorskip("psycopg")


def calls(count: int, start: int = 0) -> list[Call]:
    return [Call(id=f"c{number:06d}", request={}, response=None) for number in range(start, start + count)]


@pytest.fixture
def address() -> Iterator[str]:
    found = postgresql.examples()
    if not found:
        pytest.skip("STEPDOWN_TEST_POSTGRES is not set")
    # Its own name, so that only this test's connections are ended.
    name = found[0].rpartition("schema=")[2]
    yield f"{found[0]}&application_name={name}"
    with server(found[0]) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = open_store(address)
    yield opened
    opened.close()


def server(address: str) -> Any:
    return psycopg.connect(address.partition("?")[0], autocommit=True)


def end_connections(address: str) -> int:
    """As a restart of the server would."""
    name = address.rpartition("application_name=")[2]
    with server(address) as connection:
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        return len(connection.execute(sql, (name,)).fetchall())


def test_idle_connections_that_were_ended_are_opened_anew(store: Store, address: str) -> None:
    store.add_calls(calls(3))
    assert store.count_calls() == 3
    assert end_connections(address) == 2
    assert store.add_calls(calls(5)) == Added(new=2, known=3)
    assert end_connections(address) >= 1
    assert len(list(store.calls())) == 5
    assert end_connections(address) >= 1
    store.append("kind", "", {}, at=1.0)
    store.add_served([ServedHour(hour=1, rung="linear", requests=1)])
    assert len(list(store.events())) == 1


def test_an_import_whose_connection_ends_between_blocks_goes_on(store: Store, address: str) -> None:
    def ending() -> Iterator[Call]:
        yield from calls(600)
        end_connections(address)
        yield from calls(600, start=600)

    assert store.add_calls(ending()).new == 1200


def test_a_reading_that_is_cut_off_says_so_and_can_be_done_again(store: Store, address: str) -> None:
    store.add_calls(calls(5000))

    def read() -> int:
        reading = store.calls()
        next(reading)
        end_connections(address)
        return 1 + sum(1 for _ in reading)

    with pytest.raises(StoreError, match="PostgreSQL store on"):
        read()
    assert len(list(store.calls())) == 5000


def test_a_transaction_that_is_cut_off_leaves_nothing(address: str) -> None:
    database = postgresql.PostgresDatabase(address)
    with database.transaction():
        database.execute("CREATE TABLE one (n INTEGER NOT NULL)")

    def cut_off() -> None:
        with database.transaction():
            database.execute("INSERT INTO one VALUES (?)", (1,))
            end_connections(address)
            database.execute("INSERT INTO one VALUES (?)", (2,))

    with pytest.raises(StoreError):
        cut_off()
    assert list(database.rows("SELECT n FROM one")) == []
    with database.transaction():
        database.execute("INSERT INTO one VALUES (?)", (3,))
        assert list(database.rows("SELECT n FROM one")) == [(3,)]
    database.close()


def test_a_server_out_of_reach_is_said_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match="PostgreSQL store on 127.0.0.1 failed") as refused:
            open_store(f"postgresql://someone:hunter2@127.0.0.1:{port}/db")
    assert "hunter2" not in str(refused.value)
