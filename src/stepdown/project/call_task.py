"""The tasks that a recorded call may be of."""

from __future__ import annotations

from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.project.discovery import with_settings
from stepdown.project.settings import Settings


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
