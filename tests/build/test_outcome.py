"""What a build that has ended says it changed, on builds that nothing was trained for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.project.written_builds import SETTINGS, TASK, project, write_build

from stepdown.build.outcome import outcome
from stepdown.project.home import Home

NAME = TASK.name


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return project(tmp_path)


def test_a_certified_build_for_the_settings_contract_answers_from_now_on(home: Home) -> None:
    write_build(home)
    newest = write_build(home, 1)
    found = outcome(home, NAME, newest)
    assert (found.answers, found.in_force, found.note) == (newest.path.name, True, "It answers from now on.")


def test_a_refusal_with_nothing_before_it_answers_nothing(home: Home) -> None:
    found = outcome(home, NAME, write_build(home, verdict="refused"))
    assert (found.answers, found.in_force) == ("", False)
    assert found.note == "It does not answer: the certificate was refused."


def test_a_refusal_changes_nothing_of_what_answered_before(home: Home) -> None:
    before = write_build(home).path.name
    found = outcome(home, NAME, write_build(home, 1, verdict="refused"))
    assert (found.answers, found.in_force) == (before, True)
    assert found.note == f"Nothing has changed: the build {before} goes on answering."


@pytest.mark.parametrize("is_first", [True, False])
def test_a_what_if_says_how_it_could_be_served(home: Home, is_first: bool) -> None:
    before = "" if is_first else write_build(home).path.name
    what_if = write_build(home, 1, margin=0.2)
    found = outcome(home, NAME, what_if)
    assert (found.answers, found.in_force) == (before, not is_first)
    assert found.note.endswith(
        "This certificate will not be served: it is for margin = 0.2; stepdown.toml asks for margin = 0.05. To serve "
        "it, write its contract into [tasks.tickets.contract], then: "
        f"stepdown promote tickets {what_if.path.name}"
    )
    assert found.note.startswith(f"Nothing has changed: the build {before} goes on" if before else "This certificate")


def test_what_was_to_answer_and_is_not_in_force_is_said_with_its_reason(home: Home) -> None:
    before = write_build(home)
    before.record.write_bytes(b"{}")
    refused = write_build(home, 1, verdict="refused")
    found = outcome(home, NAME, refused)
    assert not found.in_force
    assert f"{before.path.name} was to answer before, and is not in force (record.json of the build" in found.note
    shutil.rmtree(before.path)
    assert "is gone" in outcome(home, NAME, refused).note


def test_a_build_whose_contract_the_settings_left_while_it_ran_does_not_answer(home: Home) -> None:
    built = write_build(home)
    (home.folder / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.01"))
    found = outcome(project(home.folder, SETTINGS.replace("0.05", "0.01")), NAME, built)
    assert (found.answers, found.in_force) == ("", False)
    assert "it is for margin = 0.05; stepdown.toml asks for margin = 0.01" in found.note
