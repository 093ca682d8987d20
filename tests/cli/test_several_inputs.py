"""A task whose prompt has several inputs, asked by hand: each input by its name, never all as one text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stepdown.project.builds import latest
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK, lines, ticket, write_gold
from tests.fixture_cache import KeptFolder

COUNT = 500


@pytest.fixture(scope="session")
def letters(kept_folder: KeptFolder) -> Path:
    """A project whose certified task has two inputs, with its export in `out`."""
    return kept_folder("letters", build_letters)


def build_letters(home: Path) -> None:
    (home / "stepdown.toml").write_text("[tasks.tickets.contract]\nmargin = 0.1\n")
    calls = []
    for number in range(COUNT):
        call = ticket(number)
        words = call["request"]["messages"][1]["content"]
        call["request"]["messages"][1]["content"] = f"Subject: about {number % 97} things\nBody: {words}"
        calls.append(call)
    (home / "calls.jsonl").write_bytes(lines(calls))
    gold = write_gold(home / "gold.csv", COUNT)
    assert stepdown("import", str(home / "calls.jsonl"), "--gold", str(gold), "--home", str(home)).code == 0
    built = stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--home", str(home), "--json")
    assert built.code == 0, built.err
    exported = stepdown("export", TASK, "--to", str(home / "out"), "--format", "safetensors", "--home", str(home))
    assert exported.code == 0, exported.err


@pytest.fixture
def values(letters: Path) -> dict[str, str]:
    """An input of the task."""
    template = latest(open_home(letters), TASK).read_task().template
    assert template is not None
    assert len(template.slots) == 2
    return dict(zip(template.slots, ("things", "please refund order 7 item 3"), strict=True))


def answer(home: Path, *arguments: str) -> Said:
    return stepdown("answer", TASK, *arguments, "--home", str(home), "--json")


def program(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(home / "out" / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_object_given_as_the_text_is_what_the_same_object_in_a_file_is(
    letters: Path, values: dict[str, str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"id": "1", "input": values}))
    by_text, by_file = answer(letters, json.dumps(values)), answer(letters, "--file", str(rows))
    assert by_text.code == 0, by_text.err
    assert by_text.json == by_file.json
    by_text, by_file = program(letters, "--insist", json.dumps(values)), program(letters, "--insist", "--file", rows)
    assert by_text.returncode == 0, by_text.stderr
    assert json.loads(by_file.stdout) == {"id": "1", **json.loads(by_text.stdout)}


@pytest.mark.parametrize("text", ["please refund order 7", '{"subject": "a"}', "[1]", "{", '{"a": "\\ud800"}'])
def test_any_other_text_is_refused_with_the_form_expected(letters: Path, values: dict[str, str], text: str) -> None:
    form = json.dumps(dict.fromkeys(values, "…"), ensure_ascii=False)
    said = answer(letters, text)
    assert said.code == 2
    assert form in said.json["error"]["message"]
    ran = program(letters, text)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert form in ran.stderr


def test_a_text_with_a_slot_too_many_is_refused(letters: Path, values: dict[str, str]) -> None:
    assert answer(letters, json.dumps({**values, "more": "x"})).code == 2


def test_the_help_of_the_program_names_the_inputs(letters: Path, values: dict[str, str]) -> None:
    shown = " ".join(program(letters, "--help").stdout.split())
    assert f"a JSON object with a text for each of {', '.join(values)}" in shown
