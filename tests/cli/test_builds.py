"""What answers a task changes by a certified build of the contract in the settings, by promote and by rollback."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stepdown.build.job import BuildRequest
from stepdown.build.pipeline import build as build_for_real
from stepdown.cli.commands import promote as promote_command
from stepdown.core.errors import NotEnoughData
from stepdown.core.events import Event, next_event
from stepdown.project.home import Home, open_home
from stepdown.project.promote import promote, roll_back
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK
from tests.fixture_cache import KeptFolder
from tests.gateway.serving import SETTINGS, copied, sure


def run(home: Path, *words: str | Path) -> Said:
    return stepdown(*map(str, words), "--home", str(home), "--json")


def build(home: Path, *options: str) -> str:
    """The name of a build that was made with these options."""
    name: str = run(home, "build", TASK, "--kinds", "linear", "--budget", "40s", *options).json["build"]
    return name


def answers(home: Path) -> str:
    (one,) = run(home, "status").json["tasks"]
    name: str = one["build"]
    return name


def folder(home: Path, name: str) -> Path:
    return home / ".stepdown/builds" / TASK / name


@pytest.fixture(scope="module")
def twice(certified: Path, kept_folder: KeptFolder) -> Path:
    """A project with two builds for the contract in the settings, the second of which answers, and two what-ifs."""
    return kept_folder("two-builds-two-what-ifs", build_three_more, certified)


def build_three_more(home: Path, certified: Path) -> None:
    copied(certified, home)
    for options in (("--seed", "1"), ("--margin", "0"), ("--margin", "0.2")):
        build(home, *options)


@pytest.fixture
def home(twice: Path, tmp_path: Path) -> Path:
    shutil.copytree(twice, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def names(home: Path) -> list[str]:
    """The builds, the oldest first."""
    return sorted(one["build"] for one in run(home, "builds", TASK).json)


def test_builds_are_listed_with_the_one_that_answers(home: Path, names: list[str]) -> None:
    found = run(home, "builds", TASK).json
    assert [one["build"] for one in found] == names[::-1]
    assert [one["answers"] for one in found] == [False, False, True, False]
    assert [one["in_force"] for one in found] == [False, False, True, False]
    assert [one["can_answer"] for one in found] == [False, False, True, True]
    what_if, refused, _, first = (one["why_not"] for one in found)
    assert what_if.startswith("the certificate is for another contract: margin = 0.2")
    assert refused == "the certificate was refused"
    assert first == f"the build {names[1]} answers in its place"
    shown = stepdown("builds", TASK, "--home", str(home)).out
    assert f"* {names[1]}" in shown
    assert "can be promoted" in shown


def test_promote_and_rollback(home: Path, names: list[str]) -> None:
    done = run(home, "promote", TASK, names[0])
    assert (done.code, done.json["build"], done.json["before"], done.json["changed"]) == (0, *names[:2], True)
    assert answers(home) == names[0]
    again = run(home, "promote", TASK, names[0])
    assert (again.code, again.json["changed"]) == (0, False)
    back = run(home, "rollback", TASK)
    assert (back.code, back.json["build"], back.json["before"]) == (0, names[1], names[0])
    assert answers(home) == names[1]
    assert run(home, "rollback", TASK).json["build"] == names[0], "what answered before the second build"
    spent = run(home, "rollback", TASK)
    assert (spent.code, spent.json["error"]["kind"]) == (1, "NotEnoughData")
    assert "answered before" in spent.err
    assert answers(home) == names[0]
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        kinds = [row[0] for row in database.execute("SELECT kind FROM events ORDER BY sequence DESC LIMIT 3")]
    assert kinds == ["rolled-back", "rolled-back", "promoted"]
    assert run(home, "audit", "verify").code == 0


def test_a_build_after_a_rollback_can_be_taken_back_too(home: Path, names: list[str]) -> None:
    assert run(home, "rollback", TASK).json["build"] == names[0]
    third = build(home, "--seed", "5")
    if run(home, "status").json["tasks"][0]["build"] == third:  # its share of the evidence may have been too small
        assert run(home, "rollback", TASK).json["build"] == names[0]
    assert answers(home) == names[0]


def test_a_build_is_meant_by_the_beginning_of_its_name_or_certificate(home: Path, names: list[str]) -> None:
    digest = next(one["certificate"] for one in run(home, "builds", TASK).json if one["build"] == names[0])
    assert run(home, "promote", TASK, digest[:10]).json["build"] == names[0]
    common = run(home, "promote", TASK, names[0][:4])
    assert (common.code, common.json["error"]["kind"]) == (2, "UsageError")
    assert all(name in common.err for name in names)
    for unknown in ("nope", "", "../../artefacts", "/etc", "latest", "work", names[0] + "x", "\x1b[2J", "9" * 5000):
        said = run(home, "promote", TASK, unknown)
        assert (said.code, said.json["error"]["kind"]) == (2, "UsageError"), unknown
        assert len(said.err) < 1000
    assert answers(home) == names[0]
    for command in (("promote", "tickts", names[0]), ("rollback", "tickts"), ("builds", "tickts")):
        said = run(home, *command)
        assert (said.code, "Did you mean 'tickets'?" in said.err) == (1, True)
    assert not (home / ".stepdown/builds/tickts").exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def artefact(home: Path, name: str) -> Path:
    (rung,) = json.loads((folder(home, name) / "cascade.json").read_bytes())["rungs"]
    path: Path = home / ".stepdown/artefacts" / rung["artefact"]
    return path


def ask_for_less(home: Path, name: str) -> None:
    (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.1"))


def cut_the_journal(home: Path, name: str) -> None:
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        database.execute("DELETE FROM events WHERE sequence = 2")


HARMS: list[tuple[Callable[[Path, str], object], str]] = [
    (ask_for_less, "another contract: margin = 0.05; stepdown.toml asks for margin = 0.1"),
    (cut_the_journal, "the journal is not whole"),
    (lambda home, name: flip(folder(home, name) / "cascade.json"), "cascade.json of the build is not what the journal"),
    (
        lambda home, name: flip(folder(home, name) / "response-template.json"),
        "response-template.json of the build is not",
    ),
    (lambda home, name: (folder(home, name) / "certificate.json").unlink(), "cannot be read"),
    (lambda home, name: flip(folder(home, name) / "certificate.json"), "cannot be read"),
    (lambda home, name: shutil.rmtree(artefact(home, name)), "cannot be opened"),
    (lambda home, name: flip(artefact(home, name) / "manifest.json"), "cannot be opened"),
]


@pytest.mark.parametrize(("harm", "reason"), HARMS)
def test_what_may_not_answer_is_neither_promoted_nor_rolled_back_to(
    home: Path, names: list[str], harm: Callable[[Path, str], object], reason: str
) -> None:
    harm(home, names[0])
    listed = {one["build"]: one for one in run(home, "builds", TASK).json}
    assert not listed[names[0]]["can_answer"]
    for command in (("promote", TASK, names[0]), ("rollback", TASK)):
        said = run(home, *command)
        assert said.code == 1, command
        assert reason in said.err
        assert "Nothing was changed" in said.err
    assert answers(home) == names[1]


def test_what_lapsed_or_was_refused_is_not_promoted(
    home: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the certificate was refused" in run(home, "promote", TASK, names[2]).err

    def in_two_months(folder: Path) -> Home:
        return replace(open_home(folder), clock=lambda: time.time() + 60 * 86400)

    monkeypatch.setattr(promote_command, "open_home", in_two_months)
    said = run(home, "promote", TASK, names[0])
    assert (said.code, "the certificate lapsed on" in said.err) == (1, True)
    assert answers(home) == names[1]


def test_a_folder_that_the_journal_does_not_know_is_not_promoted(home: Path, names: list[str]) -> None:
    shutil.copytree(folder(home, names[0]), folder(home, "001999999999999-aaaaaaaa"))
    said = run(home, "promote", TASK, "001999999999999-aaaaaaaa")
    assert (said.code, "the journal knows no such certificate" in said.err) == (1, True)
    assert answers(home) == names[1]


def test_the_build_that_answers_is_gone(home: Path, names: list[str]) -> None:
    """It is said wherever it matters; the build before it does not take over by itself, but may be told to."""
    shutil.rmtree(folder(home, names[1]))
    (one,) = run(home, "status").json["tasks"]
    assert (one["in_force"], one["build"]) == (False, names[1])
    assert "gone" in one["stands"]
    assert run(home, "status").code == 1
    gone = {one["build"]: one["why_not"] for one in run(home, "builds", TASK).json}
    assert gone[names[1]] == "it is gone"
    assert run(home, "answer", TASK, sure()[0]).code == 1
    assert run(home, "tasks").json[0]["in_force"] is False
    back = run(home, "rollback", TASK)
    assert (back.code, back.json["build"]) == (0, names[0])
    assert run(home, "answer", TASK, sure()[0]).json["rung"] == "linear"


def test_the_pointers_in_the_folder_decide_nothing(home: Path, names: list[str]) -> None:
    for pointer in ("serving", "latest"):
        for content in (names[0], names[3], "../../../etc", ""):
            (folder(home, pointer)).write_text(content)
            assert answers(home) == names[1]
            assert run(home, "answer", TASK, sure()[0]).json["rung"] == "linear"
    folder(home, "serving").unlink()
    assert answers(home) == names[1]


def test_what_ifs_push_nothing_out(home: Path, names: list[str]) -> None:
    """Old builds are removed; the one that answers and the one before it stay."""
    for seed in range(4):
        assert build(home, "--margin", "0", "--seed", str(seed)) not in names
    there = {one["build"] for one in run(home, "builds", TASK).json}
    assert {names[0], names[1]} < there
    assert answers(home) == names[1]
    assert run(home, "rollback", TASK).json["build"] == names[0]


def test_a_project_of_an_earlier_version_keeps_what_answers(certified: Path, tmp_path: Path) -> None:
    """Its journal does not say which build answers, and it may have no `serving` either."""
    home = copied(certified, tmp_path / "home")
    first = answers(home)
    as_before(home)
    assert answers(home) == first
    folder(home, "serving").unlink()
    second = build(home, "--margin", "0")
    assert answers(home) == first
    assert run(home, "answer", TASK, sure()[0]).json["rung"] == "linear"
    third = build(home, "--seed", "1")
    assert answers(home) == third != second
    assert run(home, "rollback", TASK).json["build"] == first


def as_before(home: Path) -> None:
    """Have the journal say what earlier versions wrote."""
    with open_home(home).store() as store:
        events = list(store.events())
    last: Event | None = None
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        for event in events:
            data = {key: value for key, value in event.data.items() if key not in ("serves", "before")}
            last = next_event(last, event.at, event.kind, event.task, data)
            database.execute(
                "UPDATE events SET data = ?, previous = ?, digest = ? WHERE sequence = ?",
                (json.dumps(data), last.previous, last.digest, event.sequence),
            )
    (home / ".stepdown/journal-head").unlink()


def test_a_what_if_before_any_build_answers_nothing_by_itself(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    copied(certified, home)
    shutil.rmtree(home / ".stepdown")
    calls, gold = home / "calls.jsonl", home / "gold.csv"
    assert run(home, "import", calls, "--gold", gold).code == 0
    made = run(home, "build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", "0.1")
    assert (made.code, made.json["verdict"], made.json["answers"]) == (0, "certified", "")
    (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.1"))
    (one,) = run(home, "status").json["tasks"]
    assert (one["in_force"], "nobody promoted it" in one["stands"]) == (False, True)
    assert run(home, "answer", TASK, sure()[0]).json["rung"] == "incumbent"
    assert run(home, "promote", TASK, made.json["build"]).code == 0
    assert run(home, "answer", TASK, sure()[0]).json["rung"] == "linear"


def test_promotions_at_once_and_while_a_build_runs(home: Path, names: list[str]) -> None:
    """They queue: the journal stays whole, and what answers is what the last of them said."""
    codes: list[int] = []

    def turn(number: int) -> None:
        opened = open_home(home)
        for step in range(6):
            if (number + step) % 3 == 2:
                try:
                    roll_back(opened, TASK)
                except NotEnoughData:  # others have taken it back already
                    codes.append(1)
            else:
                promote(opened, TASK, names[(number + step) % 2])
                codes.append(0)

    # A build holds its own lock for minutes; a promotion does not wait for it.
    with open_home(home).building(TASK):
        threads = [threading.Thread(target=turn, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes
    assert answers(home) in names[:2]
    assert run(home, "status").code == 0
    assert sum(one["answers"] for one in run(home, "builds", TASK).json) == 1


def test_a_refusal_says_what_goes_on_answering(home: Path, names: list[str]) -> None:
    refused = stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", "0", "--home", str(home))
    assert refused.code == 1
    assert f"the build {names[1]} goes on answering" in refused.err
    assert "The incumbent keeps answering" not in refused.err + refused.out


def test_settings_that_change_while_it_builds_decide(home: Path, names: list[str]) -> None:
    """A build certified for what is no longer asked for does not take the place of what answers."""

    def edit(what: str, share: float) -> None:
        if what == "certifying":
            (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.3"))

    _, made = build_for_real(open_home(home), BuildRequest(task=TASK, budget_s=40.0, kinds=("linear",), seed=7), edit)
    assert made.path.name not in names
    assert answers(home) == names[1]


def test_an_old_question_asked_again_once_it_has_lapsed_takes_nobodys_place(home: Path, names: list[str]) -> None:
    """It is answered with the date of then."""
    later = replace(open_home(home), clock=lambda: time.time() + 40 * 86400)
    _, made = build_for_real(
        later, BuildRequest(task=TASK, budget_s=40.0, kinds=("linear",), seed=1), lambda what, share: None
    )
    assert made.path.name not in names
    assert answers(home) == names[1]


def test_a_task_whose_builds_are_all_gone_is_still_named(home: Path, names: list[str]) -> None:
    shutil.rmtree(home / ".stepdown/builds")
    (one,) = run(home, "status").json["tasks"]
    assert (one["task"], one["in_force"], one["build"]) == (TASK, False, names[1])
    assert "not here" in one["stands"]
    assert run(home, "builds", TASK).code == 1
    assert run(home, "rollback", TASK).code == 1
