"""The tasks that a gateway serves: what the store knows, what was built, and whether its certificate stands."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from stepdown.loop.certificates import is_issued, serving, why_not_in_force
from stepdown.loop.discovery import calls_of, with_settings
from stepdown.loop.home import Home
from stepdown.loop.manners import manners_of
from stepdown.loop.records import LATEST, SERVING, BuildFolder, latest
from stepdown.loop.settings import FILE_NAME, read_settings

log = logging.getLogger("stepdown.gateway")

SAMPLE = 300


class _Standing(NamedTuple):
    """A task's newest build and whether answers may rest on it: why_not is "" where they may, else it may be shown to
    clients. detail: the same for those who run the gateway."""

    folder: BuildFolder | None
    why_not: str
    detail: str = ""


@dataclass(frozen=True)
class _Read:
    """A task's newest build as its files said when they were last read. certificate: None where there is none to read,
    and `standing` then says why. issued: whether the journal knows it."""

    files: tuple[Any, ...]
    standing: _Standing
    certificate: Certificate | None = None
    issued: bool = False


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

    def look(self, store: Store) -> list[ServedTask] | None:
        """Every task as it is served now; None where nothing has changed since the last look.

        A task whose build cannot be read is still served, by the incumbent or, where nothing may leave, by nobody: to
        forget it would let its requests through as if they were of no task.
        """
        self._read_settings()
        known = store.tasks()
        names = {*known, *self._home.settings.tasks, *self._built_names()}
        standing = {name: self._standing(store, name) for name in sorted(names)}
        limited: dict[str, set[str]] = {}
        for key in store.keys():  # noqa: SIM118 - a store is no dictionary
            for name in key.tasks:
                limited.setdefault(name, set()).add(key.name)
        seen = (known, standing, self._home.settings.tasks, limited)
        if seen == self._seen:
            return None
        tasks = [self._served(store, name, known.get(name), one) for name, one in standing.items()]
        self._seen = seen
        return [_bounded(store, task, limited[task.name]) if task.name in limited else task for task in tasks]

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
        if settings.tasks != self._home.settings.tasks:
            self._home = replace(self._home, settings=settings)
            self._open.clear()

    def _built_names(self) -> Iterator[str]:
        for pointer in (self._home.state / "builds").glob(f"*/{LATEST}"):
            try:
                yield latest(self._home, pointer.parent.name).read_task().name
            except (StepdownError, OSError):
                continue  # Whoever knows its name, the store or the settings, says what is wrong with it.

    def _standing(self, store: Store, name: str) -> _Standing:
        """Read again only where a file has changed: with a hundred tasks, a look a second would be most of a core."""
        files = _stamps(self._home.builds(name))
        if files:
            files = (*files, contract_hash(self._home.settings.task(name).contract))
        read = self._read.get(name)
        if read is None or read.files != files or not files:
            read = self._read[name] = self._read_build(name, files)
        certificate, issued = read.certificate, read.issued
        if certificate is None:
            return read.standing
        if not issued:
            issued = read.standing.folder is not None and is_issued(store, read.standing.folder, certificate.digest)
            self._read[name] = replace(read, issued=issued)
        return _Standing(read.standing.folder, why_not_in_force(self._home, certificate, issued))

    def _read_build(self, name: str, files: tuple[Any, ...]) -> _Read:
        folder = None
        if not (self._home.builds(name) / LATEST).exists():
            return _Read(files, _Standing(None, "not built"))
        try:
            folder = serving(self._home, name)
            if folder.read_task().name != name:
                # The folder is another task's, whose name looks the same on disk.
                return _Read(files, _Standing(None, "not built"))
            return _Read(files, _Standing(folder, ""), folder.read_certificate())
        except (StepdownError, OSError) as error:
            return _Read(files, _Standing(folder, "the build cannot be read", str(error)))

    def _served(self, store: Store, name: str, known: Task | None, standing: _Standing) -> ServedTask:
        opened = self._open.get(name)
        if opened is not None and opened.standing == standing and standing.folder is not None:
            return opened.served
        task = known or Task(name=name, family="", match=Match(workload=name))
        if standing.detail:
            log.error("build_unreadable", extra={"task": name, "error": standing.detail})
        if standing.folder is None:
            return self._unbuilt(task, standing.why_not)
        try:
            served = self._opened(store, standing.folder, standing.why_not)
        except (StepdownError, OSError) as error:
            # The incumbent answers: what cannot be opened whole is not what was certified.
            log.error("cascade_not_opened", extra={"task": name, "error": str(error)})
            privacy = self._certified_privacy(name, standing.folder)
            served = self._unbuilt(task, standing.why_not or _why_not_opened(error), privacy)
        self._open[name] = _Opened(standing, served)
        return served

    def _certified_privacy(self, name: str, folder: BuildFolder) -> Privacy:
        try:
            certified = str(folder.read_certificate().contract.get("privacy", "any"))
        except (StepdownError, OSError):
            certified = "any"
        return self._privacy(name, certified)

    def _opened(self, store: Store, folder: BuildFolder, why_not: str) -> ServedTask:
        certificate = folder.read_certificate()
        built = folder.read_task()
        # How requests are recognised may change; how answers are read and written is what was certified.
        task = msgspec.structs.replace(
            with_settings(built, self._home.settings), family=built.family, answer=built.answer
        )
        privacy = self._privacy(task.name, str(certificate.contract.get("privacy", "any")))
        if why_not:
            return self._unbuilt(task, why_not, privacy)
        spec = folder.read_cascade()
        if spec.digest != certificate.cascade_hash:
            return self._unbuilt(task, "the certificate is for another cascade", privacy)
        cascade = open_cascade(self._home, spec)
        family = families().load(task.family)
        record = folder.read_record()
        # The students learned from masked texts where the contract says so, and are shown none other: where the
        # settings say "redact" too, the request is masked before they see it.
        masked = certificate.contract.get("privacy") == "redact" and privacy != "redact"
        manners = manners_of(task, itertools.islice(calls_of(store, task), SAMPLE), record)
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


def _why_not_opened(error: Exception) -> str:
    if isinstance(error, DifferentAnswersError):
        return "a student answers differently on this machine than where it was built"
    return "the build cannot be opened"


def _stamps(builds: Path) -> tuple[Any, ...]:
    """What changes when a build is published or its files are touched; empty where there is none."""
    found: list[tuple[int, int, int]] = []
    for which in (LATEST, SERVING):
        try:
            pointer = builds / which
            folder = BuildFolder(builds / Path(pointer.read_text(encoding="utf-8", errors="replace").strip()).name)
            stamps = [file.stat() for file in (pointer, folder.certificate, folder.task)]
        except (OSError, ValueError):
            if which == LATEST:
                return ()
            continue
        found += [(one.st_mtime_ns, one.st_size, one.st_ino) for one in stamps]
    return tuple(found)


def _per_call(per_1k: float) -> float:
    return per_1k / 1000.0
