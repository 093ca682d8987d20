"""Which task a call is of. Whatever asks that asks here."""

from __future__ import annotations

from collections.abc import Mapping

from stepdown.core.calls import Call
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task, Template
from stepdown.loop.discovery import with_settings
from stepdown.loop.settings import Settings


def known_tasks(store: Store, settings: Settings) -> dict[str, Task]:
    """Every task by name, as the settings have it: those that are remembered, those of the settings, and the workloads
    that no task has."""
    named = {name: Task(name=name, family="", match=Match(workload=name)) for name in settings.tasks}
    tasks = {name: with_settings(task, settings) for name, task in {**named, **store.tasks()}.items()}
    taken = {task.match.workload for task in tasks.values()}
    for name in store.workloads():
        if name and name not in taken:
            tasks.setdefault(name, Task(name=name, family="", match=Match(workload=name)))
    return tasks


def task_of(tasks: Mapping[str, Task], call: Call) -> Task | None:
    """The call's own task: the one whose calls are kept under the workload that it names; without one, the task whose
    model alias it asked for, else the one whose template it fits, the most telling first. None where there is none."""
    if call.workload_id:
        of_workload = (task for task in tasks.values() if task.match.workload == call.workload_id)
        return next(of_workload, tasks.get(call.workload_id))
    asked = {call.model, call.request.get("model")}
    for task in tasks.values():
        match = task.match
        if match.model and not match.workload and not match.template and match.model in asked:
            return task
    fitting = (task for task in tasks.values() if task.template is not None and _fits(task, task.template, call))
    return max(fitting, key=_constant_characters, default=None)


def _fits(task: Task, template: Template, call: Call) -> bool:
    if task.match.model and task.match.model not in (call.model, call.request.get("model")):
        return False
    return template.cut(call.request) is not None


def _constant_characters(task: Task) -> int:
    messages = task.template.messages if task.template is not None else ()
    return sum(len(part.text) for message in messages for part in message.parts)
