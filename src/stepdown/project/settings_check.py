"""Checks that the tasks and slices of the settings exist."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from stepdown.core.contract import METADATA
from stepdown.core.errors import ContractError, nearest
from stepdown.core.ownership import Owners, own_calls
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task, is_fingerprint
from stepdown.project.settings import FILE_NAME, Settings

SLICED_BY_ANSWER = ("label", "field")
SLICED_BY_CALL = ("client_id", "workload_id", "provider", "model")
_LOOKED_AT = 2_000
"""So many calls are looked at for fields of metadata."""


def unknown_tasks(store: Store, settings: Settings) -> list[str]:
    """The tasks of the settings that are not in the store and have no `match` to identify them."""
    tasks, workloads = store.tasks(), store.workloads()
    unknown = []
    for name, task_settings in settings.tasks.items():
        if task_settings.match.template:
            is_known = name in tasks and is_template_of(task_settings.match.template, tasks[name])
        else:
            is_known = name in tasks or name in workloads or task_settings.match != Match()
        unknown += [] if is_known else [name]
    return unknown


def is_template_of(written: str, task: Task) -> bool:
    """Whether a text is the fingerprint, or its beginning, of a task's template, as it is now or as it was found."""
    now = task.template.fingerprint if task.template is not None else ""
    return is_fingerprint(written, task.match.template) or is_fingerprint(written, now)


def check_settings(store: Store, settings: Settings) -> None:
    """Raise ContractError where the settings name a task that does not exist, with the nearest that does."""
    names = unknown_tasks(store, settings)
    known = store.tasks() if names else {}
    for name in names:
        task_settings = settings.tasks[name]
        if task_settings.match.template:
            shown = [f"{task.template.fingerprint} ({task.name})" for task in known.values() if task.template]
            raise ContractError(
                f"{FILE_NAME} has [tasks.{name}] with match.template = {task_settings.match.template[:40]!r}, which no "
                "task has.",
                f"Known: {', '.join(shown) or 'none yet'}; the first six characters are enough.",
                "Correct it.",
            )
        close = nearest(name, known)
        raise ContractError(
            f"{FILE_NAME} has [tasks.{name}], but there is no such task.",
            f"Known: {', '.join(sorted(known)) or 'none yet'}.",
            f"Did you mean [tasks.{close}]?"
            if close
            else "Remove it, or say with `match` how its requests are told, where they are still to come.",
        )


def check_slices(store: Store, settings: Settings, task: Task) -> None:
    """Raise ContractError where the contract of a task names a slice that its calls do not have."""
    named = [name for name in settings.task(task.name).contract.slices if name not in SLICED_BY_ANSWER]
    slots = task.template.slots if task.template is not None else ()
    unknown = [name for name in named if name not in (*SLICED_BY_CALL, *slots)]
    if not unknown:
        return
    fields = {name for name, _ in zip(_metadata(store, task), range(_LOOKED_AT * 10), strict=False)}
    allowed = [*SLICED_BY_ANSWER, *SLICED_BY_CALL, *slots, *sorted(fields)]
    for name in unknown:
        if name in fields:
            continue
        close = nearest(name.removeprefix(METADATA), allowed)
        raise ContractError(
            f"[tasks.{task.name}.contract] has the slice {name!r}, which no call of {task.name!r} has.",
            f"Known: {', '.join(allowed)}.",
            f"Did you mean {close!r}?" if close else "Remove it.",
        )


def _metadata(store: Store, task: Task) -> Iterator[str]:
    owners = Owners([*(each for each in store.tasks().values() if each.name != task.name), task])
    for call in itertools.islice(own_calls(store, owners, task.name), _LOOKED_AT):
        metadata = call.request.get("metadata")
        if isinstance(metadata, dict):
            yield from metadata
