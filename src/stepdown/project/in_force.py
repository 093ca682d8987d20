"""Which build answers a task, and whether its certificate is in force: for status, gateway, reports and exports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stepdown.certificate.hashes import contract_hash, contract_table, read_contract
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract, duration_text
from stepdown.core.errors import DifferentAnswersError, NotEnoughData, StepdownError, TamperedError
from stepdown.core.events import Event
from stepdown.project.builds import SERVING, SHOWN_ONLY, BuildFolder, build_named, finished_builds, latest, pointed_at
from stepdown.project.home import Home, make_folder, open_private
from stepdown.project.journal import IMPORTED, Journal, read_journal
from stepdown.project.settings import FILE_NAME, Settings
from stepdown.runtime.artefact import open_cascade as open_rungs
from stepdown.runtime.cascade import Cascade, CascadeSpec

UNSIGNED = "the journal is not signed up to this certificate; run stepdown audit sign"
OTHER_CONTRACT = "the certificate is for another contract: "


class ImportedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """That a build came from another project, whose journal issued the certificate: this one has its word alone.

    at: when it was imported, in seconds since the epoch. issued_at, event, head: when that journal entered the build,
    as which of its events, and the hash of the journal up to it. attempt: on the evidence, as that journal counts.
    """

    at: float
    issued_at: float
    event: int
    head: str
    attempt: int

    def __str__(self) -> str:
        when, issued = (time.strftime("%Y-%m-%d", time.gmtime(each)) for each in (self.at, self.issued_at))
        return (
            f"imported on {when}: another project's journal issued it on {issued} (event {self.event:,}, hash "
            f"{self.head[:16]}…, attempt {self.attempt}); this project did not see its evidence drawn"
        )


Open = Callable[[Home, CascadeSpec], Cascade]


@dataclass(frozen=True)
class Standing:
    """A build, and whether answers may rest on it.

    why_not: "" where they may, else why not, as a client may be told; detail: the same for those who run the project.
    certificate, spec: None where they cannot be read. cascade: opened, where nothing spoke against it, else None.
    complete: whether the journal knows every file of the build. damage: why_not as far as it is files and journal.
    error: what was raised where a file is not what it was. imported: where it comes from, if from another project.
    """

    folder: BuildFolder
    why_not: str = ""
    certificate: Certificate | None = None
    spec: CascadeSpec | None = None
    cascade: Cascade | None = None
    complete: bool = False
    damage: str = ""
    error: Exception | None = None
    imported: ImportedFrom | None = None

    @property
    def in_force(self) -> bool:
        return not self.why_not

    @property
    def build(self) -> str:
        return self.folder.path.name

    @property
    def detail(self) -> str:
        """Our own errors in their words, others by kind alone, for what they say may be out of a file."""
        if self.error is None:
            return self.why_not
        if isinstance(self.error, StepdownError | OSError):
            return str(self.error)
        return f"{self.why_not or self.damage} ({type(self.error).__name__})"


def open_cascade(home: Home, spec: CascadeSpec, threads: int = 1) -> Cascade:
    """A cascade with its students opened on the device in the settings. Raises TamperedError naming what changed;
    DifferentAnswersError where a student answers differently on this machine than where it was built."""
    rungs = ((rung, home.artefacts / rung.artefact) for rung in spec.rungs)
    return open_rungs(rungs, threads, home.settings.machine.device)


def chosen(home: Home, journal: Journal, task: str) -> str:
    """The name of the build that answers a task by the journal: the last that was certified for the contract in the
    settings of when it was built, that was promoted, or rolled back to. "" where none ever was.

    So a build that is refused, waits for labels or tries another contract changes nothing. Journals of earlier versions
    do not say it: then it is the build that the file `serving` names, else the last that was certified.
    """
    served = journal.served(task)
    if served:
        return served[-1]
    if (home.builds(task) / SERVING).exists():
        return pointed_at(home, task, SERVING).path.name
    certified = [build for build in journal.certified(task) if not journal.was_set_aside(task, build)]
    there = [folder.path.name for folder in finished_builds(home, task)]
    return next((name for name in reversed(there) if name in certified), "")


def answering(home: Home, journal: Journal, task: str) -> BuildFolder:
    """The build that answers a task, or would if it were in force; the newest where none ever did, which says why.
    Raises NotEnoughData where there is none, TamperedError where it is gone."""
    name = chosen(home, journal, task)
    return build_named(home, task, name) if name else latest(home, task)


def standing(home: Home, journal: Journal, folder: BuildFolder, task: str, opened: Open | None = None) -> Standing:
    """Whether answers to a task may rest on one of its builds now. opened: opens the students of a cascade."""
    return decided(home, journal, inspect(home, journal, folder, task, opened), task)


def standing_now(home: Home, task: str, opened: Open | None = None) -> Standing:
    """The build that answers a task, and whether it does, by the journal as it is in the store now. Raises
    NotEnoughData where there is none, TamperedError where it is gone."""
    with home.store() as store:
        journal = read_journal(home, store)
    return standing(home, journal, answering(home, journal, task), task, opened)


class TaskStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What answers a task: the build, and why it does not ("" where it is in force)."""

    in_force: bool
    build: str
    why_not: str


def standings(home: Home, tasks: Iterable[str]) -> dict[str, TaskStanding]:
    """How those of the tasks stand that were ever built."""
    with home.store() as store:
        journal = read_journal(home, store)
    found = {}
    for task in tasks:
        try:
            one = standing(home, journal, answering(home, journal, task), task)
        except NotEnoughData:
            continue
        except StepdownError as error:
            build = next(iter(journal.served(task)[-1:]), "")
            found[task] = TaskStanding(in_force=False, build=build, why_not=error.got.rstrip("."))
        else:
            found[task] = TaskStanding(in_force=one.in_force, build=one.build, why_not=one.why_not)
    return found


def decided(home: Home, journal: Journal, found: Standing, task: str) -> Standing:
    """What was inspected, and whether it is in force now: only the build that answers is."""
    found = judged(home, found)
    if found.why_not:
        return found
    try:
        answers = answering(home, journal, task).path.name
    except StepdownError as error:
        return replace(found, why_not="another build was to answer, and is gone", error=error)
    if answers != found.build:
        return replace(found, why_not=f"the build {answers} answers in its place")
    if journal.was_set_aside(task, found.build) and found.build not in journal.served(task):
        return replace(found, why_not="it was not built for the contract in the settings, and nobody promoted it")
    return found


def inspect(home: Home, journal: Journal, folder: BuildFolder, task: str, opened: Open | None = None) -> Standing:
    """Everything in a build that decides an answer, held against the journal, its students opened and asked again what
    they were asked where they were built. Nothing is raised: a file may hold anything. What depends on the time is left
    to `judged`. Students are left closed where something else speaks against the build."""
    found = Standing(folder)
    try:
        if folder.read_task().name != task:
            return replace(found, damage="the build is of another task")
        found = replace(found, certificate=(certificate := folder.read_certificate()))
        said = issued(journal, folder, certificate)
        found = replace(found, damage=said.why_not, complete=said.complete, imported=said.imported)
        spec = folder.read_cascade()
        if spec.digest != certificate.cascade_hash:
            raise TamperedError(
                f"{folder.cascade} is not the cascade that its certificate names.",
                f"Expected hash {certificate.cascade_hash[:12]}, got {spec.digest[:12]}.",
                f"Run: stepdown build {task}",
            )
        found = replace(found, spec=spec)
        folder.read_record()
    except Exception as error:  # noqa: BLE001 a build's outermost boundary: its files may hold anything
        return replace(found, damage=found.damage or "the build cannot be read", error=error)
    if _why_not(home, certificate, found.damage):
        return found
    try:
        return replace(found, cascade=(opened or open_cascade)(home, spec))
    except DifferentAnswersError as error:
        return replace(
            found, damage="a student answers differently on this machine than where it was built", error=error
        )
    except Exception as error:  # noqa: BLE001 as above
        return replace(found, damage="the build cannot be opened", error=error)


def judged(home: Home, found: Standing) -> Standing:
    """What was inspected, and whether it could be in force now: at this time, for the contract in the settings."""
    if found.certificate is None:
        return replace(found, why_not=found.damage)
    return replace(found, why_not=_why_not(home, found.certificate, found.damage))


def _why_not(home: Home, certificate: Certificate, damage: str) -> str:
    """In force is a certificate that was granted, has not lapsed, is for the contract in the settings, was issued by
    the journal for files that are whole, and whose students answer as they did."""
    now = home.clock()
    if not certificate.is_valid_at(now):
        if certificate.verdict != "certified":
            return "the certificate was refused"
        if now >= certificate.expires_at:
            lapsed = time.strftime("%Y-%m-%d", time.gmtime(certificate.expires_at))
            return f"the certificate lapsed on {lapsed}"
        return "the certificate is not in force yet; check the clock"
    other = why_other_contract(home.settings, certificate)
    if other:
        return other
    if not certificate.population.draw:
        return "the certificate is of an earlier version, whose evidence was not drawn; build again"
    return damage


class Issued(NamedTuple):
    """Whether the journal issued a build's certificate for the files as they lie there. why_not: "" where it did, else
    the reason as a client may be told. complete: whether the journal knows every file, as it does not of builds of
    earlier versions. imported: where another project's journal did, and this one took its word."""

    why_not: str
    complete: bool = False
    imported: ImportedFrom | None = None


def issued(journal: Journal, folder: BuildFolder, certificate: Certificate) -> Issued:
    """A certificate is in force only if the journal issued it, for exactly the files that decide an answer: how prompts
    are cut, how answers are read, written and phrased, what it was proved on. What only people read (the report, the
    model card) is left to `stepdown status`. Raises StepdownError, OSError where a file cannot be read."""
    if journal.why_not:
        return Issued(journal.why_not)
    events = journal.issued(certificate.task, certificate.digest)
    own = [event for event in events if event.data.get("build", folder.path.name) == folder.path.name]
    if not own:
        return Issued("the journal knows no such certificate")
    event, task = own[0], digest_of(folder.read_task())
    imported = _imported(event)
    if event.data.get("task", task) != task:
        return Issued("the journal knows no such certificate for the task as it is in the build", imported=imported)
    files = journal.files(event)
    changed = folder.changed({name: value for name, value in files.items() if name not in SHOWN_ONLY})
    if changed:
        return Issued(f"{changed[0]} of the build is not what the journal has", imported=imported)
    if journal.signed is not None and event.sequence > journal.signed:
        return Issued(UNSIGNED, imported=imported)
    return Issued("", bool(files), imported)


def _imported(event: Event) -> ImportedFrom | None:
    if event.kind != IMPORTED:
        return None
    return msgspec.convert({**event.data["issued"], "at": event.at, "attempt": event.data["attempt"]}, ImportedFrom)


def why_other_contract(settings: Settings, certificate: Certificate) -> str:
    """ "" when a certificate is for its task's contract in the settings, else which keys differ, with both values."""
    asked = settings.task(certificate.task).contract
    if contract_hash(asked) == certificate.contract_hash:
        return ""
    certified, wanted = read_contract(certificate.contract), contract_table(asked)
    given = contract_table(certified) if certified else {}
    differ = [key for key in msgspec.structs.fields(Contract) if given.get(key.name) != wanted.get(key.name)]
    if not differ:
        return "the certificate is for another contract"
    was = ", ".join(_said(key, given.get(key.name)) for key in differ)
    now = ", ".join(_said(key, wanted.get(key.name)) for key in differ)
    return f"{OTHER_CONTRACT}{was}; {FILE_NAME} asks for {now}"


def _said(key: msgspec.structs.FieldInfo, value: Any) -> str:
    """A key of a contract with its value, as stepdown.toml has them."""
    name = key.name.removesuffix("_s")
    if value in (None, "", [], ()):
        return f"no {name}"
    return f"{name} = {msgspec.json.encode(duration_text(value) if name != key.name else value).decode()}"


@contextmanager
def changing(home: Home, task: str) -> Iterator[None]:
    """One change of what answers a task at a time: what is read of it holds until it is changed. Waits for another's,
    which takes moments; the lock goes with the process."""
    import fcntl

    folder: Path = home.builds(task)
    make_folder(folder)
    with open_private(folder / "serving.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
