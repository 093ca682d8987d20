"""What the project holds: calls, gold, tasks, builds and whether their certificates stand."""

from __future__ import annotations

import msgspec

from stepdown.core.events import verify_chain
from stepdown.loop.certificates import why_not_in_force
from stepdown.loop.home import Home
from stepdown.loop.records import built_tasks, latest

DAY_S = 86400.0


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


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The project at a glance."""

    home: str
    calls: int
    workloads: dict[str, int]
    gold: int
    broken: int
    events: int
    tasks: tuple[TaskStatus, ...]


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
            tasks=tuple(_task_status(home, name) for name in built_tasks(home)),
        )


def _task_status(home: Home, name: str) -> TaskStatus:
    folder = latest(home, name)
    record = folder.read_record()
    certificate, cascade = record.certificate, record.cascade
    certified = certificate.verdict == "certified"
    return TaskStatus(
        task=name,
        verdict=certificate.verdict,
        stands=why_not_in_force(certificate, home.clock()),
        age_days=(home.clock() - certificate.issued_at) / DAY_S,
        offload=certificate.offload if certified else 0.0,
        cost_per_1k=cascade.cost_per_1k.value if certified and cascade and cascade.cost_per_1k else None,
        incumbent_cost_per_1k=record.incumbent.cost_per_1k.value if record.incumbent.cost_per_1k else None,
        report=str(folder.report),
    )
