"""The tasks that a gateway serves: what the store knows, what was built, and whether its certificate stands."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from stepdown.certificate.hashes import contract_hash
from stepdown.core.contract import Privacy, parse_duration
from stepdown.core.errors import NotEnoughData, StepdownError
from stepdown.core.family import families
from stepdown.core.record import BuildRecord
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.curation.personal_data import mask
from stepdown.gateway.cascades import OpenCascade, RungThreads
from stepdown.gateway.request_compatibility import recorded_in
from stepdown.gateway.routing import STRICTNESS
from stepdown.gateway.served import ServedTask
from stepdown.project.builds import BuildFolder, folders_of_tasks, task_in
from stepdown.project.discovery import calls_of, with_settings
from stepdown.project.home import Home
from stepdown.project.in_force import Standing, answering, decided, inspect, open_cascade
from stepdown.project.journal import Journal
from stepdown.project.response_template import SAMPLE, template_from_calls, thaw
from stepdown.project.settings import FILE_NAME, Settings, read_settings
from stepdown.project.task_identity import find_twins, merge_twins, restore_names
from stepdown.runtime.cascade import Cascade, CascadeSpec

log = logging.getLogger("stepdown.gateway")


@dataclass(frozen=True)
class _State:
    """The build that answers a task and whether it does: why_not is "" where it does, else it may be shown to clients.
    detail: the same for those who run the gateway, where there is more to say. cascade: opened, where it does; its
    place in memory tells it from others."""

    folder: BuildFolder | None
    why_not: str
    detail: str = ""
    complete: bool = False
    cascade: Cascade | None = field(default=None, compare=False)
    place: int = 0


@dataclass(frozen=True)
class _Read:
    """The build that answers a task as its files were when they were last read. found: None where there is none to
    read, and `state` then says why. students: the same of the artefacts that the build names."""

    files: tuple[Any, ...]
    state: _State
    found: Standing | None = None
    students: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Opened:
    """What became of a build when it was opened, so that it is opened once."""

    state: _State
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
        self._cascades: dict[str, tuple[tuple[Any, ...], Cascade]] = {}
        self._seen: object = None
        self._remembered: tuple[object, dict[str, Task]] | None = None
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
        states = {name: self._state(name) for name in sorted(names)}
        used = {state.place for state in states.values()}
        self._cascades = {name: one for name, one in self._cascades.items() if id(one[1]) in used}
        limited: dict[str, set[str]] = {}
        for key in store.keys():  # noqa: SIM118 - a store is no dictionary
            for name in key.tasks:
                limited.setdefault(name, set()).add(key.id)
        seen = (known, states, self._home.settings.tasks, limited)
        if seen == self._seen:
            return None
        tasks = [self._served(store, name, known.get(name), one) for name, one in states.items()]
        self._seen = seen
        return [_bounded(store, task, limited[task.name]) if task.name in limited else task for task in tasks]

    def _known(self, store: Store) -> dict[str, Task]:
        """The remembered tasks, each once: where one was found twice, a restart must not serve the twin. Looked at
        again only where a row or the journal has changed."""
        seen = (store.tasks(), self._journal.events)
        if self._remembered is None or self._remembered[0] != seen:
            known = restore_names(seen[0], self._journal.remembered)
            self._remembered = (seen, merge_twins(known, find_twins(store, known)))
        return self._remembered[1]

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
        for folder in folders_of_tasks(self._home):
            if name := task_in(self._home, folder):
                yield name  # Else the store or the settings, which know its name, say what is wrong with it.

    def _state(self, name: str) -> _State:
        """Read again only where a file or the journal has changed: with a hundred tasks, a look a second would be most
        of a core."""
        try:
            folder = answering(self._home, self._journal, name)
            cut = self._home.settings.task(name).contract
            files = (*_stamps(folder), contract_hash(cut), self._journal.state)
        except NotEnoughData:
            return _State(None, "not built")
        except (StepdownError, OSError) as error:
            return _State(None, "the build is not here", str(error))
        read = self._read.get(name)
        if read is None or read.files != files or read.students != self._students(read.found):
            read = self._read[name] = self._read_build(name, folder, files)
        if read.found is None:
            return read.state
        found = decided(self._home, self._journal, read.found, name)
        if found.in_force and found.cascade is None:
            # It was not in force when it was read: its time had not come.
            read = self._read[name] = self._read_build(name, folder, files)
            found = decided(self._home, self._journal, read.found or found, name)
        detail = found.detail if found.error else ""
        cascade = found.cascade if found.in_force else None
        return _State(folder, found.why_not, detail, found.complete, cascade, id(cascade))

    def _read_build(self, name: str, folder: BuildFolder, files: tuple[Any, ...]) -> _Read:
        found = inspect(self._home, self._journal, folder, name, self._cascade)
        if found.certificate is None and found.error is None:
            # The folder is another task's, whose name looks the same on disk.
            return _Read(files, _State(None, "not built"))
        return _Read(files, _State(folder, ""), found, self._students(found))

    def _students(self, found: Standing | None) -> tuple[Any, ...]:
        return _artefact_stamps(self._home, found.spec) if found and found.spec else ()

    def _cascade(self, home: Home, spec: CascadeSpec) -> Cascade:
        """Opened once, and again where a file of a student has changed."""
        stamps = _artefact_stamps(home, spec)
        known = self._cascades.get(spec.digest)
        if known is None or known[0] != stamps:
            known = self._cascades[spec.digest] = (stamps, open_cascade(home, spec))
        return known[1]

    def _served(self, store: Store, name: str, known: Task | None, state: _State) -> ServedTask:
        opened = self._open.get(name)
        if opened is not None and opened.state == state and state.folder is not None:
            return opened.served
        task = known or Task(name=name, family="", match=Match(workload=name))
        if state.detail:
            log.error("task_not_read", extra={"task": name, "error": state.detail})
        if state.folder is None:
            return self._unbuilt(task, state.why_not)
        try:
            served = self._opened(store, state.folder, state)
        except Exception as error:  # noqa: BLE001 a task's outermost boundary: whatever its files hold, others are served
            # The incumbent answers: what cannot be opened whole is not what was certified.
            log.error("task_not_read", extra={"task": name, "error": _described(error)})
            privacy = self._certified_privacy(name, state.folder)
            served = self._unbuilt(task, state.why_not or "the build cannot be opened", privacy)
        self._open[name] = _Opened(state, served)
        return served

    def _certified_privacy(self, name: str, folder: BuildFolder) -> Privacy:
        try:
            certified = str(folder.read_certificate().contract.get("privacy", "any"))
        except Exception:  # noqa: BLE001 as above; the settings say what may leave
            certified = "any"
        return self._privacy(name, certified)

    def _opened(self, store: Store, folder: BuildFolder, state: _State) -> ServedTask:
        certificate = folder.read_certificate()
        built = folder.read_task()
        known = self._known(store).get(built.name)
        if known is not None:
            built = msgspec.structs.replace(built, match=known.match)
        # How requests are recognised may change; how answers are read and written is what was certified.
        task = msgspec.structs.replace(
            with_settings(built, self._home.settings), family=built.family, answer=built.answer
        )
        privacy = self._privacy(task.name, str(certificate.contract.get("privacy", "any")))
        if state.cascade is None:
            return self._unbuilt(task, state.why_not or "the build cannot be opened", privacy)
        family = families().load(task.family)
        record = folder.read_record()
        # The students learned from masked texts where the contract says so, and are shown none other: where the
        # settings say "redact" too, the request is masked before they see it.
        masked = certificate.contract.get("privacy") == "redact" and privacy != "redact"
        # A build of an earlier version has no template that the journal knows: `status` says so.
        template = thaw(folder.template.read_bytes()) if state.complete else template_from_calls(task, store, record)
        if template is None:
            return self._unbuilt(task, "no recorded answer shows the shape of one", privacy)
        said = self._home.settings.task(task.name)
        return ServedTask(
            task=task,
            family=family,
            privacy=privacy,
            decide=OpenCascade(state.cascade, self._threads, mask if masked else None),
            why_not="",
            certificate=certificate.digest,
            valid_from=certificate.issued_at,
            valid_until=certificate.expires_at,
            template=template,
            rung_usd=_rung_usd(folder.read_cascade(), record),
            incumbent=said.incumbent,
            cache_s=parse_duration(said.cache) if said.cache else 0.0,
            build=folder.path.name,
            cascade=certificate.cascade_hash,
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
    recorded = recorded_in(task.task, itertools.islice(calls, SAMPLE))
    if not recorded.models and task.template is not None:  # Of an imported build, whose calls are elsewhere.
        recorded = replace(recorded, models=task.template.models, shapes=task.template.shapes)
    return replace(task, recorded=recorded)


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


def _stamps(folder: BuildFolder) -> tuple[Any, ...]:
    """What changes when another build answers, or its files are touched."""
    return (folder.path.name, *_stamps_in(folder.path), *_stamps_in(folder.dataset))


def _artefact_stamps(home: Home, spec: CascadeSpec) -> tuple[Any, ...]:
    """What changes when a file of a student is touched or goes, or another device is to compute."""
    device = home.settings.machine.device
    return device, *(stamp for rung in spec.rungs for stamp in _stamps_in(home.artefacts / Path(rung.artefact).name))


def _stamps_in(folder: Path) -> list[tuple[str, int, int, int]]:
    try:
        with os.scandir(folder) as entries:
            stamps = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return []
    return sorted((name, one.st_mtime_ns, one.st_size, one.st_ino) for name, one in stamps)


def _rung_usd(spec: CascadeSpec, record: BuildRecord) -> dict[str, float]:
    """USD of an answer of each rung: of its student and of those that are asked before it. As they were measured, a
    rung that was not costs nothing."""
    measured = {one.artefact: one.speed.cost_per_1k.value / 1000.0 for one in record.students}
    costs = itertools.accumulate(measured.get(rung.artefact, 0.0) for rung in spec.rungs)
    return {rung.kind: cost for rung, cost in zip(spec.rungs, costs, strict=True)}
