"""What answers a task after a build of it."""

from __future__ import annotations

import msgspec

from stepdown.core.errors import StepdownError
from stepdown.project.builds import BuildFolder, build_named
from stepdown.project.home import Home
from stepdown.project.in_force import OTHER_CONTRACT, Standing, decided, inspect, standing, why_other_contract
from stepdown.project.journal import Journal, read_journal
from stepdown.project.promote import chosen_if_there


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What answers a task after a build. answers: the name of that build, "" for none; in_force: whether it is in
    force. note: the same in words."""

    answers: str
    in_force: bool
    note: str


def outcome(home: Home, task: str, folder: BuildFolder) -> Outcome:
    """What answers a task after a build of it has ended."""
    with home.store() as store:
        journal = read_journal(home, store)
    answers, built = chosen_if_there(home, journal, task), inspect(home, journal, folder, task)
    own = decided(home, journal, built, task)
    if own.in_force:
        return Outcome(answers=own.build, in_force=True, note="It answers from now on.")
    if not answers or answers == own.build:
        return Outcome(
            answers="", in_force=False, note=_set_aside(home, built, task) or f"It does not answer: {own.why_not}."
        )
    stands = _standing_of(home, journal, task, answers)
    if stands:
        changes = f"Nothing has changed: {answers} was to answer before, and is not in force ({stands})."
    else:
        changes = f"Nothing has changed: the build {answers} goes on answering."
    aside = _set_aside(home, built, task)
    return Outcome(answers=answers, in_force=not stands, note=f"{changes} {aside}".strip())


def _standing_of(home: Home, journal: Journal, task: str, build: str) -> str:
    """Why the build that answers is not in force; "" where it is."""
    try:
        return standing(home, journal, build_named(home, task, build), task).why_not
    except StepdownError as error:
        return error.got.rstrip(".")


def _set_aside(home: Home, built: Standing, task: str) -> str:
    """How to promote a certified build whose contract differs from that of the settings; "" for other builds."""
    certificate = built.certificate
    if certificate is None or certificate.verdict != "certified":
        return ""
    other = why_other_contract(home.settings, certificate)
    if not other:
        return ""
    reason = other.removeprefix(OTHER_CONTRACT)
    return (
        f"This certificate will not be served: it is for {reason}. To serve it, write its contract into "
        f"[tasks.{task}.contract], then: stepdown promote {task} {built.build}"
    )
