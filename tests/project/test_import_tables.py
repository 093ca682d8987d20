"""What an import brings beside calls: gold and verdicts, what cannot be read, and rows that no import brought."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.cli.tickets import TASK, label, ticket, write_gold, write_tickets

from stepdown.core.errors import InputError
from stepdown.core.store import Gold
from stepdown.project.home import Home, open_home
from stepdown.project.import_traffic import (
    IMPORTED,
    SHOWN_BROKEN,
    STRANGE,
    ImportRequest,
    ImportResult,
    import_traffic,
    rows_differ,
)

COUNT = 60


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "stepdown.toml").write_text("")
    return open_home(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(write_tickets(tmp_path / "t.jsonl", COUNT))


@pytest.fixture
def gold(tmp_path: Path) -> str:
    return str(write_gold(tmp_path / "gold.csv", COUNT))


def bring(home: Home, *paths: str, **asked: object) -> ImportResult:
    return import_traffic(home, ImportRequest(paths=paths, **asked), lambda what, share: None)


def test_importing_again_brings_nothing_new_and_says_so(home: Home, log: str, gold: str) -> None:
    first, again = (bring(home, log, gold=[gold]) for _ in range(2))
    assert (first.calls.new, first.gold.new, first.gold_without_call) == (COUNT, COUNT, 0)
    assert (again.calls.new, again.calls.known, again.gold.new, again.gold.known) == (0, COUNT, 0, COUNT)
    assert first.workloads == again.workloads == {TASK: COUNT}
    with home.store() as store:
        assert [event.data["new"] for event in store.events(IMPORTED)] == [COUNT, 0]


def test_gold_may_come_before_its_calls_and_is_counted_until_they_come(home: Home, log: str, gold: str) -> None:
    assert bring(home, gold=[gold]).gold_without_call == COUNT
    found = bring(home, log, gold=[gold])
    assert (found.gold.known, found.gold_without_call) == (COUNT, 0)


@pytest.mark.parametrize("asked", ["random-sample", "all", "volunteered"])
def test_gold_is_kept_with_the_basis_that_was_declared(home: Home, log: str, gold: str, asked: str) -> None:
    assert bring(home, log, gold=[gold], gold_is=asked).gold_is == {asked: COUNT}
    with home.store() as store:
        assert {one.basis for one in store.gold().values()} == {asked}


def test_gold_for_every_call_is_known_for_what_it_is(home: Home, log: str, gold: str) -> None:
    assert bring(home, log, gold=[gold]).gold_is == {"all": COUNT}


def test_calls_that_name_no_workload_get_the_task_that_was_asked_for(home: Home, tmp_path: Path) -> None:
    calls = [{**ticket(number), "workload_id": name} for number, name in enumerate(["", "own", ""])]
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in calls))
    assert bring(home, str(path), task="asked").workloads == {"asked": 2, "own": 1}


def test_what_cannot_be_read_is_kept_aside_with_its_place_and_the_rest_is_taken(
    home: Home, tmp_path: Path, gold: str
) -> None:
    path = tmp_path / "damaged.jsonl"
    lines = [json.dumps(ticket(number)) if number % 3 else "{broken" for number in range(COUNT)]
    path.write_text("\n".join(lines))
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text('{"id": "c1", "loss": 0.5}\n{"id": "c2", "loss": 7}\n')
    found = bring(home, str(path), verdicts=[str(verdicts)])
    assert (found.calls.new, found.verdicts.new, found.broken) == (2 * COUNT // 3, 1, COUNT // 3 + 1)
    assert [one.line for one in found.examples] == [1, 4, 7, 10, 13][:SHOWN_BROKEN]
    with home.store() as store:
        assert sum(1 for _ in store.broken()) == found.broken


def test_a_file_that_is_not_there_brings_nothing(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.jsonl"):
        bring(home, str(tmp_path / "nowhere.jsonl"))
    with home.store() as store:
        assert store.count_calls() == 0


def test_gold_that_no_import_brought_is_noted_before_the_next_one_vouches_for_it(
    home: Home, log: str, gold: str
) -> None:
    bring(home, log, gold=[gold])
    with home.store() as store:
        assert rows_differ(store) == ()
        store.add_gold([Gold(id="c1", gold="slipped in")])
        assert rows_differ(store) == ("gold",)
    bring(home, log)
    with home.store() as store:
        (event,) = store.events(STRANGE)
        assert event.data["table"] == "gold"
        assert rows_differ(store) == (), "the import vouches for what is there, and the journal says what was strange"


def test_an_import_that_was_cut_short_is_seen(home: Home, log: str, gold: str) -> None:
    bring(home, log, gold=[gold])
    with sqlite3.connect(home.state / "store.sqlite") as database:
        database.execute("DELETE FROM gold WHERE id = 'c3'")
    with home.store() as store:
        assert rows_differ(store) == ("gold",)


def test_gold_that_contradicts_what_was_there_is_counted_as_changed(home: Home, log: str, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    rows = [{"id": f"c{number}", "gold": label(number)} for number in range(COUNT)]
    other.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    bring(home, log, gold=[str(other)])
    other.write_bytes(msgspec.json.encode({"id": "c1", "gold": "another"}) + b"\n")
    assert bring(home, gold=[str(other)]).gold.changed == 1
    with home.store() as store:
        assert store.gold()["c1"].gold == "another"
