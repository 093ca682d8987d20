"""Calls that a student answered lie beside the incumbent's, and no command takes them for the incumbent's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.cli.conftest import stepdown
from tests.cli.tickets import LINEAR_ONLY, TASK, lines, response, ticket, write_gold

pytestmark = pytest.mark.slow

INCUMBENT, STUDENT = 600, 250


def by_student(number: int, provider: str = "stepdown/linear") -> dict[str, Any]:
    """A dear call whose answer no incumbent ever gave."""
    call = ticket(number)
    answer = {**response({"content": "nonsense"}), "usage": {"prompt_tokens": 10**6, "completion_tokens": 10**6}}
    return {**call, "provider": provider, "response": answer}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "stepdown.toml").write_text(LINEAR_ONLY)
    calls = [ticket(number) for number in range(INCUMBENT)]
    calls += [by_student(number) for number in range(INCUMBENT, INCUMBENT + STUDENT)]
    (tmp_path / "calls.jsonl").write_bytes(lines(calls))
    gold = write_gold(tmp_path / "gold.csv", INCUMBENT + STUDENT)
    said = stepdown("import", str(tmp_path / "calls.jsonl"), "--gold", str(gold), "--home", str(tmp_path), "--json")
    assert said.json["calls"]["new"] == INCUMBENT + STUDENT
    return tmp_path


def test_tasks_count_and_price_the_incumbents_calls_alone(home: Path) -> None:
    (found,) = stepdown("tasks", "--home", str(home), "--json").json
    assert found["calls"] == INCUMBENT
    assert sorted(found["task"]["labels"]) == ["account", "praise", "refund", "shipping"]
    assert found["spend_usd"]["value"] < 0.1
    assert stepdown("status", "--home", str(home), "--json").json["calls"] == INCUMBENT + STUDENT


def test_scan_does_not_see_them(home: Path) -> None:
    said = stepdown("scan", TASK, "--home", str(home), "--json")
    assert said.code == 0, said.err
    assert "nonsense" not in said.out


def test_a_build_learns_from_and_measures_the_incumbents_calls_alone(home: Path) -> None:
    said = stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--home", str(home), "--json")
    assert said.code in (0, 1), said.err
    (folder,) = home.glob(".stepdown/builds/tickets/0*")
    with zstandard.open(folder / "dataset" / "examples.jsonl.zst", "rb") as file:
        kept = file.read()
    assert b'"c5"' in kept
    assert f'"c{INCUMBENT + 5}"'.encode() not in kept
    assert b"nonsense" not in kept
    assert b"nonsense" not in (folder / "record.json").read_bytes()


def test_with_students_calls_alone_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_bytes(lines(by_student(number) for number in range(30)))
    stepdown("import", str(tmp_path / "calls.jsonl"), "--home", str(tmp_path))
    said = stepdown("tasks", "--home", str(tmp_path), "--json")
    assert said.code == 1
    assert "answered by a student" in said.err
