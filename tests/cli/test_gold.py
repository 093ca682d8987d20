"""stepdown gold: listed, and removed by no way that evidence could be chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepdown.core.draw import DRAWN, Draw, pack_keys
from stepdown.core.store import Feedback
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK, label, write_gold, write_tickets
from tests.gateway.serving import copied

COUNT = 30


def run(home: Path, *arguments: str) -> Said:
    return stepdown(*arguments, "--home", str(home), "--json")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found = tmp_path / "home"
    found.mkdir()
    calls, gold = write_tickets(tmp_path / "calls.jsonl", COUNT), write_gold(tmp_path / "gold.csv", 10)
    assert run(found, "import", str(calls), "--gold", str(gold)).code == 0
    return found


def events(home: Path, kind: str) -> list[dict[str, Any]]:
    with open_home(home).store() as store:
        return [event.data for event in store.events(kind)]


def gold(home: Path) -> dict[str, Any]:
    return {row["id"]: row for row in run(home, "gold", "list").json}


def draw(home: Path, *names: str) -> None:
    found = Draw(
        task=TASK,
        scope="traffic",
        unit="call",
        salt="s",
        calls=COUNT,
        units=COUNT,
        first=0.0,
        last=0.0,
        keys=pack_keys(names),
    )
    with open_home(home).store() as store:
        store.append(DRAWN, TASK, msgspec.to_builtins(found), at=1.0)


def tell(home: Path, name: str, value: str) -> None:
    with open_home(home).store() as store:
        store.add_feedback(TASK, Feedback(call=name, kind="gold", value=value, name="desk"), 1.0)


def test_gold_is_listed_with_where_it_comes_from(home: Path) -> None:
    tell(home, "c20", "praise")
    draw(home, "c1")
    found = gold(home)
    assert len(found) == 11
    assert (found["c1"]["task"], found["c1"]["gold"], found["c1"]["drawn"]) == (TASK, label(1), True)
    assert not found["c2"]["drawn"]
    assert found["c2"]["source"].endswith("gold.csv:4")
    assert (found["c20"]["basis"], found["c20"]["source"]) == ("volunteered", "feedback:desk")
    said = stepdown("gold", "list", TASK, "--home", str(home))
    assert said.code == 0
    assert "feedback:desk" in said.out
    assert run(home, "gold", "list", "tickts").code == 2
    assert "Did you mean 'tickets'" in run(home, "gold", "list", "tickts").err


def test_what_is_removed_is_in_the_journal_and_the_store_is_whole(home: Path) -> None:
    tell(home, "c3", "praise")
    tell(home, "c20", "praise")
    done = run(home, "gold", "remove", "c3", "c20", "c4", "--reason", "by mistake")
    assert done.code == 0, done.err
    assert done.json == {"removed": ["c3", "c20", "c4"], "evidence": [], "certificates": {}}
    assert not {"c3", "c4", "c20"} & gold(home).keys()
    (event,) = events(home, "gold-removed")
    assert (event["calls"], event["reason"]) == (["c3", "c20", "c4"], "by mistake")
    status = run(home, "status")
    assert status.code == 0, status.err
    assert status.json["gold"] == 8
    tell(home, "c20", "refund")
    assert gold(home)["c20"]["gold"] == "refund", "what is said later holds"
    assert run(home, "audit", "verify").code in (0, 2)


def test_nothing_goes_where_one_is_not_known(home: Path) -> None:
    said = run(home, "gold", "remove", "c1", "c99")
    assert said.code == 1
    assert "'c99'" in said.err
    assert len(gold(home)) == 10
    assert events(home, "gold-removed") == []
    assert run(home, "gold", "remove").code == 2


def test_the_label_of_a_drawn_call_goes_only_where_that_is_said(home: Path) -> None:
    draw(home, "c1", "c2")
    said = run(home, "gold", "remove", "c5", "c1")
    assert said.code == 2
    assert "--evidence" in said.err
    assert len(gold(home)) == 10
    done = run(home, "gold", "remove", "c5", "c1", "--evidence")
    assert done.json["evidence"] == ["c1"]
    assert events(home, "gold-removed")[0]["evidence"] == ["c1"]


@pytest.mark.parametrize("basis", ["random-sample", "all"])
def test_of_a_random_sample_all_goes_or_nothing(home: Path, tmp_path: Path, basis: str) -> None:
    assert run(home, "import", "--gold", str(tmp_path / "gold.csv"), "--gold-is", basis).code == 0
    said = run(home, "gold", "remove", "c1", "--evidence")
    assert said.code == 2
    assert "no random sample any more" in said.err
    assert len(gold(home)) == 10
    assert run(home, "gold", "remove", *(f"c{number}" for number in range(10)), "--evidence").code == 0
    assert gold(home) == {}


def test_a_row_that_somebody_took_out_by_hand_is_still_noticed(home: Path) -> None:
    with open_home(home).store() as store:
        store.remove_gold(["c1"])
    assert run(home, "gold", "remove", "c2").code == 0
    assert len(events(home, "strange-rows")) == 1


def test_a_certificate_in_force_stands_and_says_what_it_lost(certified: Path, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    drawn = [name for name, row in gold(home).items() if row["drawn"]]
    assert drawn
    done = run(home, "gold", "remove", drawn[0], "--evidence")
    assert done.code == 0, done.err
    assert list(done.json["certificates"]) == [TASK]
    status = run(home, "status")
    assert status.code == 0, status.err
    assert status.json["tasks"][0]["stands"] == ""
    assert any("labels that its certificate rests on were removed" in note for note in status.json["notes"])
    assert run(home, "certificate", "verify", TASK).code == 0
