"""Builds listed, promoted and rolled back, on builds that nothing was trained for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.project.written_builds import BORN, DAY, TASK, at, journal_of, project, write_build

from stepdown.core.errors import NotEnoughData, StepdownError, TamperedError, UsageError
from stepdown.project.home import Home
from stepdown.project.in_force import chosen
from stepdown.project.journal import PROMOTED, ROLLED_BACK
from stepdown.project.promote import change_sentence, list_builds, promote, roll_back

NAME = TASK.name


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return project(tmp_path)


def answers(home: Home) -> str:
    return chosen(home, journal_of(home), NAME)


def changes(home: Home) -> list[str]:
    with home.store() as store:
        return [event.kind for event in store.events() if event.kind in (PROMOTED, ROLLED_BACK)]


def test_builds_are_listed_the_newest_first_with_what_each_may(home: Home) -> None:
    first, second = write_build(home), write_build(home, 1)
    refused, what_if = write_build(home, 2, verdict="refused"), write_build(home, 3, margin=0.2)
    found = list_builds(home, NAME)
    assert [one.build for one in found] == [folder.path.name for folder in (what_if, refused, second, first)]
    assert [one.answers for one in found] == [False, False, True, False]
    assert [one.in_force for one in found] == [False, False, True, False]
    assert [one.can_answer for one in found] == [False, False, True, True]
    assert [one.margin for one in found] == [0.2, 0.05, 0.05, 0.05]
    assert found[1].offload == 0.0, "a refusal saves nothing"
    assert found[3].created_at == BORN
    assert found[3].certificate == first.read_certificate().digest


def test_a_build_whose_files_cannot_be_read_is_listed_with_the_reason(home: Home) -> None:
    folder = write_build(home)
    folder.certificate.write_bytes(b"garbage")
    (found,) = list_builds(home, NAME)
    assert (found.build, found.in_force, found.verdict, found.margin) == (folder.path.name, False, "", None)
    assert found.why_not == "the build cannot be read"


def test_a_build_that_answers_and_is_gone_stays_in_the_list(home: Home) -> None:
    write_build(home)
    second = write_build(home, 1)
    shutil.rmtree(second.path)
    newest, _ = list_builds(home, NAME)
    assert (newest.build, newest.answers, newest.why_not) == (second.path.name, True, "it is gone")


def test_promoting_and_rolling_back_are_events_that_undo_each_other(home: Home) -> None:
    first, second, third = (write_build(home, number) for number in range(3))
    done = promote(home, NAME, first.path.name)
    assert (done.build, done.before, done.changed) == (first.path.name, third.path.name, True)
    assert change_sentence(done) == (
        f"The build {first.path.name} answers 'tickets' in place of {third.path.name} from now on."
    )
    assert answers(home) == first.path.name
    assert roll_back(home, NAME).build == third.path.name
    assert roll_back(home, NAME).build == second.path.name
    assert answers(home) == second.path.name
    assert changes(home) == [PROMOTED, ROLLED_BACK, ROLLED_BACK]


def test_promoting_what_answers_changes_nothing(home: Home) -> None:
    folder = write_build(home)
    done = promote(home, NAME, folder.read_certificate().digest[:12])
    assert not done.changed
    assert change_sentence(done) == f"The build {folder.path.name} answers 'tickets' already; nothing was changed."
    assert changes(home) == []


@pytest.mark.parametrize(
    ("build", "now", "why"),
    [
        ({"verdict": "refused"}, BORN + DAY, "the certificate was refused"),
        ({"margin": 0.2}, BORN + DAY, "another contract: margin = 0.2"),
        ({"known": False}, BORN + DAY, "the journal knows no such certificate"),
        ({}, BORN + 31 * DAY, "the certificate lapsed"),
    ],
    ids=["refused", "another contract", "unknown", "lapsed"],
)
def test_what_may_not_answer_is_not_promoted(home: Home, build: dict[str, object], now: float, why: str) -> None:
    folder = write_build(home, **build)
    before = write_build(home, 1)
    with pytest.raises(StepdownError, match=f"{folder.path.name} of 'tickets' may not answer: .*{why}") as refused:
        promote(at(home, now), NAME, folder.path.name)
    assert "Nothing was changed." in str(refused.value)
    assert (answers(home), changes(home)) == (before.path.name, [])


def test_a_build_that_was_changed_is_not_promoted(home: Home) -> None:
    folder = write_build(home)
    write_build(home, 1)
    folder.record.write_bytes(folder.record.read_bytes() + b" ")
    with pytest.raises(StepdownError, match="record.json of the build is not what the journal has"):
        promote(home, NAME, folder.path.name)


def test_a_build_is_named_so_that_one_alone_is_meant(home: Home) -> None:
    folder = write_build(home)
    write_build(home, 1)
    with pytest.raises(UsageError, match="2 builds of 'tickets' begin with '0018'"):
        promote(home, NAME, "0018")
    with pytest.raises(UsageError, match=f"no build 'x'.*There are: {folder.path.name}"):
        promote(home, NAME, "x")
    with pytest.raises(NotEnoughData, match="Did you mean 'tickets'"):
        promote(home, "tickts", "0")


def test_there_is_nothing_to_roll_back_to_before_the_second_build(home: Home) -> None:
    with pytest.raises(NotEnoughData, match="no finished build"):
        roll_back(home, NAME)
    write_build(home)
    with pytest.raises(NotEnoughData, match="No build of 'tickets' answered before"):
        roll_back(home, NAME)


def test_a_former_build_that_is_gone_is_not_rolled_back_to(home: Home) -> None:
    first = write_build(home)
    second = write_build(home, 1)
    shutil.rmtree(first.path)
    with pytest.raises(TamperedError, match="The former build of 'tickets'"):
        roll_back(home, NAME)
    assert answers(home) == second.path.name
