"""A process that is stopped, killed or out of disk: nothing is lost, nothing is half there, the next run goes on."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from stepdown.core.events import verify_chain
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import LINEAR_ONLY, TASK, write_gold, write_tickets

pytestmark = pytest.mark.slow

BUILD = ("build", TASK, "--budget", "10s", "--json")
# The largest file that the process may write; Python ignores the signal, so that a write fails as on a full disk.
LIMITED = """
import resource, sys
from stepdown.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
main(sys.argv[2:])
"""


def command(arguments: Sequence[str], home: Path) -> list[str]:
    return [sys.executable, "-m", "stepdown", *arguments, "--home", str(home)]


def stopped_at(mark: str, how: signal.Signals, arguments: Sequence[str], home: Path) -> tuple[int, str, str]:
    """Run a command until its progress says `mark`, then send it a signal: (exit code, stdout, stderr)."""
    # A suite that was itself started in the background has Ctrl-C ignored, and would hand that down.
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command(arguments, home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,  # noqa: PLW1509
    )
    assert process.stderr is not None
    assert process.stdout is not None
    said = ""
    while mark not in said and (line := process.stderr.readline()):
        said += line
    assert mark in said, said
    process.send_signal(how)
    out, rest = process.communicate()
    return process.returncode, out, said + rest


def sound(home: Path) -> None:
    """The store is whole, the journal's chain holds, and whatever is published verifies."""
    with sqlite3.connect(home / ".stepdown" / "store.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with open_home(home).store() as store:
        verify_chain(store.events())
        assert sum(1 for _ in store.calls()) == store.count_calls()
    if list(home.glob(".stepdown/builds/*/latest")):
        checked = stepdown("certificate", "verify", TASK, "--home", str(home), "--json")
        assert checked.json["verified"], checked.err


def leftovers(home: Path) -> list[Path]:
    found = [*home.rglob("*.part"), *home.rglob("*.unfinished"), *home.glob(".stepdown/builds/*/work/unfinished/*")]
    return sorted(set(found))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("imported")
    (home / "stepdown.toml").write_text(LINEAR_ONLY)
    tickets, gold = write_tickets(home / "t.jsonl", 300), write_gold(home / "gold.csv", 300)
    assert stepdown("import", str(tickets), "--gold", str(gold), "--home", str(home)).code == 0
    return home


@pytest.fixture
def home(imported: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(imported, copy)
    return copy


def test_an_import_that_is_stopped_or_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    log = str(write_tickets(tmp_path / "t.jsonl", 12_000))
    code, out, err = stopped_at("5,000", signal.SIGINT, ("import", log, "--json"), tmp_path)
    assert code == 130
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    assert err.splitlines()[-1].startswith("stepdown: Stopped.")
    assert "Traceback" not in err
    sound(tmp_path)
    first = stepdown("status", "--home", str(tmp_path), "--json").json["calls"]
    assert 4000 < first < 12_000
    assert stopped_at("10,000", signal.SIGKILL, ("import", log), tmp_path)[0] == -signal.SIGKILL
    sound(tmp_path)
    second = stepdown("status", "--home", str(tmp_path), "--json").json["calls"]
    said = stepdown("import", log, "--home", str(tmp_path), "--json").json["calls"]
    assert first <= second
    assert said == {"new": 12_000 - second, "known": second, "changed": 0}
    sound(tmp_path)


def test_a_build_that_is_stopped_or_killed_leaves_its_students_and_nothing_else(home: Path) -> None:
    code, out, err = stopped_at("curating", signal.SIGINT, BUILD, home)
    assert (code, json.loads(out)["error"]["kind"]) == (130, "Interrupted")
    assert "Traceback" not in err
    for mark in ("fitting", "measuring", "certifying", "recording"):
        assert stopped_at(mark, signal.SIGKILL, BUILD, home)[0] == -signal.SIGKILL
        sound(home)
    students = {path.name for path in (home / ".stepdown" / "artefacts").iterdir()}
    assert len(students) == 1
    done = stepdown(*BUILD, "--home", str(home))
    assert done.code in (0, 1)
    assert done.json["students"], done.err
    assert {path.name for path in (home / ".stepdown" / "artefacts").iterdir()} == students
    record = json.loads(next(home.glob(".stepdown/builds/*/0*/record.json")).read_bytes())
    assert record["plan"]["reused"] == ["linear"]
    # Builds that looked at the same evidence with the same question are one attempt, however often they were killed.
    assert record["certificate"]["attempt"] == 1
    assert leftovers(home) == []
    sound(home)


def test_what_a_killed_build_left_half_written_is_swept(home: Path) -> None:
    builds = home / ".stepdown" / "builds" / TASK
    for folder in ("000000000000001-aaaaaaaa.unfinished", "work/unfinished/0123456789abcdef"):
        (builds / folder).mkdir(parents=True)
        (builds / folder / "manifest.json").write_text("{")
    (builds / "work" / "finished").mkdir()
    for name in ("latest.part", "work/finished/aa.unfinished"):
        (builds / name).write_text("half")
    artefacts = home / ".stepdown" / "artefacts" / (".%s.unfinished" % ("a" * 64))
    artefacts.mkdir(parents=True)
    assert stepdown(*BUILD, "--home", str(home)).json["students"]
    assert leftovers(home) == []


def test_two_builds_of_a_task_at_once_are_one_too_many(home: Path) -> None:
    with open_home(home).building(TASK):
        said = stepdown(*BUILD, "--home", str(home))
    assert (said.code, said.json["error"]["kind"]) == (1, "StoreError")
    assert f"Another build of {TASK!r} is running" in said.err


@pytest.mark.parametrize("limit", [20_000, 200_000])
def test_a_full_disk_in_an_import_loses_nothing(tmp_path: Path, limit: int) -> None:
    log = str(write_tickets(tmp_path / "t.jsonl", 6000))
    limited = [sys.executable, "-c", LIMITED, str(limit), "import", log, "--home", str(tmp_path), "--json"]
    full = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert json.loads(full.stdout)["error"]["kind"] == "ResourceError"
    assert "Free some space" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    said = stepdown("import", log, "--home", str(tmp_path), "--json").json["calls"]
    assert said["new"] + said["known"] == 6000
    sound(tmp_path)


@pytest.mark.parametrize("limit", [0, 5_000, 25_000])
def test_a_full_disk_in_a_build_publishes_nothing_and_the_next_goes_on(home: Path, limit: int) -> None:
    limited = [sys.executable, "-c", LIMITED, str(limit), *BUILD, "--home", str(home)]
    full = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert json.loads(full.stdout)["error"]["kind"] == "ResourceError", full.stderr
    assert not list(home.glob(".stepdown/builds/*/latest"))
    sound(home)
    assert stepdown(*BUILD, "--home", str(home)).json["students"]
    assert leftovers(home) == []
    sound(home)
