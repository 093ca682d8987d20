"""A task's data as a project folder: stepdown.toml, an import, and the build that `stepdown build` runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks._extraction.task import Row, Task, write_gold, write_traffic
from stepdown.build.job import BuildRequest
from stepdown.build.pipeline import build
from stepdown.core.errors import InputError
from stepdown.core.record import BuildRecord
from stepdown.core.tasks import Task as BuiltTask
from stepdown.core.tasks import input_text
from stepdown.project.builds import BuildFolder
from stepdown.project.home import Home, open_home
from stepdown.project.import_traffic import ImportRequest, import_traffic


@dataclass(frozen=True)
class Plan:
    """rows, test_rows: a seeded sample of what is learned from and tested, 0 for all. import_test: test calls are
    imported too, with gold's split `test`, so that curation keeps what resembles them out of train; else they are never
    seen by the build, as in published protocols. loss, margin: in place of the task's contract's."""

    budget_s: float = 720.0
    seed: int = 0
    threads: int = 2
    rows: int = 0
    test_rows: int = 0
    import_test: bool = False
    loss: str = ""
    margin: float | None = None


@dataclass(frozen=True)
class Built:
    """A finished build with the rows it may be tested on. seconds: import, and the whole build."""

    home: Home
    record: BuildRecord
    folder: BuildFolder
    test: tuple[Row, ...]
    learned_rows: int
    seconds: dict[str, float]

    @property
    def task(self) -> BuiltTask:
        return self.folder.read_task()


def build_task(task: Task, plan: Plan, where: Path) -> Built:
    """Import a task's calls and gold into a project in `where`, an empty folder, and build it."""
    test = sample(task.of("test"), plan.test_rows, plan.seed)
    seen = sample([row for row in task.rows if row.split != "test"], plan.rows, plan.seed)
    rows = [*seen, *(test if plan.import_test else [])]
    traffic, gold = where / "traffic.jsonl", where / "gold.jsonl"
    write_traffic(task, rows, traffic)
    write_gold(rows, gold)
    (where / "stepdown.toml").write_text(_settings(task, plan), encoding="utf-8")
    home = open_home(where)
    started = time.perf_counter()
    import_traffic(home, ImportRequest(paths=[str(traffic)], gold=[str(gold)]), _quiet)
    imported = time.perf_counter()
    request = BuildRequest(task=task.name, budget_s=plan.budget_s, seed=plan.seed, threads=plan.threads)
    record, folder = build(home, request, _quiet)
    seconds = {"import": imported - started, "build": time.perf_counter() - imported}
    return Built(home, record, folder, tuple(test), len(seen), seconds)


def sample(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` of the rows, or all for 0, in their order; whole groups where rows have one."""
    if not count or count >= len(rows):
        return list(rows)
    groups = sorted({row.group or row.id for row in rows})
    Random(seed).shuffle(groups)
    sizes = {group: sum((row.group or row.id) == group for row in rows) for group in groups} if _grouped(rows) else {}
    kept: set[str] = set()
    taken = 0
    for group in groups:
        if taken >= count:
            break
        kept.add(group)
        taken += sizes.get(group, 1)
    return [row for row in rows if (row.group or row.id) in kept]


def text_of(built: BuiltTask, task: Task, row: Row) -> str:
    """What a student is asked about a row: its request, cut by the task's template. Raises InputError if uncut."""
    request = task.request(row)
    value = built.template.cut(request) if built.template else request["messages"][-1]["content"]
    if value is None:
        raise InputError(f"The request of {row.id} does not fit the template that was found for {task.name}.")
    return input_text(value)


def as_asked(built: BuiltTask, task: Task, row: Row) -> Row:
    """The row with its text and spans as they stand in what a student is asked, which may be several slots."""
    asked = text_of(built, task, row)
    at = max(0, asked.find(row.text))
    return replace(row, text=asked, spans=tuple((name, at + start, at + end) for name, start, end in row.spans))


def _grouped(rows: Sequence[Row]) -> bool:
    return any(row.group for row in rows)


def _settings(task: Task, plan: Plan) -> str:
    contract: dict[str, Any] = dict(task.contract)
    contract |= {"loss": plan.loss} if plan.loss else {}
    contract |= {"margin": plan.margin} if plan.margin is not None else {}
    lines = [f"{key} = {_toml(value)}" for key, value in contract.items()]
    return f"[tasks.{task.name}.contract]\n" + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _quiet(what: str, share: float) -> None:
    """Progress that nobody watches."""
