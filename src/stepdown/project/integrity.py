"""Integrity of a project: its store's rows, its builds' files, and their permissions."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.errors import StepdownError, TamperedError
from stepdown.core.events import Anchor, anchor_of, continue_chain, verify_chain
from stepdown.core.keys import Key
from stepdown.core.store import Store
from stepdown.core.students import Progress
from stepdown.project.builds import BuildFolder, built_tasks, latest
from stepdown.project.home import Home
from stepdown.project.import_traffic import STRANGE, rows_differ
from stepdown.project.in_force import UNSIGNED, answering, issued
from stepdown.project.journal import FEEDBACK, Journal, check_present, read_journal
from stepdown.project.keys import KEY_CREATED, KEY_REVOKED
from stepdown.project.settings import FILE_NAME
from stepdown.runtime.artefact import read_manifest
from stepdown.stores.sql_store import REMEMBERED, TASK_FORGOTTEN

SHOWN_CALLS = 5
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of what was read, and the findings, a sentence each."""

    events: int
    calls: int
    findings: tuple[str, ...]


def check_store(store: Store) -> None:
    """Before anything is learned: the journal is a chain, and gold, verdicts and feedback are what it knows. Raises
    TamperedError."""
    verify_chain(store.events())  # draws and attempts are read from it
    findings = [*_imported(store), *_feedback(store)]
    if findings:
        raise TamperedError(findings[0])


def store_findings(store: Store) -> Iterator[str]:
    """What in the store's rows is not as the journal has it, a sentence each. Calls are left to `check_calls`."""
    for check in (_imported, _feedback, _tasks, _keys):
        yield from _said(lambda check=check: list(check(store)))  # type: ignore[misc]
    for event in store.events(STRANGE):
        yield (
            f"An import found rows in the table {event.data.get('table')!r} that no import had brought (event "
            f"{event.sequence}); what was built since rests on them too."
        )


def build_findings(home: Home, journal: Journal, name: str) -> Iterator[str]:
    """What in a task's builds is not as it was built: of the newest, and of the one that answers."""
    folders: dict[Path, BuildFolder] = {}
    for which in (partial(latest, home), partial(answering, home, journal)):
        try:
            folders.setdefault((build := which(name)).path, build)
        except StepdownError as error:
            yield f"{name}: {error}"
    for folder in folders.values():
        yield from (f"{name}: {finding}" for finding in _said(lambda folder=folder: _of_build(home, journal, folder)))  # type: ignore[misc]


def _of_build(home: Home, journal: Journal, folder: BuildFolder) -> list[str]:
    certificate = folder.read_certificate()
    why_not = issued(journal, folder, certificate).why_not
    # What holds for the whole journal is said once; that nobody has signed yet is no damage.
    findings = [f"{why_not} ({folder.path.name})."] if why_not not in ("", journal.why_not, UNSIGNED) else []
    for event in journal.issued(certificate.task, certificate.digest):
        if event.data.get("build") == folder.path.name:
            findings += [
                f"{one} is not what was built ({folder.path.name})." for one in folder.changed(journal.files(event))
            ]
            break
    folder.read_record()
    spec = folder.read_cascade()
    if spec.digest != certificate.cascade_hash:
        findings.append(f"cascade.json is not what the certificate is for ({folder.path.name}).")
    for rung in spec.rungs:
        read_manifest(home.artefacts / rung.artefact)
    return findings


def _of_artefact(folder: Path) -> list[str]:
    read_manifest(folder)
    return []


def _said(check: Callable[[], list[str]]) -> list[str]:
    """The findings of a check, or its error where something cannot be read."""
    try:
        return check()
    except StepdownError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename} cannot be read: {error.strerror}."]


def _imported(store: Store) -> Iterator[str]:
    for table in rows_differ(store):
        yield (
            f"The table {table!r} of the store is not what the journal has: an import was cut short, or somebody "
            "changed it. Import the same gold or verdicts again, or restore the store from a backup."
        )


def _feedback(store: Store) -> Iterator[str]:
    last = continue_chain(store.feedback(), what="feedback")
    known = anchor_of(last)
    noted = [event.data for event in store.events(FEEDBACK)][-1:]
    for data in noted:
        count, head = int(data.get("events", 0)), str(data.get("head", ""))
        there = head == known.head if count == known.events else _has(store, count, head)
        if not there:
            yield f"The store lacks feedback that the journal knows: piece {count:,} is gone or is another."


def _has(store: Store, count: int, head: str) -> bool:
    return any(event.sequence == count and event.digest == head for event in store.feedback())


def _tasks(store: Store) -> Iterator[str]:
    forgotten = {event.task: event.sequence for event in store.events(TASK_FORGOTTEN)}
    known = {
        event.task: event.data.get("row")
        for event in store.events(REMEMBERED)
        if event.sequence > forgotten.get(event.task, 0)
    }
    tasks = store.tasks()
    for name, row in known.items():
        if name not in tasks or digest_of(tasks[name]) != row:
            yield f"The task {name!r} is not remembered as the journal has it. Run: stepdown tasks"
    for name in tasks.keys() - known.keys() if known or forgotten else ():
        yield f"The journal does not know the remembered task {name!r}. Run: stepdown tasks"


def _keys(store: Store) -> Iterator[str]:
    known = {
        event.data.get("id"): event.data.get("row")
        for kind in (KEY_CREATED, KEY_REVOKED)
        for event in store.events(kind)
    }
    keys: dict[str, Key] = {key.id: key for key in store.keys()}  # noqa: SIM118
    for name, row in known.items():
        # Events of an earlier version do not say how the key was.
        if row is not None and (name not in keys or digest_of(keys[str(name)]) != row):
            yield f"The key {name!r} is not what the journal has. Revoke it: stepdown key revoke {name}"
    for name in keys.keys() - known.keys():
        yield f"The journal does not know the key {name!r}. Revoke it: stepdown key revoke {name}"


def audit(home: Home, anchor: Anchor | None, public_key: str, progress: Progress) -> Audit:
    """Everything there is, read and held against its hash; takes about as long as an import did. Raises StoreError
    where the store cannot be read at all."""
    with home.store() as store:
        progress("the journal and the rows", 0.0)
        journal = read_journal(home, store)
        findings = _said(lambda: _heads(home, store, anchor, public_key))
        findings += store_findings(store)
        for name in built_tasks(home):
            progress(f"the builds of {name}", 0.0)
            findings += build_findings(home, journal, name)
        progress("the students", 0.0)
        for folder in sorted(home.artefacts.glob("*")):
            findings += _said(lambda folder=folder: _of_artefact(folder))  # type: ignore[misc]
        progress("the calls", 0.0)
        damaged = list(store.check_calls())
        findings += [f"{one} is not as it was written." for one in damaged[:SHOWN_CALLS]]
        if len(damaged) > SHOWN_CALLS:
            findings.append(f"{len(damaged) - SHOWN_CALLS:,} more calls are not as they were written.")
        return Audit(events=journal.events, calls=store.count_calls(), findings=tuple(dict.fromkeys(findings)))


def _heads(home: Home, store: Store, anchor: Anchor | None, public_key: str) -> list[str]:
    check_present(home, store, anchor, public_key)
    return []


def readable_by_others(home: Home) -> list[str]:
    """Paths that more than their owner may read or write: what lies in a private folder is private."""
    open_paths = [path for path in (home.folder / FILE_NAME,) if path.exists() and _is_open(path)]
    if home.state.exists() and _is_open(home.state):
        open_paths.append(home.state)
        open_paths += sorted(path for path in home.state.iterdir() if _is_open(path))
    return [str(path.relative_to(home.folder)) for path in open_paths]


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)
