"""The names of tasks: kept as given, changed by their owner alone, repaired where an earlier version split a task."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.errors import ContractError
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.project.settings import FILE_NAME, Settings
from stepdown.project.settings_check import is_template_of
from stepdown.stores.sql_store import REMEMBERED, TASK_FORGOTTEN

_OF_NO_BUILD = frozenset({REMEMBERED, TASK_FORGOTTEN, "imported"})
"""The kinds of events that say of a task no more than that it is there."""
_TWIN = re.compile(r"(-[0-9a-f]{6})?(-2)*")


def settle_names(store: Store, settings: Settings, now: float) -> None:
    """Merge twins, and give tasks the names that the settings have for their templates. now: epoch seconds.

    Raises ContractError where the settings name the template of a task that was built under another name.
    """
    tasks = store.tasks()
    for name, twins in find_twins(store, tasks).items():
        absorb(store, tasks[name], [tasks[twin] for twin in twins], now)
    for name, task_settings in settings.tasks.items():
        if not task_settings.match.template or name in store.tasks():
            continue
        matching_tasks = [task for task in store.tasks().values() if is_template_of(task_settings.match.template, task)]
        if matching_tasks:
            _named(store, matching_tasks[0], name, now)


def find_twins(store: Store, tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """The duplicates of each task, by its name.

    Earlier versions kept what a gateway matched under the task's name as if the client had named a workload, and then
    found the task twice: by its name, and by its template as "NAME-f48074". Nothing was built of such a twin.
    """
    twins_by_name: dict[str, list[str]] = {}
    for name, task in tasks.items():
        if task.match.workload != name or task.template is None:
            continue
        twins = [other for other in tasks.values() if _is_twin(task, other) and not is_built(store, other.name)]
        if twins:
            twins_by_name[name] = [twin.name for twin in twins]
    return twins_by_name


def _is_twin(task: Task, other: Task) -> bool:
    rest = other.name.removeprefix(task.name)
    return (
        other.name != task.name
        and other.name.startswith(task.name)
        and _TWIN.fullmatch(rest) is not None
        and not other.match.workload
        and task.template is not None
        and other.template is not None
        and other.template.fingerprint == task.template.fingerprint
    )


def merge_twins(tasks: Mapping[str, Task], twins: Mapping[str, list[str]]) -> dict[str, Task]:
    """The tasks with every twin merged into its task."""
    gone = {name for names in twins.values() for name in names}
    return {
        name: with_others(task, [tasks[twin] for twin in twins.get(name, ())])
        for name, task in tasks.items()
        if name not in gone
    }


def with_others(task: Task, others: list[Task]) -> Task:
    """A task with others merged into it: their calls are its own. A former match by template is restored."""
    if not others:
        return task
    match = task.match
    names = [match.names, *((other.name, *other.match.names, other.match.workload) for other in others)]
    known = dict.fromkeys(name for each in names for name in each if name and name != task.name)
    is_by_template = match.workload == task.name and any(other.match.template for other in others)
    template = next((other.match.template for other in others if other.match.template), "")
    changed = msgspec.structs.replace(
        match,
        workload="" if is_by_template else match.workload,
        template=template if is_by_template else match.template,
        names=tuple(known),
    )
    return msgspec.structs.replace(task, match=changed)


def absorb(store: Store, task: Task, others: list[Task], now: float) -> Task:
    """Store a task with others merged into it, and remove those."""
    taken = with_others(task, others)
    store.put_task(taken, now)
    for other in others:
        store.forget_task(other.name, now)
    return taken


def renamed(store: Store, task: Task, name: str, now: float) -> Task:
    """Store a task under another name; its calls stay its own."""
    match = task.match
    changed = msgspec.structs.replace(match, names=tuple(dict.fromkeys((*match.names, task.name))))
    if match == Match() and task.template is None:
        changed = match  # Conversations, or what shares no template: nothing is kept under the name.
    fresh = msgspec.structs.replace(task, name=name, match=changed)
    store.put_task(fresh, now)
    store.forget_task(task.name, now)
    for part in store.tasks().values():
        if part.match.within == task.name:
            store.put_task(msgspec.structs.replace(part, match=msgspec.structs.replace(part.match, within=name)), now)
    return fresh


def is_built(store: Store, name: str) -> bool:
    """Whether the journal has draws, builds or certificates under a task's name."""
    return any(event.kind not in _OF_NO_BUILD for event in store.events(task=name))


def _named(store: Store, task: Task, name: str, now: float) -> None:
    if is_built(store, task.name):
        raise ContractError(
            f"{FILE_NAME} has [tasks.{name}] with the template {task.match.template}, which is that of the task "
            f"{task.name!r}.",
            "A task that evidence was drawn for, or that was built, keeps its name: its certificate bears it.",
            f"Write [tasks.{task.name}] instead.",
        )
    renamed(store, task, name, now)


def restore_names(tasks: Mapping[str, Task], rows: Mapping[str, str]) -> dict[str, Task]:
    """The tasks of the store by name. One whose row somebody renamed is found by what else it says, under the name that
    the journal has: settings, contract and build go by that. rows: the digest of each as it was remembered last."""
    restored = dict(tasks)
    strange = [name for name, task in tasks.items() if rows.get(name) != digest_of(task)]
    for name, digest in rows.items() if strange else ():
        if name in tasks and name not in strange:
            continue
        for other in strange:
            task = msgspec.structs.replace(tasks[other], name=name)
            if digest_of(task) == digest:
                restored.pop(other, None)
                restored[name] = task
    return restored
