"""What can befall a file: another program's file, a newer version, a full disk, a process killed while it writes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepdown.core.calls import Call
from stepdown.core.errors import ResourceError, StoreError
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
