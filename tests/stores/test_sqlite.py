"""What can befall a file: another program's file, a newer version, a full disk, a process killed while it writes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stepdown.core.calls import Call
from stepdown.core.errors import ResourceError, StoreError
from stepdown.core.store import ServedHour
from stepdown.stores.kinds.sqlite import SqliteDatabase
from stepdown.stores.sql_store import SqlStore
from stepdown.stores.store import open_store

WRITER = """
import itertools, sys
from stepdown.core.calls import Call
from stepdown.stores.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
store.add_calls(Call(id=str(n), request={"n": n}, response=None) for n in itertools.count())
"""


def test_a_killed_writer_leaves_whole_blocks(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path / 'store.sqlite'}"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, address], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    watcher = open_store(address)
    while watcher.count_calls() < 1024:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    count = watcher.count_calls()
    assert count % 512 == 0
    assert sorted(int(call.id) for call in watcher.calls()) == list(range(count))
    watcher.close()


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    database = SqliteDatabase(str(tmp_path / "store.sqlite"))
    store = SqlStore(database)
    store.add_calls([Call(id="first", request={}, response=None)])
    database.execute("PRAGMA max_page_count = 40")
    bulky = (Call(id=str(n), request={"text": f"{n * 7919:x}" * 500}, response=None) for n in range(5000))
    with pytest.raises(ResourceError, match="disk is full"):
        store.add_calls(bulky)
    database.execute("PRAGMA max_page_count = 100000")
    assert next(store.calls()).id == "first"
    assert store.add_calls([Call(id="last", request={}, response=None)]).new == 1


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(StoreError, match="is not a stepdown store"):
        open_store(f"sqlite:{tmp_path / 'store.sqlite'}")


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    open_store(f"sqlite:{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreError, match="version 99"):
        open_store(f"sqlite:{path}")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"sqlite:{tmp_path / 'file' / 'store.sqlite'}")


def test_a_lock_is_said_and_once_it_is_gone_the_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqlStore(SqliteDatabase(str(path), busy_s=0.05))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            with pytest.raises(StoreError, match="in use by another process"):
                store.add_served([ServedHour(hour=1, rung="linear", requests=1)])
        assert list(store.served()) == []
        SqlStore(SqliteDatabase(str(path), busy_s=0.05)).close()  # To open and to read needs no lock.
        other.execute("ROLLBACK")
    store.add_served([ServedHour(hour=1, rung="linear", requests=1)])
    assert [row.requests for row in store.served()] == [1]
    store.close()


def test_a_file_that_vanishes_is_said_and_found_again_when_it_is_back(tmp_path: Path) -> None:
    path, away = tmp_path / "home" / "store.sqlite", tmp_path / "away"
    store = open_store(f"sqlite:{path}")
    store.add_calls([Call(id="first", request={}, response=None)])
    path.parent.rename(away)
    for _ in range(2):
        with pytest.raises(StoreError, match="is gone"):
            store.add_calls([Call(id="lost", request={}, response=None)])
        with pytest.raises(StoreError, match="is gone"):
            list(store.calls())
    away.rename(path.parent)
    assert store.add_calls([Call(id="second", request={}, response=None)]).new == 1
    assert [call.id for call in store.calls()] == ["first", "second"]
    store.close()


def test_a_file_put_in_anothers_place_is_the_one_that_is_used(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = open_store(f"sqlite:{path}")
    store.add_calls([Call(id="old", request={}, response=None)])
    for each in tmp_path.iterdir():
        each.unlink()
    restored = open_store(f"sqlite:{path}")
    restored.add_calls([Call(id="restored", request={}, response=None)])
    assert store.add_calls([Call(id="new", request={}, response=None)]).new == 1
    assert [call.id for call in restored.calls()] == ["restored", "new"]
    store.close()
    restored.close()


def test_a_full_disk_is_over_when_there_is_room(tmp_path: Path) -> None:
    database = SqliteDatabase(str(tmp_path / "store.sqlite"))
    store = SqlStore(database)
    database.execute("PRAGMA max_page_count = 30")
    rows = [ServedHour(hour=hour, task="t" * 900, rung="linear", requests=1) for hour in range(200)]
    with pytest.raises(ResourceError, match="disk is full"):
        store.add_served(rows)
    assert list(store.served()) == []
    database.execute("PRAGMA max_page_count = 100000")
    store.add_served(rows)
    assert len(list(store.served())) == 200
    store.close()


def test_many_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def use() -> None:
        try:
            store = open_store(f"sqlite:{tmp_path / 'store.sqlite'}")
            store.append("opened", "", {}, at=1.0)
            store.close()
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = open_store(f"sqlite:{tmp_path / 'store.sqlite'}")
    assert len(list(store.events())) == 8
    store.close()


def test_a_store_of_the_last_version_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = open_store(f"sqlite:{path}")
    store.add_calls([Call(id="old", request={}, response={"id": "r-old"})])
    store.close()
    with sqlite3.connect(path) as connection:
        for statement in (
            "DROP TABLE keys",
            "DROP TABLE served",
            "DROP TABLE segments",
            "DROP TABLE feedback",
            "DROP INDEX calls_by_response",
            "DROP INDEX calls_by_task",
            "ALTER TABLE calls DROP COLUMN task",
        ):
            connection.execute(statement)
        connection.execute("DROP INDEX calls_by_time")
        connection.execute("ALTER TABLE calls DROP COLUMN response_id")
        connection.execute("ALTER TABLE gold DROP COLUMN basis")
        connection.execute("UPDATE schema_version SET version = 3")
    store = open_store(f"sqlite:{path}")
    assert [call.id for call in store.calls()] == ["old"]
    assert store.call_id_of("r-old") is None
    store.add_calls([Call(id="new", request={}, response={"id": "r-new"})])
    assert store.call_id_of("r-new") == "new"
    store.close()
