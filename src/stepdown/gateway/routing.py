"""Which task a request is of: by the workload it names, the model alias it asks for, or the prompt template it fits.

A template is looked up by its messages' constant text: all of it where nothing varies, else how it begins and ends. So
the time does not grow with the number of tasks: the lengths of the beginnings are rounded to eighths of an octave, and
a request is hashed once for each length in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stepdown.core.tasks import Input, MessageTemplate, Template, message_text
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.served import ServedTask

WORKLOAD_HEADERS = (b"x-stepdown-workload", b"x-workload-id")
WORKLOAD_FIELDS = ("workload_id", "workload")
LEAST_CONSTANT_CHARACTERS = 24
"""A template with less constant text than this fits too much to tell a task on its own."""

_TAIL = 32
_WHOLE = 1 << 20
"""Instead of a length: a message without a slot, as most system prompts are, is looked up by all of it."""
_LENGTHS = sorted({int(2 ** (step / 8)) for step in range(24, 137)})


class Routes:
    """The tasks that are served, for looking requests up. Made anew when they change; never changed."""

    def __init__(self, tasks: Iterable[ServedTask]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self._workloads: dict[str, ServedTask] = {}
        self._models: dict[str, ServedTask] = {}
        self._templates: dict[tuple[str, ...], _Templates] = {}
        for task in self.tasks.values():
            match, template = task.task.match, task.task.template
            self._workloads.setdefault(task.workload, task)
            self._workloads.setdefault(task.name, task)
            if match.model and not match.workload and not match.template:
                self._models.setdefault(match.model, task)
            if template is not None and _constant_characters(template) >= LEAST_CONSTANT_CHARACTERS:
                roles = tuple(message.role for message in template.messages)
                self._templates.setdefault(roles, _Templates()).add(task, template)

    @property
    def aliases(self) -> list[str]:
        """The model names that stand for tasks."""
        return sorted(self._models)

    def find(self, exchange: Exchange) -> tuple[ServedTask | None, Input | None]:
        """The task of a request and its variable input; None for an input that does not fit the task's template.

        The workload that the request is kept under is noted on the exchange: the one it names, else the task's, so that
        whoever looks for the task's calls finds them all.
        """
        exchange.workload = _workload(exchange)
        if exchange.workload:
            task = self._workloads.get(exchange.workload)
            return task, _cut(task, exchange.chat)
        model = exchange.chat.get("model")
        if isinstance(model, str) and model in self._models:
            task = self._models[model]
            value = _cut(task, exchange.chat)
        else:
            task, value = self._by_template(exchange.chat)
        if task is not None:
            exchange.workload = task.workload
        return task, value

    def candidates(self, chat: dict[str, Any]) -> Iterator[tuple[ServedTask, Template]]:
        """The few tasks whose templates begin and end as a request does, the most telling first."""
        messages = chat["messages"]
        roles = [message.get("role") for message in messages]
        texts = [message_text(message) for message in messages]
        if None in texts or not all(isinstance(role, str) for role in roles):
            return
        templates = self._templates.get(tuple(roles))
        if templates is not None:
            yield from templates.candidates([text or "" for text in texts])

    def _by_template(self, chat: dict[str, Any]) -> tuple[ServedTask | None, Input | None]:
        for task, template in self.candidates(chat):
            value = template.cut(chat)
            if value is not None:
                return task, value
        return None, None


class _Templates:
    """Templates of one sequence of roles, by how their messages begin and end."""

    def __init__(self) -> None:
        self._shapes: list[tuple[tuple[int, int], ...]] = []
        self._buckets: dict[Any, list[tuple[ServedTask, Template]]] = {}

    def add(self, task: ServedTask, template: Template) -> None:
        shape, key = _key_of(template)
        if shape not in self._shapes:
            self._shapes.append(shape)
            # The most telling first: a template that says more is not hidden by one that says less.
            self._shapes.sort(key=lambda one: -sum(head + tail for head, tail in one))
        bucket = self._buckets.setdefault((shape, key), [])
        bucket.append((task, template))
        bucket.sort(key=lambda pair: -_constant_characters(pair[1]))

    def candidates(self, texts: Sequence[str]) -> Iterator[tuple[ServedTask, Template]]:
        # Only the side that is looked at is stripped: a constant may end in the space before an empty slot.
        begins, ends = [text.lstrip() for text in texts], [text.rstrip() for text in texts]
        for shape in self._shapes:
            key = tuple(
                [
                    (begin.rstrip(), "") if head == _WHOLE else (begin[:head], end[len(end) - tail :] if tail else "")
                    for begin, end, (head, tail) in zip(begins, ends, shape, strict=True)
                ]
            )
            yield from self._buckets.get((shape, key), ())


def _key_of(template: Template) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[str, str], ...]]:
    shape, key = [], []
    for message in template.messages:
        if not any(part.slot for part in message.parts):
            shape.append((_WHOLE, 0))
            key.append(("".join(part.text for part in message.parts).strip(), ""))
            continue
        first, last = message.parts[0].text.lstrip(), message.parts[-1].text.rstrip()
        head = max((length for length in _LENGTHS if length <= len(first)), default=0)
        tail = _TAIL if len(last) >= _TAIL else 0
        shape.append((head, tail))
        key.append((first[:head], last[len(last) - tail :] if tail else ""))
    return tuple(shape), tuple(key)


def _constant_characters(template: Template) -> int:
    return sum(_said(message) for message in template.messages)


def _said(message: MessageTemplate) -> int:
    return sum(len(part.text.strip()) for part in message.parts)


def _cut(task: ServedTask | None, chat: dict[str, Any]) -> Input | None:
    if task is None or task.task.template is None:
        return None
    return task.task.template.cut(chat)


def _workload(exchange: Exchange) -> str:
    headers = exchange.request.headers
    for name in WORKLOAD_HEADERS:
        if name in headers:
            return headers[name].decode("utf-8", "replace")[:200]
    metadata = exchange.body.get("metadata")
    if isinstance(metadata, dict):
        for field in WORKLOAD_FIELDS:
            value = metadata.get(field)
            if isinstance(value, str) and value:
                return value[:200]
    return ""
