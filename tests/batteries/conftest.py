"""A new, empty store of every kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stepdown.core.store import Store
from stepdown.stores.store import open_store, store_kinds


@pytest.fixture(params=store_kinds().names())
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    found = store_kinds().load(request.param).examples()
    if not found:
        pytest.skip(f"no {request.param} server: STEPDOWN_TEST_POSTGRES is not set")
    yield str(found[0])
    if "schema=" in found[0]:
        drop_schema(found[0])


def drop_schema(address: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    server, _, schema = address.rpartition("schema=")
    with psycopg.connect(server.rstrip("?&"), autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = open_store(address)
    yield opened
    opened.close()


@pytest.fixture
def shared_address(address: str) -> str:
    """An address that several connections can open at once."""
    if address.startswith("memory"):
        pytest.skip("a memory store is one connection")
    return address
