"""A build is told which kinds of student to try and with which options: by flags, by stepdown.toml, on the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK, write_tickets

BUILD = ("build", TASK, "--budget", "10s", "--against", "agreement", "--margin", "0.05")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    traffic = write_tickets(folder / "calls.jsonl", 700)
    assert stepdown("import", str(traffic), "--home", str(folder)).code == 0
    return folder


def students(home: Path) -> dict[str, dict[str, Any]]:
    """By kind, the options that the newest build trained with; and "asked", what it was asked for."""
    folder = max((home / ".stepdown" / "builds" / TASK).glob("0*"))
    plan = json.loads((folder / "record.json").read_bytes())["plan"]
    return {**{one["kind"]: one["options"] for one in plan["students"]}, "asked": plan.get("asked", {})}


def test_flags_choose_kinds_and_options_which_the_record_and_the_artefact_keep(home: Path) -> None:
    first = stepdown(*BUILD, "--kinds", "linear", "--linear-iterations", "12", "--home", str(home), "--json")
    assert first.code == 0, first.err
    trained = students(home)
    assert trained.keys() == {"linear", "asked"}
    assert trained["linear"]["iterations"] == 12
    assert trained["asked"] == {"kinds": ["linear"], "options": {"linear": {"iterations": 12}}}
    manifests = [json.loads(path.read_bytes()) for path in (home / ".stepdown" / "artefacts").glob("*/manifest.json")]
    assert [one["options"]["iterations"] for one in manifests] == [12]
    other = stepdown(*BUILD, "--kinds", "linear", "--linear-iterations", "13", "--home", str(home), "--json")
    assert other.code in (0, 1), other.err
    assert len(list((home / ".stepdown" / "artefacts").glob("*/manifest.json"))) == 2


def test_settings_choose_too_and_flags_go_before_them(home: Path) -> None:
    (home / "stepdown.toml").write_text(
        f'[tasks.{TASK}]\nkinds = ["linear"]\n[tasks.{TASK}.students.linear]\niterations = 14\nlongest = 4\n'
    )
    assert stepdown(*BUILD, "--linear-iterations", "15", "--home", str(home), "--json").code in (0, 1)
    trained = students(home)
    assert trained.keys() == {"linear", "asked"}
    assert (trained["linear"]["iterations"], trained["linear"]["longest"]) == (15, 4)


def test_a_kind_that_was_asked_for_and_not_trained_is_named_with_the_reason(home: Path) -> None:
    (home / "stepdown.toml").write_text("")
    asked = (*BUILD, "--kinds", "linear,frozen", "--frozen-iterations", "1000000000", "--home", str(home))
    for flags in ((), ("--dry-run",)):
        said = stepdown(*asked, *flags)
        assert said.code in (0, 1), said.err
        assert "Asked for, and not trained: frozen. Training it on " in said.out
        assert said.out.count("not trained") == 1, "of those that were not asked for, nothing"
        (dropped,) = stepdown(*asked, *flags, "--json").json["dropped"]
        assert dropped["kind"] == "frozen"
        assert f"Asked for, and not trained: frozen. {dropped['why'][:40]}" in said.out
    named_none = stepdown(*BUILD, "--frozen-iterations", "1000000000", "--dry-run", "--home", str(home), "--json")
    assert "frozen" in {one["kind"] for one in named_none.json["dropped"]}


@pytest.mark.parametrize(
    ("settings", "flags", "words"),
    [
        ("", ("--kinds", "liner"), "There is no student 'liner'. Known: crf, encoder"),
        ("", ("--kinds", "crf"), "cannot answer a task of the family 'classify'. Expected one of: encoder, frozen"),
        ("", ("--linear-iteration", "5"), "No such option '--linear-iteration'"),
        (
            "",
            ("--linear-iterations", "few"),
            "linear' is given iterations = 'few'. Expected a whole number, at least 1",
        ),
        ("", ("--kinds", "linear", "--frozen-penalty", "1"), "'frozen' is given, which is not among the kinds"),
        ("[tasks.tickets.students.linear]\niteration = 5\n", (), "no option 'iteration'. Known: shortest"),
        ("[tasks.tickets.students.linear]\niterations = 5.5\n", (), "iterations = '5.5'. Expected a whole number"),
        ("[tasks.tickets.students.liner]\niterations = 5\n", (), "no student 'liner'"),
        ('[tasks.tickets]\nkinds = "linear"\n', (), "[tasks.tickets] cannot be read: Expected `array`"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    home: Path, settings: str, flags: tuple[str, ...], words: str
) -> None:
    (home / "stepdown.toml").write_text(settings)
    said = stepdown(*BUILD, *flags, "--home", str(home))
    assert said.code == 2
    assert words in said.err
    assert "fitting" not in said.err
