"""Calls as people read and export them: what was asked, who answered what, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.errors import UnknownKind
from stepdown.core.family import families
from stepdown.core.ownership import Owners
from stepdown.core.tasks import Task, message_text
from stepdown.project.discovery import known_tasks
from stepdown.project.home import Home
from stepdown.runtime.cascade import INCUMBENT

CACHE = "cache"


class CallRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One call. task: None where it is of none. time: ISO 8601, UTC; None where it has none. rung: a student's kind,
    "incumbent" or "cache". input: what varies in the prompt, else the user's last text, else the messages. answer: as
    the task reads it, else the text, else the message; None for a call that failed. spent_usd, saved_usd: None where no
    gateway answered it."""

    id: str
    task: str | None
    time: str | None
    rung: str
    input: Any
    answer: Any
    error: str | None = None
    response_id: str | None = None
    spent_usd: float | None = None
    saved_usd: float | None = None


def read_calls(home: Home, task: str = "", since: float = 0.0) -> Iterator[CallRow]:
    """The calls of a task, or all, in the order in which they came; from that time on (seconds since the epoch) where
    `since` is given, without those that have no time. Streams. Raises UnknownKind."""
    with home.store() as store:
        tasks = known_tasks(store, home.settings)
        if task and task not in tasks:
            raise UnknownKind("task", task, tasks)
        owners = Owners(tasks.values())
        for call in store.calls_kept_under(*owners.kept_under(task)) if task else store.calls():
            if call.timestamp < since or (since and not call.timestamp):
                continue
            found = owners.of(call)
            if not task or (found is not None and found.name == task):
                yield _row(call, found)


def _row(call: Call, task: Task | None) -> CallRow:
    account = call.account
    return CallRow(
        id=call.id,
        task=task.name if task else None,
        time=_iso(call.timestamp),
        rung=call.rung or (CACHE if call.provider == CACHE else INCUMBENT),
        input=_input(call, task),
        answer=_answer(call, task),
        error=call.error or None,
        response_id=call.response_id or None,
        spent_usd=account.spent_usd if account else None,
        saved_usd=account.saved_usd if account else None,
    )


def _iso(at: float) -> str | None:
    if at <= 0.0:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _input(call: Call, task: Task | None) -> Any:
    if task is not None and task.template is not None:
        value = task.template.cut(call.request)
        if value:
            return value
    messages = call.request.get("messages")
    said = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    texts = [message_text(one) for one in said if one.get("role") == "user"]
    return texts[-1] if texts and texts[-1] is not None else messages


def _answer(call: Call, task: Task | None) -> Any:
    if call.error or call.message is None:
        return None
    if task is not None and task.family:
        answer = families().load(task.family).read_answer(task, call)
        if answer is not None:
            return answer
    if call.content is not None:
        return call.content
    return {key: value for key, value in call.message.items() if key != "role" and value is not None} or None
