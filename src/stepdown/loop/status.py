"""What the project holds: calls, gold, tasks, builds and whether their certificates stand."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stepdown.core.events import verify_chain
from stepdown.core.store import Served, Store
from stepdown.loop.certificates import is_issued, serving, why_not_in_force
from stepdown.loop.home import Home
from stepdown.loop.records import built_tasks

DAY_S, HOUR_S = 86400.0, 3600.0


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One built task. stands: "" when the certificate is in force, else why not."""

    task: str
    verdict: str
    stands: str
    age_days: float
    offload: float
    cost_per_1k: float | None
    incumbent_cost_per_1k: float | None
    report: str


class ServedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What gateways have answered for one task ("" for requests of none) since the first of them started.

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
    """The project at a glance."""

    home: str
    calls: int
    workloads: dict[str, int]
    gold: int
    broken: int
    events: int
    tasks: tuple[TaskStatus, ...]
    served: tuple[ServedStatus, ...] = ()
    keys: int = 0


def read_status(home: Home) -> Status:
    """Read the store, check the journal's chain, and look at every newest build."""
    with home.store() as store:
        return Status(
            home=str(home.folder),
            calls=store.count_calls(),
            workloads=store.workloads(),
            gold=len(store.gold()),
            broken=sum(1 for _ in store.broken()),
            events=verify_chain(store.events()),
            tasks=tuple(_task_status(home, store, name) for name in built_tasks(home)),
            served=_served(store.served(), home.clock()),
            keys=sum(not key.standing(home.clock()) for key in store.keys()),  # noqa: SIM118
        )


def _served(rows: Iterable[Served], now: float) -> tuple[ServedStatus, ...]:
    """The totals of every task, the busiest first."""
    by_task: dict[str, list[Served]] = {}
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


def _task_status(home: Home, store: Store, name: str) -> TaskStatus:
    folder = serving(home, name)
    record = folder.read_record()
    certificate, cascade = record.certificate, record.cascade
    certified = certificate.verdict == "certified"
    return TaskStatus(
        task=name,
        verdict=certificate.verdict,
        stands=why_not_in_force(home, certificate, is_issued(store, folder, certificate.digest)),
        age_days=(home.clock() - certificate.issued_at) / DAY_S,
        offload=certificate.offload if certified else 0.0,
        cost_per_1k=cascade.cost_per_1k.value if certified and cascade and cascade.cost_per_1k else None,
        incumbent_cost_per_1k=record.incumbent.cost_per_1k.value if record.incumbent.cost_per_1k else None,
        report=str(folder.report),
    )
