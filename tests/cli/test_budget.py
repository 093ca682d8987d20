"""A build's budget as a user meets it: what is recorded of the machine and the plan, and the plan carried out again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import stepdown
from tests.cli.tickets import LINEAR_ONLY, TASK, write_gold, write_tickets


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one build, in a folder with a copy of it from before the build."""
    folder = tmp_path_factory.mktemp("budget")
    home = folder / "here"
    home.mkdir()
    (home / "stepdown.toml").write_text(LINEAR_ONLY)
    tickets, gold = write_tickets(folder / "t.jsonl", 300), write_gold(folder / "gold.csv", 300)
    assert stepdown("import", str(tickets), "--gold", str(gold), "--home", str(home)).code == 0
    shutil.copytree(home, folder / "elsewhere")
    assert stepdown("build", TASK, "--budget", "10s", "--home", str(home), "--json").code in (0, 1)
    return folder


def record(home: Path) -> tuple[Path, dict]:
    path = max(home.glob(".stepdown/builds/*/*/record.json"))
    return path, json.loads(path.read_bytes())


def test_the_record_has_the_machine_s_speed_and_what_was_planned(built: Path) -> None:
    _, found = record(built / "here")
    plan = found["plan"]
    assert plan["machine_speed"]["slowness"] > 0
    assert [one["kind"] for one in plan["students"]] == ["linear"]
    assert plan["students"][0]["seconds"] > 0
    assert list((built / "here").rglob("machine-speed/*.json"))


def test_the_plan_in_a_record_gives_the_same_artefact_elsewhere(built: Path) -> None:
    path, here = record(built / "here")
    elsewhere = built / "elsewhere"
    said = stepdown("build", TASK, "--plan", str(path), "--budget", "1s", "--home", str(elsewhere), "--json")
    assert said.code in (0, 1), said.err
    _, there = record(elsewhere)
    assert [one["artefact"] for one in there["students"]] == [one["artefact"] for one in here["students"]]
    assert there["plan"]["students"] == here["plan"]["students"]


def test_a_plan_that_cannot_be_read_is_refused_before_anything_is_trained(built: Path, tmp_path: Path) -> None:
    (tmp_path / "no-plan.json").write_text("{}")
    said = stepdown("build", TASK, "--plan", str(tmp_path / "no-plan.json"), "--home", str(built / "here"))
    assert said.code == 1
    assert "--plan" in said.err
