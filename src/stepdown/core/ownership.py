"""Which task a recorded call is of: the one rule that discovery, curation and imports ask, as the gateway does live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stepdown.core.calls import Call
from stepdown.core.store import Store
from stepdown.core.tasks import Task, Template

LEAST_LETTERS = 4
"""A template with fewer letters and digits in its constants fits too much to tell a task on its own."""


class Owners:
    """Tasks, for looking up whose a call is.

    The task that the gateway matched a call to comes first; then the one whose workload or name the client gave, the
    one whose alias it asked for, and, for calls that name no workload, the one whose template says most of those that
    fit. What was split from a task takes what is its own out of that task's calls.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self._names: dict[str, Task] = {}
        self._workloads: dict[str, Task] = {}
        self._models: dict[str, Task] = {}
        self._templates: dict[tuple[str, ...], list[tuple[Template, Task]]] = {}
        self._parts: dict[str, list[Task]] = {}
        for task in sorted(self.tasks.values(), key=claim_order):
            self._add(task)

    def of(self, call: Call) -> Task | None:
        """The task of a call; None where it is no known task's."""
        task = self._names.get(call.task) if call.task else None
        if task is None:
            task = self._claimed(call)
        elif task.template is not None and task.template.broad and not call.workload_id:
            # It may have been the only one that fitted then, and hide what was found since.
            task = min((task, self._claimed(call) or task), key=claim_order)
        return self._narrowed(task, call) if task is not None else None

    def kept_under(self, name: str) -> tuple[list[str], list[str]]:
        """The names of tasks, and the workloads, that the calls of a task may be kept under: its own, and those of
        tasks out of whose calls it takes what is its own."""
        task = self.tasks[name]
        wide = {
            other.name: other for other in self.tasks.values() if other.template is not None and other.template.broad
        }
        while task.match.within in self.tasks and task.match.within not in wide:
            task = self.tasks[task.match.within]
            wide[task.name] = task
        own = self.tasks[name]
        names = dict.fromkeys(each for one in (own, *wide.values()) for each in (one.name, *one.match.names))
        workloads = [one.match.workload for one in (own, *wide.values()) if one.match.workload]
        unnamed = [""] if own.template is not None else []
        return list(names), list(dict.fromkeys([*names, *workloads, *unnamed]))

    def _add(self, task: Task) -> None:
        match = task.match
        for name in (task.name, *match.names):
            self._names.setdefault(name, task)
            self._workloads.setdefault(name, task)
        if match.workload:
            self._workloads[match.workload] = task
        if match.model and not match.workload and not match.template:
            self._models.setdefault(match.model, task)
        if task.template is not None and tells(task.template):
            roles = tuple(message.role for message in task.template.messages)
            self._templates.setdefault(roles, []).append((task.template, task))
        if match.within:
            self._parts.setdefault(match.within, []).append(task)

    def _claimed(self, call: Call) -> Task | None:
        named = self._workloads.get(call.workload_id) if call.workload_id else None
        asked = call.request.get("model")
        found = named or (self._models.get(asked) if isinstance(asked, str) else None)
        if found is None and not call.workload_id:
            found = next((task for template, task in self._alike(call) if template.cut(call.request) is not None), None)
        return found if found is not None and _agrees(found, call) else None

    def _alike(self, call: Call) -> list[tuple[Template, Task]]:
        messages = call.request.get("messages")
        if not isinstance(messages, list):
            return []
        return self._templates.get(tuple(str(one.get("role")) for one in messages if isinstance(one, dict)), [])

    def _narrowed(self, task: Task, call: Call) -> Task:
        """The part of a task that a call is of, where others were split from it."""
        passed = {task.name}
        while (part := self._part(task, call)) is not None and part.name not in passed:
            passed.add(part.name)
            task = part
        return task

    def _part(self, task: Task, call: Call) -> Task | None:
        for part in self._parts.get(task.name, ()):
            if part.match.workload:
                is_its = call.workload_id == part.match.workload
            else:
                is_its = part.template is not None and part.template.cut(call.request) is not None
            if is_its:
                return part
        return None


def own_calls(store: Store, owners: Owners, name: str) -> Iterator[Call]:
    """The calls of a task, whoever answered them, in the order they came in."""
    match = owners.tasks[name].match
    # Those who ask for an alias may call their calls what they like.
    is_by_alias = match.model and not match.workload
    for call in store.calls() if is_by_alias else store.calls_kept_under(*owners.kept_under(name)):
        owner = owners.of(call)
        if owner is not None and owner.name == name:
            yield call


def claim_order(task: Task) -> tuple[int, bool, str]:
    """The order in which templates claim a request: those that say most first; of templates that say the same the one
    of no workload first, as a named workload means the requests that name it."""
    said = -constant_characters(task.template) if task.template is not None else 0
    return said, task.match.workload not in ("", task.name), task.name


def constant_characters(template: Template) -> int:
    return sum(len(part.text.strip()) for message in template.messages for part in message.parts)


def tells(template: Template) -> bool:
    """Whether a template has constants enough to tell a task's requests."""
    texts = (part.text for message in template.messages for part in message.parts)
    return sum(character.isalnum() for text in texts for character in text) >= LEAST_LETTERS


def _agrees(task: Task, call: Call) -> bool:
    """Whether every field that is set says that a call is the task's. A template that nobody set beside a workload is
    how the task was found, and asks nothing of calls that name it."""
    match = task.match
    if match.model and match.model not in (call.model, call.request.get("model")):
        return False
    both = match.workload and match.template
    return not both or task.template is None or task.template.cut(call.request) is not None
