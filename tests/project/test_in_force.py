"""Which build answers, and why not: every reason by itself, on builds that nothing was trained for."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.project.written_builds import BORN, DAY, SETTINGS, TASK, at, journal_of, project, write_build

from stepdown.core.certificate import Population
from stepdown.core.errors import DifferentAnswersError, NotEnoughData, TamperedError
from stepdown.project.builds import BuildFolder, note_serving
from stepdown.project.home import Home
from stepdown.project.in_force import answering, changing, chosen, inspect, standing, standing_now, standings
from stepdown.runtime.cascade import Cascade, CascadeSpec

NAME = TASK.name


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return project(tmp_path)


def why_not(home: Home, folder: BuildFolder | None = None) -> str:
    journal = journal_of(home)
    return standing(home, journal, folder or answering(home, journal, NAME), NAME).why_not


def test_what_the_journal_issued_is_in_force_with_its_cascade_opened(home: Home) -> None:
    folder = write_build(home)
    found = standing_now(home, NAME)
    assert (found.in_force, found.build, found.complete, found.detail) == (True, folder.path.name, True, "")
    assert found.cascade == Cascade(rungs=())
    assert found.spec == CascadeSpec(task=NAME, rungs=())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"verdict": "refused"}, "the certificate was refused"),
        ({"expires_at": BORN + 1}, "the certificate lapsed on 2027-01-15"),
        ({"issued_at": BORN + 2 * DAY}, "not in force yet; check the clock"),
        ({"population": Population()}, "whose evidence was not drawn; build again"),
        ({"margin": 0.1}, "is for another contract: margin = 0.1; stepdown.toml asks for margin = 0.05"),
        ({"known": False}, "the journal knows no such certificate"),
    ],
    ids=["refused", "lapsed", "not yet", "not drawn", "another contract", "unknown"],
)
def test_a_build_that_is_not_in_force_says_why(home: Home, changes: dict[str, object], why: str) -> None:
    assert why in why_not(home, write_build(home, **changes))


def test_time_and_settings_take_a_certificate_out_of_force(home: Home) -> None:
    write_build(home)
    assert why_not(at(home, BORN + 31 * DAY)) == "the certificate lapsed on 2027-02-14"
    (home.folder / "stepdown.toml").write_text(SETTINGS + "confidence = 0.9\nexpires_after = '7d'\n")
    assert why_not(at(home, BORN + DAY)) == (
        'the certificate is for another contract: confidence = 0.95, expires_after = "30d"; stepdown.toml asks for '
        'confidence = 0.9, expires_after = "7d"'
    )


@pytest.mark.parametrize("name", ["task.json", "cascade.json", "certificate.json", "record.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b"[" * 100_000, None], ids=str)
def test_a_file_may_hold_anything_and_nothing_is_raised(home: Home, name: str, content: bytes | None) -> None:
    folder = write_build(home)
    if content is None:
        (folder.path / name).unlink()
    else:
        (folder.path / name).write_bytes(content)
    found = inspect(home, journal_of(home), folder, NAME)
    assert found.cascade is None
    assert found.damage
    assert found.error is not None or "is not what the journal has" in found.damage
    assert not standing_now(home, NAME).in_force


def test_a_file_that_was_touched_up_is_named(home: Home) -> None:
    folder = write_build(home)
    folder.write(folder.cascade, CascadeSpec(task="another", rungs=()))
    found = standing_now(home, NAME)
    assert found.damage == "cascade.json of the build is not what the journal has"
    assert isinstance(found.error, TamperedError)
    assert "is not the cascade that its certificate names" in found.detail


def test_what_only_people_read_takes_nothing_out_of_force(home: Home) -> None:
    folder = write_build(home)
    folder.report.write_text("<p>somebody tidied this up</p>")
    assert standing_now(home, NAME).in_force


def test_a_build_in_the_folder_of_another_task_answers_nothing(home: Home) -> None:
    folder = write_build(home)
    assert inspect(home, journal_of(home), folder, "another").damage == "the build is of another task"


def test_a_journal_that_is_not_whole_puts_everything_out_of_force(home: Home) -> None:
    write_build(home)
    with sqlite3.connect(home.state / "store.sqlite") as database:
        database.execute("DELETE FROM events")
    assert why_not(home, BuildFolder(next(home.builds(NAME).glob("0*")))) == "the journal is not whole"


def differently(home: Home, spec: CascadeSpec) -> Cascade:
    raise DifferentAnswersError("The student says b where it said a.", "Expected a.", "Build on this machine.")


def broken(home: Home, spec: CascadeSpec) -> Cascade:
    raise ValueError("row 7 of somebody's data")


@pytest.mark.parametrize(
    ("opened", "why", "detail"),
    [
        (differently, "a student answers differently on this machine than where it was built", "says b where it"),
        (broken, "the build cannot be opened", "the build cannot be opened (ValueError)"),
    ],
)
def test_a_student_that_cannot_be_opened_is_said_without_what_a_file_may_hold(
    home: Home, opened: Callable[[Home, CascadeSpec], Cascade], why: str, detail: str
) -> None:
    write_build(home)
    found = standing_now(home, NAME, opened)
    assert found.why_not == why
    assert detail in found.detail
    assert "row 7" not in found.detail


def test_students_stay_closed_where_something_else_speaks_against_a_build(home: Home) -> None:
    assert inspect(home, journal_of(home), write_build(home, verdict="refused"), NAME, broken).error is None


def test_the_last_build_for_the_settings_contract_answers_whatever_came_after(home: Home) -> None:
    first, second = write_build(home), write_build(home, 1)
    refused, what_if = write_build(home, 2, verdict="refused"), write_build(home, 3, margin=0.2)
    assert chosen(home, journal_of(home), NAME) == second.path.name
    assert why_not(home, second) == ""
    assert why_not(home, first) == f"the build {second.path.name} answers in its place"
    assert why_not(home, refused) == "the certificate was refused"
    assert "another contract" in why_not(home, what_if)


def test_a_what_if_does_not_answer_when_the_settings_come_to_ask_for_it(home: Home) -> None:
    what_if = write_build(home, margin=0.2)
    (home.folder / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.2"))
    later = at(home, BORN + DAY)
    assert chosen(later, journal_of(later), NAME) == ""
    assert why_not(later, what_if) == "it was not built for the contract in the settings, and nobody promoted it"


def test_where_no_event_says_which_the_file_does_and_else_the_last_that_was_certified(home: Home) -> None:
    """Journals of earlier versions have neither `serves` nor `before`."""
    folders = [write_build(home, number, known=False) for number in range(3)]
    with home.store() as store:
        for folder in folders[:2]:
            fact = {"certificate": folder.read_certificate().digest, "build": folder.path.name, "verdict": "certified"}
            store.append("built", NAME, fact, at=BORN)
    assert chosen(home, journal_of(home), NAME) == folders[1].path.name
    note_serving(home, NAME, folders[0])
    assert chosen(home, journal_of(home), NAME) == folders[0].path.name


def test_a_build_that_answers_and_is_gone_is_not_replaced_in_silence(home: Home) -> None:
    first, second = write_build(home), write_build(home, 1)
    for path in second.path.iterdir():
        path.unlink()
    second.path.rmdir()
    with pytest.raises(TamperedError, match="is gone"):
        standing_now(home, NAME)
    assert why_not(home, first) == "another build was to answer, and is gone"


def test_several_tasks_are_looked_at_and_those_never_built_left_out(home: Home) -> None:
    folder = write_build(home)
    assert standings(home, [NAME, "never"]).keys() == {NAME}
    found = standings(home, [NAME])[NAME]
    assert (found.in_force, found.build, found.why_not) == (True, folder.path.name, "")
    with pytest.raises(NotEnoughData, match="no finished build"):
        standing_now(home, "never")


def is_held(lock: Path) -> bool:
    with lock.open("rb") as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_one_change_of_what_answers_at_a_time(home: Home) -> None:
    lock = home.builds(NAME) / "serving.lock"
    with changing(home, NAME):
        assert is_held(lock)
    assert not is_held(lock)
