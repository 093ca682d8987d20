"""Whatever is changed after a build is refused by name; what a certificate does not speak of is not answered."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK, write_gold, write_tickets
from tests.fixture_cache import KeptFolder


@pytest.fixture(scope="module")
def certified(kept_folder: KeptFolder) -> Path:
    """A project folder with a certified cascade for made tickets."""
    return kept_folder("tampered-with", build_tickets)


def build_tickets(home: Path) -> None:
    (home / "stepdown.toml").write_text("[tasks.tickets.contract]\nmargin = 0.1\n")
    tickets, gold = write_tickets(home / "t.jsonl", 500), write_gold(home / "gold.csv", 500)
    stepdown("import", str(tickets), "--gold", str(gold), "--home", str(home))
    built = stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--home", str(home), "--json")
    assert built.code == 0, built.err


@pytest.fixture
def home(certified: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(certified, copy)
    return copy


def build_file(home: Path, name: str) -> Path:
    return next(home.glob(f".stepdown/builds/{TASK}/0*/{name}"))


def artefact(home: Path) -> Path:
    rung = json.loads(build_file(home, "cascade.json").read_bytes())["rungs"][0]
    return home / ".stepdown" / "artefacts" / rung["artefact"]


def largest(home: Path) -> Path:
    return max(artefact(home).glob("*"), key=lambda path: (path.name != "manifest.json", path.stat().st_size))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


VICTIMS: dict[str, Callable[[Path], Path]] = {
    "weights": largest,
    "artefact manifest": lambda home: artefact(home) / "manifest.json",
    "cascade": lambda home: build_file(home, "cascade.json"),
    "certificate": lambda home: build_file(home, "certificate.json"),
}


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("victim", VICTIMS)
def test_no_answer_rests_on_what_was_changed(home: Path, victim: str, harm: Callable[[Path], None]) -> None:
    path = VICTIMS[victim](home)
    harm(path)
    said = stepdown("answer", TASK, "where is my parcel", "--home", str(home), "--json")
    assert said.code == 1
    assert said.json["error"]["exit_code"] == 1
    assert path.name.split(".")[0] in said.err or path.parent.name in said.err
    assert len(said.err.strip().splitlines()) == 1
    checked = stepdown("certificate", "verify", TASK, "--home", str(home), "--json")
    assert (checked.code, checked.json["verified"], len(checked.out.splitlines())) == (1, False, 1)


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("dataset/manifest.json", "dataset"),
        ("dataset/examples.jsonl.zst", "dataset"),
        ("dataset/excluded.jsonl.zst", "dataset"),
        ("evidence.jsonl", "evidence"),
    ],
)
def test_verification_names_what_was_changed(home: Path, name: str, check: str, harm: Callable[[Path], None]) -> None:
    harm(build_file(home, name))
    said = stepdown("certificate", "verify", TASK, "--home", str(home), "--json")
    assert (said.code, said.json["verified"]) == (1, False)
    assert check in said.err.splitlines()[-1]


def test_a_forged_journal_is_found(home: Path) -> None:
    with sqlite3.connect(home / ".stepdown" / "store.sqlite") as database:
        database.execute("UPDATE events SET data = replace(data, '\"new\":500', '\"new\":501')")
    said = stepdown("status", "--home", str(home), "--json")
    assert said.code == 1
    assert "journal" in said.err


def test_a_build_that_points_nowhere_is_said(home: Path) -> None:
    pointer = home / ".stepdown" / "builds" / TASK / "latest"
    for content in (b"\xff\xfe", b"../../../etc", b"", b"x" * 10_000):
        pointer.write_bytes(content)
        for verb in (("certificate", "show", TASK), ("status",)):
            said = stepdown(*verb, "--home", str(home), "--json")
            assert said.code == 1, content
            assert "stepdown build" in said.err
        answered = stepdown("answer", TASK, "where is my parcel", "--home", str(home), "--json")
        assert answered.json["rung"] == "linear", "which build answers is in the journal, not in a file"


def test_a_task_that_was_not_built_names_the_nearest(home: Path) -> None:
    said = stepdown("answer", "tickts", "hello", "--home", str(home))
    assert said.code == 1
    assert "Did you mean 'tickets'?" in said.err


def test_what_no_certificate_speaks_of_is_the_incumbents(home: Path, tmp_path: Path) -> None:
    texts = {"long": "where is my parcel " * 6000, "empty": "", "blank": " \n\t ", "plain": "where is my parcel"}
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": name, "input": text}) + "\n" for name, text in texts.items()))
    said = stepdown("answer", TASK, "--file", str(rows), "--home", str(home), "--json")
    rungs = {row["id"]: row["rung"] for row in map(json.loads, said.out.splitlines())}
    assert rungs == {"long": "incumbent", "empty": "incumbent", "blank": "incumbent", "plain": "linear"}


def test_a_broken_row_to_answer_costs_that_row_alone(home: Path, tmp_path: Path) -> None:
    rows = [b'{"id": 1, "input": "refund"}', b'{"id": 2}', b"\xff", b'{"id": 4, "input": [1]}', b"", b"[" * 5000]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join([*rows, b'{"id": 5, "input": "' + b"x" * 17_000_000 + b'"}', rows[0]]) + b"\n")
    said = stepdown("answer", TASK, "--file", str(path), "--home", str(home), "--json")
    assert [json.loads(line)["id"] for line in said.out.splitlines()] == [1, 1]
    assert said.code == 1
    last = said.err.splitlines()[-1]
    assert last.startswith("stepdown: 5 lines of rows.jsonl could not be read as rows, the first is line 2")
    nothing = stepdown("answer", TASK, "--file", str(tmp_path / "nope"), "--home", str(home), "--json")
    assert (nothing.code, nothing.json["error"]["kind"]) == (1, "InputError")


def test_an_argument_that_is_not_utf_8_is_still_a_text(home: Path) -> None:
    said = stepdown("answer", TASK, "refund \udcff please", "--home", str(home), "--json")
    assert said.code == 0
    assert said.json.keys() == {"id", "answer", "confidence", "rung"}


def test_a_store_of_a_newer_version_or_of_another_program_is_refused(home: Path) -> None:
    path = home / ".stepdown" / "store.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE schema_version SET version = 99")
    for verb in (("status",), ("tasks",), ("build", TASK), ("import", str(home / "t.jsonl"))):
        said = stepdown(*verb, "--home", str(home), "--json")
        assert (said.code, said.json["error"]["kind"]) == (1, "StoreError")
        assert "version 99" in said.err
    path.write_bytes(b"another program's file, " * 500)
    said = stepdown("status", "--home", str(home), "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "StoreError")
