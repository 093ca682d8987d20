"""The tasks that a gateway serves: what the store knows, what was built, and whether its certificate stands."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stepdown.certificate.hashes import contract_hash
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Privacy, parse_duration
from stepdown.core.errors import DifferentAnswersError, StepdownError
from stepdown.core.family import families
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.curation.personal_data import mask
from stepdown.gateway.cascades import OpenCascade, RungThreads
from stepdown.gateway.departures import recorded_in
from stepdown.gateway.routing import STRICTNESS
from stepdown.gateway.served import ServedTask
from stepdown.loop.answering import open_cascade
from stepdown.loop.certificates import Issued, issued, serving, why_not_in_force
from stepdown.loop.discovery import calls_of, with_settings
from stepdown.loop.home import Home
from stepdown.loop.identity import one_again, twins_of
from stepdown.loop.journal import Journal
from stepdown.loop.manners import SAMPLE, manners_from, thaw
from stepdown.loop.records import LATEST, SERVING, BuildFolder, latest
from stepdown.loop.settings import FILE_NAME, Settings, read_settings

log = logging.getLogger("stepdown.gateway")


class _Standing(NamedTuple):
    """A task's newest build and whether answers may rest on it: why_not is "" where they may, else it may be shown to
    clients. detail: the same for those who run the gateway. complete: whether the journal knows every file of it."""

    folder: BuildFolder | None
    why_not: str
    detail: str = ""
    complete: bool = False


@dataclass(frozen=True)
class _Read:
    """A task's newest build as its files said when they were last read. certificate: None where there is none to read,
    and `standing` then says why. issued: what the journal as it was then says of it."""

    files: tuple[Any, ...]
    standing: _Standing
    certificate: Certificate | None = None
    issued: Issued = field(default_factory=lambda: Issued(""))


@dataclass(frozen=True)
class _Opened:
    """What became of a build when it was opened, so that it is opened once."""

    standing: _Standing
    served: ServedTask


class ServedTasks:
    """Keeps what is open between looks, so that a look costs nothing while nothing has changed.

    The tasks' settings are read again when stepdown.toml changes: a certificate is in force for the contract in them.
    """

    def __init__(self, home: Home, threads: RungThreads) -> None:
        self._home, self._threads = home, threads
        self._settings_file: tuple[int, int, int] | None = None
        self._open: dict[str, _Opened] = {}
        self._read: dict[str, _Read] = {}
        self._seen: object = None
        self._remembered: dict[str, Task] = {}
        self._tasks: dict[str, Task] = {}
        self._journal = Journal(home)

    def look(self, store: Store) -> list[ServedTask] | None:
        """Every task as it is served now; None where nothing has changed since the last look.

        Each task is read for itself: what is wrong with one is said of that one, and the others are served. A task
        whose build cannot be read is still served, by the incumbent or, where nothing may leave, by nobody: to forget
        it would let its requests through as if they were of no task.
        """
        self._read_settings()
        said = self._journal.detail
        self._journal.read(store)
        if self._journal.detail != said:
            log.error("journal_not_whole", extra={"error": self._journal.detail})
        known = self._known(store)
        names = {*known, *self._home.settings.tasks, *self._built_names()}
        standing = {name: self._standing(name) for name in sorted(names)}
        limited: dict[str, set[str]] = {}
        for key in store.keys():  # noqa: SIM118 - a store is no dictionary
            for name in key.tasks:
                limited.setdefault(name, set()).add(key.id)
        seen = (known, standing, self._home.settings.tasks, limited)
        if seen == self._seen:
            return None
        tasks = [self._served(store, name, known.get(name), one) for name, one in standing.items()]
        self._seen = seen
        return [_bounded(store, task, limited[task.name]) if task.name in limited else task for task in tasks]

    def _known(self, store: Store) -> dict[str, Task]:
        """What the store remembers, each task once: where one was found twice, a restart must not serve the twin."""
        known = store.tasks()
        if known != self._remembered:
            self._remembered, self._tasks = known, one_again(known, twins_of(store, known))
        return self._tasks

    def _read_settings(self) -> None:
        """The settings as stepdown.toml has them now; the last that could be read, and an error in the log, while it
        cannot be. What is opened by the settings is opened again."""
        found = _stamp(self._home.folder / FILE_NAME)
        if found == self._settings_file:
            return
        self._settings_file = found
        try:
            settings = read_settings(self._home.folder)
        except StepdownError as error:
            log.error("settings_not_read", extra={"error": str(error)})
            return
        settings = self._as_private(settings)
        if settings.tasks != self._home.settings.tasks:
            self._home = replace(self._home, settings=settings)
            self._open.clear()

    def _as_private(self, settings: Settings) -> Settings:
        """While a gateway runs no task becomes less private: a file that is cut off, empty or gone says nothing, and to
        take it at its word would let out what must stay. Loosening takes a restart."""
        held = {
            name: said
            for name, said in self._home.settings.tasks.items()
            if STRICTNESS.index(said.contract.privacy) > STRICTNESS.index(settings.task(name).contract.privacy)
        }
        if held:
            log.error("privacy_not_loosened", extra={"tasks": sorted(held)})
        return msgspec.structs.replace(settings, tasks={**settings.tasks, **held}) if held else settings

    def _built_names(self) -> Iterator[str]:
        for pointer in (self._home.state / "builds").glob(f"*/{LATEST}"):
            try:
                yield latest(self._home, pointer.parent.name).read_task().name
            except (StepdownError, OSError):
                continue  # Whoever knows its name, the store or the settings, says what is wrong with it.

    def _standing(self, name: str) -> _Standing:
        """Read again only where a file or the journal has changed: with a hundred tasks, a look a second would be most
        of a core."""
        files = _stamps(self._home.builds(name))
        if files:
            files = (*files, contract_hash(self._home.settings.task(name).contract), self._journal.state)
        read = self._read.get(name)
        if read is None or read.files != files or not files:
            read = self._read[name] = self._read_build(name, files)
        if read.certificate is None:
            return read.standing
        why_not = why_not_in_force(self._home, read.certificate, read.issued.why_not)
        return _Standing(read.standing.folder, why_not, complete=read.issued.complete)

    def _read_build(self, name: str, files: tuple[Any, ...]) -> _Read:
        folder = None
        if not (self._home.builds(name) / LATEST).exists():
            return _Read(files, _Standing(None, "not built"))
        try:
            folder = serving(self._home, name)
            if folder.read_task().name != name:
                # The folder is another task's, whose name looks the same on disk.
                return _Read(files, _Standing(None, "not built"))
            certificate = folder.read_certificate()
            said = issued(self._journal, folder, certificate)
            return _Read(files, _Standing(folder, ""), certificate, said)
        except Exception as error:  # noqa: BLE001 a task's outermost boundary: whatever its files hold, others are served
            return _Read(files, _Standing(folder, "the build cannot be read", _described(error)))

    def _served(self, store: Store, name: str, known: Task | None, standing: _Standing) -> ServedTask:
        opened = self._open.get(name)
        if opened is not None and opened.standing == standing and standing.folder is not None:
            return opened.served
        task = known or Task(name=name, family="", match=Match(workload=name))
        if standing.detail:
            log.error("task_not_read", extra={"task": name, "error": standing.detail})
        if standing.folder is None:
            return self._unbuilt(task, standing.why_not)
        try:
            served = self._opened(store, standing.folder, standing)
        except Exception as error:  # noqa: BLE001 a task's outermost boundary: whatever its files hold, others are served
            # The incumbent answers: what cannot be opened whole is not what was certified.
            log.error("task_not_read", extra={"task": name, "error": _described(error)})
            privacy = self._certified_privacy(name, standing.folder)
            served = self._unbuilt(task, standing.why_not or _why_not_opened(error), privacy)
        self._open[name] = _Opened(standing, served)
        return served

    def _certified_privacy(self, name: str, folder: BuildFolder) -> Privacy:
        try:
            certified = str(folder.read_certificate().contract.get("privacy", "any"))
        except Exception:  # noqa: BLE001 as above; the settings say what may leave
            certified = "any"
        return self._privacy(name, certified)

    def _opened(self, store: Store, folder: BuildFolder, standing: _Standing) -> ServedTask:
        certificate = folder.read_certificate()
        built = folder.read_task()
        known = self._tasks.get(built.name)
        if known is not None:
            built = msgspec.structs.replace(built, match=known.match)
        # How requests are recognised may change; how answers are read and written is what was certified.
        task = msgspec.structs.replace(
            with_settings(built, self._home.settings), family=built.family, answer=built.answer
        )
        privacy = self._privacy(task.name, str(certificate.contract.get("privacy", "any")))
        if standing.why_not:
            return self._unbuilt(task, standing.why_not, privacy)
        spec = folder.read_cascade()
        if spec.digest != certificate.cascade_hash:
            return self._unbuilt(task, "the certificate is for another cascade", privacy)
        cascade = open_cascade(self._home, spec)
        family = families().load(task.family)
        record = folder.read_record()
        # The students learned from masked texts where the contract says so, and are shown none other: where the
        # settings say "redact" too, the request is masked before they see it.
        masked = certificate.contract.get("privacy") == "redact" and privacy != "redact"
        # A build of an earlier version has no template that the journal knows: `status` says so.
        manners = thaw(folder.template.read_bytes()) if standing.complete else manners_from(task, store, record)
        if manners is None:
            return self._unbuilt(task, "no recorded answer shows the shape of one", privacy)
        said = self._home.settings.task(task.name)
        return ServedTask(
            task=task,
            family=family,
            privacy=privacy,
            decide=OpenCascade(cascade, self._threads, mask if masked else None),
            why_not="",
            certificate=certificate.digest,
            valid_from=certificate.issued_at,
            valid_until=certificate.expires_at,
            manners=manners,
            student_cost_usd=_per_call(record.cascade.cost_per_1k.value)
            if record.cascade and record.cascade.cost_per_1k
            else 0.0,
            incumbent=said.incumbent,
            cache_s=parse_duration(said.cache) if said.cache else 0.0,
            build=folder.path.name,
            holdback=said.contract.holdback,
        )

    def _unbuilt(self, task: Task, why_not: str = "not built", privacy: Privacy | None = None) -> ServedTask:
        said = self._home.settings.task(task.name)
        task = with_settings(task, self._home.settings)
        return ServedTask(
            task=task,
            family=None,
            privacy=privacy or said.contract.privacy,
            why_not=why_not,
            incumbent=said.incumbent,
            cache_s=parse_duration(said.cache) if said.cache else 0.0,
        )

    def _privacy(self, name: str, certified: str) -> Privacy:
        """The stricter of what was certified and what the settings say now."""
        said = self._home.settings.task(name).contract.privacy
        return max((said, *(one for one in STRICTNESS if one == certified)), key=STRICTNESS.index)


def _bounded(store: Store, task: ServedTask, keys: set[str]) -> ServedTask:
    """The task with what recorded requests asked for, but for those of the keys that this bounds."""
    calls = (call for call in calls_of(store, task.task) if call.client_id not in keys)
    return replace(task, recorded=recorded_in(task.task, itertools.islice(calls, SAMPLE)))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written anew; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _described(error: Exception) -> str:
    """What went wrong, for those who run the gateway: our own errors in their words, others by kind alone, for what
    they say may be out of a file."""
    return str(error) if isinstance(error, StepdownError | OSError) else type(error).__name__


def _why_not_opened(error: Exception) -> str:
    if isinstance(error, DifferentAnswersError):
        return "a student answers differently on this machine than where it was built"
    return "the build cannot be opened"


def _stamps(builds: Path) -> tuple[Any, ...]:
    """What changes when a build is published or its files are touched; empty where there is none."""
    found: list[object] = []
    seen: set[Path] = set()
    for which in (LATEST, SERVING):
        try:
            pointer = builds / which
            folder = BuildFolder(builds / Path(pointer.read_text(encoding="utf-8", errors="replace").strip()).name)
            found += [_stamp(pointer), _stamp(folder.certificate)]
            if folder.path not in seen:
                found += [*_stamps_in(folder.path), *_stamps_in(folder.dataset)]
            seen.add(folder.path)
        except (OSError, ValueError):
            if which == LATEST:
                return ()
    return tuple(found)


def _stamps_in(folder: Path) -> list[tuple[str, int, int, int]]:
    with os.scandir(folder) as entries:
        stamps = [(entry.name, entry.stat()) for entry in entries]
    return sorted((name, one.st_mtime_ns, one.st_size, one.st_ino) for name, one in stamps)


def _per_call(per_1k: float) -> float:
    return per_1k / 1000.0
