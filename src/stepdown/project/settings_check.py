"""Whether the settings are for tasks and slices that there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from stepdown.core.contract import METADATA
from stepdown.core.errors import ContractError, nearest
from stepdown.core.ownership import Owners, own_calls
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.project.settings import FILE_NAME, Settings
from stepdown.traffic.grouping import selects

SLICED_BY_ANSWER = ("label", "field")
SLICED_BY_CALL = ("client_id", "workload_id", "provider", "model")
_LOOKED_AT = 2_000
"""So many calls are looked at for fields of metadata."""


def strangers(store: Store, settings: Settings) -> list[str]:
    """The tasks of the settings that neither the store knows nor a `match` says how to tell."""
    tasks, workloads = store.tasks(), store.workloads()
    found = []
    for name, said in settings.tasks.items():
        if said.match.template:
            is_known = name in tasks and is_template_of(said.match.template, tasks[name])
        else:
            is_known = name in tasks or name in workloads or said.match != Match()
        found += [] if is_known else [name]
    return found


def is_template_of(written: str, task: Task) -> bool:
    """Whether what somebody wrote of a fingerprint is that of a task's template, as it is or as the task was found."""
    now = task.template.fingerprint if task.template is not None else ""
    return selects(written, task.match.template) or selects(written, now)


def check_settings(store: Store, settings: Settings) -> None:
    """Raises ContractError where the settings name a task that there is not, with the nearest that there is."""
    names = strangers(store, settings)
    known = store.tasks() if names else {}
    for name in names:
        said = settings.tasks[name]
        if said.match.template:
            shown = [f"{task.template.fingerprint} ({task.name})" for task in known.values() if task.template]
            raise ContractError(
                f"{FILE_NAME} has [tasks.{name}] with match.template = {said.match.template[:40]!r}: no task has it.",
                f"Known: {', '.join(shown) or 'none yet'}; the first six characters are enough.",
                "Correct it.",
            )
        close = nearest(name, known)
        raise ContractError(
            f"{FILE_NAME} has [tasks.{name}], and there is no such task.",
            f"Known: {', '.join(sorted(known)) or 'none yet'}.",
            f"Did you mean [tasks.{close}]?"
            if close
            else "Remove it, or say with `match` how its requests are told, where they are still to come.",
        )


def check_slices(store: Store, settings: Settings, task: Task) -> None:
    """Raises ContractError where the contract of a task names a slice that its calls do not have."""
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
