"""The build that answers a task, as its owner decides: builds listed, one promoted, the last change rolled back."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from stepdown.core.errors import NotEnoughData, StepdownError, TamperedError
from stepdown.core.store import Store
from stepdown.project.builds import BuildFolder, build_named, find_build, finished_builds, latest, note_serving
from stepdown.project.home import Home
from stepdown.project.in_force import ImportedFrom, changing, chosen, decided, inspect, judged
from stepdown.project.journal import PROMOTED, ROLLED_BACK, Journal, read_journal


class BuildView(msgspec.Struct, frozen=True, kw_only=True):
    """A build of a task. answers: whether it is the one that answers, or would if it were in force. why_not: "" where
    it is in force, else why it is not. can_answer: whether it may be promoted. created_at, expires_at: seconds since
    the epoch; verdict, contract, offload as its certificate has them, empty where that cannot be read."""

    build: str
    created_at: float
    answers: bool
    in_force: bool
    why_not: str
    can_answer: bool
    verdict: str = ""
    certificate: str = ""
    expires_at: float = 0.0
    offload: float = 0.0
    margin: float | None = None
    against: str = ""
    imported: ImportedFrom | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a change. before: the build that answered, "" for none. changed: False where it was the same.
    signed: False where the change waits for a signature of the journal."""

    task: str
    build: str
    certificate: str
    before: str
    changed: bool
    signed: bool = True


def list_builds(home: Home, task: str) -> list[BuildView]:
    """The builds of a task, the newest first; the one that answers is among them although it be gone. Raises
    NotEnoughData where it was never built."""
    with home.store() as store:
        journal = read_journal(home, store)
    answers = chosen_if_there(home, journal, task)
    views = [_view(home, journal, folder, task, answers) for folder in finished_builds(home, task)]
    if not views:
        latest(home, task)  # says what there is instead
    if answers and answers not in {view.build for view in views}:
        views.append(_gone(answers))
    return sorted(views, key=lambda view: view.build, reverse=True)


def promote(home: Home, task: str, name: str) -> Change:
    """Have a build answer its task from now on: by the beginning of its name or of its certificate's digest.

    Raises UsageError for a build that there is not, StepdownError with the reasons for one that may not answer:
    refused, lapsed, for another contract than the settings', not issued by the journal, or not whole.
    """
    folder = find_build(home, task, name)
    with home.store() as store, changing(home, task):
        return _change(home, store, read_journal(home, store), folder, (task, PROMOTED))


def roll_back(home: Home, task: str) -> Change:
    """Have the build answer that did before the last change. Raises NotEnoughData where nothing did, StepdownError
    where that one may not answer any more."""
    if not finished_builds(home, task):
        latest(home, task)  # says what there is instead
    with home.store() as store, changing(home, task):
        journal = read_journal(home, store)
        if journal.why_not:
            raise TamperedError(
                f"Nothing of {task!r} can be rolled back: {journal.why_not}. {journal.detail}",
                "Nothing was changed.",
                "",
            )
        served = journal.served(task)
        if len(served) < 2:
            raise NotEnoughData(
                f"No build of {task!r} answered before the one that does.",
                "A rollback takes the last change back.",
                f"See what can be promoted: stepdown builds {task}",
            )
        return _change(home, store, journal, build_named(home, task, served[-2], "former"), (task, ROLLED_BACK))


def change_sentence(done: Change) -> str:
    """The result of a change in a sentence."""
    if not done.changed:
        return f"The build {done.build} answers {done.task!r} already; nothing was changed."
    before = f" in place of {done.before}" if done.before else ""
    when = "from now on" if done.signed else "once the journal is signed (stepdown audit sign)"
    return f"The build {done.build} answers {done.task!r}{before} {when}."


def _change(home: Home, store: Store, journal: Journal, folder: BuildFolder, action: tuple[str, str]) -> Change:
    (task, kind), name = action, folder.path.name
    own = judged(home, inspect(home, journal, folder, task))
    if own.why_not or own.certificate is None:
        reason = own.why_not if own.error is None else f"{own.why_not}: {own.detail}"
        raise StepdownError(
            f"The build {name} of {task!r} may not answer: {reason.rstrip('.')}.",
            "Nothing was changed.",
            f"See which may: stepdown builds {task}",
        )
    before, digest = chosen_if_there(home, journal, task), own.certificate.digest
    if before == name:
        return Change(task=task, build=name, certificate=digest, before=before, changed=False)
    store.append(kind, task, {"build": name, "certificate": digest, "before": before}, at=home.clock())
    with suppress(StepdownError):  # the journal has it, and decides
        note_serving(home, task, folder)
    signed = journal.signed is None
    return Change(task=task, build=name, certificate=digest, before=before, changed=True, signed=signed)


def chosen_if_there(home: Home, journal: Journal, task: str) -> str:
    """`chosen`, and "" where a file of an earlier version names a build that is gone."""
    try:
        return chosen(home, journal, task)
    except StepdownError:
        return ""


def _view(home: Home, journal: Journal, folder: BuildFolder, task: str, answers: str) -> BuildView:
    inspected = inspect(home, journal, folder, task)
    stands, certificate = decided(home, journal, inspected, task), inspected.certificate
    created = stands.build.partition("-")[0]
    view = BuildView(
        build=stands.build,
        created_at=int(created) / 1000 if created.isdecimal() else 0.0,
        answers=stands.build == answers,
        in_force=stands.in_force,
        why_not=stands.why_not,
        can_answer=judged(home, inspected).in_force,
        imported=stands.imported,
    )
    if certificate is None:
        return view
    return msgspec.structs.replace(
        view,
        verdict=certificate.verdict,
        certificate=certificate.digest,
        expires_at=certificate.expires_at,
        offload=certificate.offload if certificate.verdict == "certified" else 0.0,
        margin=certificate.contract.get("margin"),
        against=certificate.evidence,
    )


def _gone(build: str) -> BuildView:
    return BuildView(build=build, created_at=0.0, answers=True, in_force=False, why_not="it is gone", can_answer=False)
