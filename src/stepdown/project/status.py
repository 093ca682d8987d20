"""The status of a project: calls, gold, tasks, builds, and whether their certificates are in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from stepdown.core.errors import StepdownError, TamperedError, nearest
from stepdown.core.events import Anchor
from stepdown.core.store import ServedHour, Store
from stepdown.gateway.match_rate import match_rate_collapses
from stepdown.project.builds import BuildFolder, built_tasks, latest
from stepdown.project.gold_rows import removed_notes
from stepdown.project.home import Home
from stepdown.project.in_force import ImportedFrom, answering, standing
from stepdown.project.integrity import build_findings, readable_by_others, store_findings
from stepdown.project.journal import Journal, check_anchor, read_journal
from stepdown.project.settings import FILE_NAME, settings_digest
from stepdown.project.settings_check import unknown_tasks
from stepdown.project.signing import can_check

DAY_S, HOUR_S = 86400.0, 3600.0


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One built task, by the build that answers it. stands: "" while its certificate is in force, else why not.

    verdict, offload and costs are what was certified, whether or not it is in force; verdict: "" where it cannot be
    read. newest: the build that was made last, where that is another. certificate: its hash, "" where it cannot be
    read.
    """

    task: str
    in_force: bool
    build: str
    verdict: str
    stands: str
    age_days: float
    offload: float
    cost_per_1k: float | None
    incumbent_cost_per_1k: float | None
    report: str
    newest: str = ""
    certificate: str = ""
    imported: ImportedFrom | None = None


class ServedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of gateways for one task ("" for requests of no task) since the first gateway started.

    shares: of the requests, by who answered. saved_usd: what the incumbent would have cost more, as estimated when each
    was answered. last_hour: requests in the hour that runs and the one before it, so that what is live shows.
    """

    task: str
    requests: int
    shares: dict[str, float]
    cost_usd: float
    saved_usd: float
    last_hour: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The project at a glance. head: the hash of the journal's last event. findings: what is not as it was written, a
    sentence each; alarms: what goes wrong in the traffic; notes: what is good to know."""

    home: str
    calls: int
    workloads: dict[str, int]
    gold: int
    broken: int
    events: int
    tasks: tuple[TaskStatus, ...]
    served: tuple[ServedStatus, ...] = ()
    keys: int = 0
    feedback: int = 0
    head: str = ""
    findings: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_status(home: Home, anchor: Anchor | None = None) -> Status:
    """Read the store, check the journal against every head that is known of it, and every build that is the newest or
    answers. What is damaged is said in `findings`; raises StoreError where the store itself cannot be read."""
    with home.store() as store:
        journal = read_journal(home, store)
        findings = [journal.detail] if journal.why_not else []
        if anchor is not None:
            findings += _caught(lambda: check_anchor(store, anchor, "the anchor that you gave"))
        findings += store_findings(store)
        notes = [*_notes(home, journal), *_of_strangers(home, store)]
        tasks = []
        here = set(built_tasks(home))
        # Of a task that answers by the journal there may be no build on this machine.
        for name in sorted(here | journal.answered):
            tasks.append(_task_status(home, journal, name))
            if name not in here:
                continue
            try:
                findings += build_findings(home, journal, name)
                notes += _build_notes(home, journal, name)
            except (StepdownError, OSError) as error:
                findings.append(f"{name}: {error}")
        notes += removed_notes(store, {task.task: task.certificate for task in tasks if task.in_force})
        last = store.last_feedback() if not findings else None
        return Status(
            home=str(home.folder),
            calls=store.count_calls(),
            workloads=store.workloads(),
            gold=_gold(store, findings),
            broken=sum(1 for _ in store.broken()),
            events=journal.events,
            tasks=tuple(tasks),
            served=_served(store.served(), home.clock()),
            keys=sum(not key.standing(home.clock()) for key in store.keys()),  # noqa: SIM118
            feedback=last.sequence if last else 0,
            head=journal.last.digest if journal.last else "",
            findings=tuple(dict.fromkeys(findings)),
            alarms=tuple(map(str, match_rate_collapses(store, home.clock()))),
            notes=tuple(notes),
        )


def _caught(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except StepdownError as error:
        return [str(error)]
    return []


def _gold(store: Store, findings: list[str]) -> int:
    try:
        return len(store.gold())
    except TamperedError as error:
        findings.append(str(error))
        return 0


def _notes(home: Home, journal: Journal) -> Iterator[str]:
    opened = readable_by_others(home)
    if opened:
        names = ", ".join(opened[:5]) + (" …" if len(opened) > 5 else "")
        yield f"Others on this machine may read {names}. To close them: chmod -R go-rwx {home.state} {FILE_NAME}"
    if journal.events and not home.head.exists():
        yield "No head of the journal is kept here yet: it is with the next event that is entered."
    if home.signature.exists() and not can_check():
        yield "The signature of the journal's head is not checked: pip install 'stepdown[sign]'"


def _of_strangers(home: Home, store: Store) -> Iterator[str]:
    for name in unknown_tasks(store, home.settings):
        close = nearest(name, store.tasks())
        hint = f" Did you mean {close!r}?" if close else ""
        yield f"{FILE_NAME} has [tasks.{name}], and no such task is known yet.{hint}"


def _build_notes(home: Home, journal: Journal, name: str) -> Iterator[str]:
    folder = answering(home, journal, name)
    certificate = folder.read_certificate()
    events = journal.issued(name, certificate.digest)
    if events and not journal.files(events[0]):
        yield f"{name}: the build is of an earlier version; how its answers are phrased is read from recorded calls."
    if events and events[0].data.get("settings", "") not in ("", settings_digest(home.folder)):
        yield f"{name}: {FILE_NAME} was changed after the build."


def _served(rows: Iterable[ServedHour], now: float) -> tuple[ServedStatus, ...]:
    """The totals of every task, the busiest first."""
    by_task: dict[str, list[ServedHour]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    current = int(now // HOUR_S) - 1
    found = []
    for task, of_task in by_task.items():
        requests = sum(row.requests for row in of_task)
        rungs: dict[str, int] = {}
        for row in of_task:
            rungs[row.rung] = rungs.get(row.rung, 0) + row.requests
        status = ServedStatus(
            task=task,
            requests=requests,
            shares={rung: count / requests for rung, count in sorted(rungs.items(), key=lambda pair: -pair[1])},
            cost_usd=sum(row.cost_usd for row in of_task),
            saved_usd=sum(row.saved_usd for row in of_task),
            last_hour=sum(row.requests for row in of_task if row.hour >= current),
        )
        found.append(status)
    return tuple(sorted(found, key=lambda one: -one.requests))


def _task_status(home: Home, journal: Journal, name: str) -> TaskStatus:
    try:
        own = standing(home, journal, answering(home, journal, name), name)
    except StepdownError as error:
        return TaskStatus(
            task=name,
            in_force=False,
            build=next(iter(journal.served(name)[-1:]), ""),
            verdict="",
            stands=f"the build is not here: {error.got}".rstrip("."),
            age_days=0.0,
            offload=0.0,
            cost_per_1k=None,
            incumbent_cost_per_1k=None,
            report="",
        )
    certificate, costs = own.certificate, _costs(own.folder)
    certified = certificate is not None and certificate.verdict == "certified"
    newest = _newest(home, name)
    return TaskStatus(
        task=name,
        in_force=own.in_force,
        build=own.build,
        verdict=certificate.verdict if certificate else "",
        stands=own.why_not,
        age_days=(home.clock() - certificate.issued_at) / DAY_S if certificate else 0.0,
        offload=certificate.offload if certificate and certified else 0.0,
        cost_per_1k=costs[0] if certified else None,
        incumbent_cost_per_1k=costs[1],
        report=str(own.folder.report),
        newest=newest if newest != own.build else "",
        certificate=certificate.digest if certificate else "",
        imported=own.imported,
    )


def _newest(home: Home, name: str) -> str:
    try:
        return latest(home, name).path.name
    except StepdownError:
        return ""


def _costs(folder: BuildFolder) -> tuple[float | None, float | None]:
    """The cost of a thousand requests, with the cascade and without it; None where unknown."""
    try:
        record = folder.read_record()
    except (StepdownError, OSError):
        return None, None
    cascade, incumbent = record.cascade, record.incumbent.cost_per_1k
    own = cascade.cost_per_1k.value if cascade and cascade.cost_per_1k else None
    return own, incumbent.value if incumbent else None
