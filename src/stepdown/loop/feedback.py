"""What clients say of answers, kept: as gold where it names the right one, as a verdict where it only judges."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.family import families
from stepdown.core.keys import Key
from stepdown.core.store import VOLUNTEERED_JUDGE, Gold, Store, Verdict
from stepdown.core.tasks import Task
from stepdown.gateway.errors import Refused
from stepdown.gateway.feedback import Feedback

SOURCE = "feedback"


def keep_feedback(store: Store, tasks: dict[str, Task], feedback: Feedback, key: Key | None) -> str:
    """ "gold" or "verdict". Raises Refused: no such call, not the key's to judge, what cannot be an answer to it, or
    another gold answer that was not volunteered.

    Gold from feedback is volunteered: people speak of the answers they please, so that it is learned from and is never
    evidence.
    """
    call = _call(store, feedback.id)
    task = _task(tasks, call.workload_id)
    name = task.name if task else call.workload_id
    if key is not None and not key.allows_task(name):
        raise Refused(403, f"This key may not speak of the task {name!r}.", "task_not_allowed")
    if feedback.gold is not msgspec.UNSET:
        return _gold(store, call, task, feedback.gold, feedback.source)
    if feedback.accepted is True:
        return _gold(store, call, task, _answer_of(call, task), feedback.source)
    loss = 1.0 if feedback.accepted is False else 1.0 - float(feedback.score or 0.0)
    answer = _answer_of(call, task) if call.rung else None
    judge = VOLUNTEERED_JUDGE + (feedback.source or "")
    store.add_verdicts([Verdict(id=call.id, loss=loss, answer=answer, judge=judge)], yielding=True)
    return "verdict"


def _task(tasks: dict[str, Task], workload: str) -> Task | None:
    """The task whose calls are kept under that name."""
    return next((task for task in tasks.values() if task.match.workload == workload), tasks.get(workload))


def _gold(store: Store, call: Call, task: Task | None, value: Any, source: str) -> str:
    if task is not None and task.family:
        canonical = families().load(task.family).canonical(task, value)
        if canonical is None:
            raise Refused(422, f"The gold value cannot be an answer of the task {task.name!r}.", "invalid_gold")
        value = canonical
    added = store.add_gold([Gold(id=call.id, gold=value, source=source or SOURCE, basis="volunteered")], yielding=True)
    if added.kept:
        raise Refused(
            409,
            f"The call {call.id!r} has another gold answer, which was not volunteered; feedback does not replace it.",
            "gold_exists",
        )
    return "gold"


def _call(store: Store, name: str) -> Call:
    known = store.call_id_of(name) or name
    call = next(iter(store.calls_by_id([known])), None)
    if call is None:
        raise Refused(
            404,
            f"No recorded call has the id {name[:100]!r}: it may wait to be written, or was not sampled or not kept.",
            "unknown_call",
        )
    return call


def _answer_of(call: Call, task: Task | None) -> Any:
    if task is not None and task.family:
        found = families().load(task.family).read_answer(task, call)
        if found is not None:
            return found
    if call.content is None:
        raise Refused(422, "The call has no answer that could be accepted or judged.", "no_answer")
    return call.content
