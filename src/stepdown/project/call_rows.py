"""Calls as people read and export them: what was asked, who answered what, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.family import families
from stepdown.core.ownership import Owners
from stepdown.core.served import CACHE, INCUMBENT, Selection, Served
from stepdown.core.tasks import Task, message_text
from stepdown.project.discovery import known_tasks, no_such_task
from stepdown.project.home import Home


class RungRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rung that was asked, how sure it was, from which confidence on it answers, and the signals behind that."""

    rung: str
    confidence: float
    threshold: float
    signals: tuple[float, ...]


class ServedRow(msgspec.Struct, frozen=True, kw_only=True):
    """`core.served.Served`, every field of it, None where it is not known. confidence, threshold, signals: of the rung
    that answered; where the incumbent did, confidence is that of the surest rung that was asked."""

    rung: str
    cached: bool
    reason: str | None
    build: str | None
    cascade: str | None
    certificate: str | None
    confidence: float | None
    threshold: float | None
    signals: tuple[float, ...] | None
    asked: tuple[RungRow, ...]
    selection: Selection
    probability: float
    trace: str | None
    parent: str | None


class CallRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One call. task: None where it is of none. time: ISO 8601, UTC; None where it has none. rung: a student's kind,
    "incumbent" or "cache". input: what varies in the prompt, else the user's last text, else the messages. answer: as
    the task reads it, else the text, else the message; None for a call that failed. spent_usd, saved_usd: None where no
    gateway answered it. served: None where the incumbent answered and nothing else is known of that."""

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
    served: ServedRow | None = None


def read_calls(home: Home, task: str = "", since: float = 0.0) -> Iterator[CallRow]:
    """The calls of a task, or all, in the order in which they came; from that time on (seconds since the epoch) where
    `since` is given, without those that have no time. Streams. Raises UsageError."""
    with home.store() as store:
        tasks = known_tasks(store, home.settings)
        if task and task not in tasks:
            raise no_such_task(store, task, tasks)
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
        rung=CACHE if call.is_cached else call.rung or INCUMBENT,
        input=_input(call, task),
        answer=_answer(call, task),
        error=call.error or None,
        response_id=call.response_id or None,
        spent_usd=account.spent_usd if account else None,
        saved_usd=account.saved_usd if account else None,
        served=_served(call.served) if call.served else None,
    )


def _served(served: Served) -> ServedRow:
    answered = served.answered
    return ServedRow(
        rung=served.rung,
        cached=served.cached,
        reason=served.reason or None,
        build=served.build or None,
        cascade=served.cascade or None,
        certificate=served.certificate or None,
        confidence=served.confidence,
        threshold=answered.threshold if answered else None,
        signals=answered.signals if answered else None,
        asked=tuple(RungRow(**msgspec.structs.asdict(one)) for one in served.asked),
        selection=served.selection,
        probability=served.probability,
        trace=served.trace or None,
        parent=served.parent or None,
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
