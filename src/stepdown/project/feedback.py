"""What clients say of answers: checked, kept beside what is there, and entered in the journal."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.family import families
from stepdown.core.keys import Key
from stepdown.core.ownership import Owners
from stepdown.core.store import Feedback as Piece
from stepdown.core.store import FeedbackKind, Store
from stepdown.core.tasks import Task
from stepdown.gateway.errors import Refused
from stepdown.gateway.feedback import Feedback
from stepdown.project.call_ids import are_equal


def keep_feedback(store: Store, tasks: dict[str, Task], feedback: Feedback, key: Key | None, now: float) -> str:
    """ "gold" or "verdict". Raises Refused: no call that the key may speak of, what cannot be an answer to it, or other
    gold that was imported; what contradicts that is kept all the same.

    A key speaks of its own calls, or of all where it has the right to label. Feedback is volunteered: people speak of
    the answers they please, so that it is learned from and is never evidence.
    """
    call = _call(store, feedback.id, key)
    task = Owners(tasks.values()).of(call)
    name = task.name if task else call.task or call.workload_id
    if key is not None and not key.allows_task(name):
        raise Refused(403, f"This key has no access to task {name!r}.", "task_not_allowed")
    kind, value, answer = _said(store, call, task, feedback)
    piece = Piece(
        call=call.id,
        kind=kind,
        value=value,
        answer=answer,
        key=key.id if key else "",
        name=key.name if key else "",
        comment=feedback.source,
    )
    store.add_feedback(name, piece, now)
    imported = store.imported_gold(call.id) if kind in ("gold", "accepted") else None
    if imported is not None and imported.gold != value:
        raise Refused(
            409,
            f"The call {call.id!r} has another gold answer, which was imported; feedback is kept beside it and does "
            "not replace it.",
            "gold_exists",
        )
    return "gold" if kind in ("gold", "accepted") else "verdict"


def _said(store: Store, call: Call, task: Task | None, feedback: Feedback) -> tuple[FeedbackKind, Any, Any]:
    """(kind, value, the answer that is judged)."""
    if feedback.gold is not msgspec.UNSET:
        return "gold", _fitting(store, call, task, feedback.gold), None
    if feedback.accepted is True:
        return "accepted", _answer_of(call, task), None
    answer = _answer_of(call, task) if call.rung else None
    if feedback.accepted is False:
        return "rejected", 1.0, answer
    return "score", 1.0 - float(feedback.score or 0.0), answer


def _fitting(store: Store, call: Call, task: Task | None, value: Any) -> Any:
    """The value in canonical form. Raises Refused where the task has no such answer."""
    if task is None or not task.family:
        return value
    family = families().load(task.family)
    canonical = family.canonical(task, value)
    if canonical is None:
        why_not = "It has no form that an answer of the task has"
    else:
        why_not = family.why_unfit(task, canonical, call.request)
    names = {call.workload_id, *([task.name, *task.match.names, task.match.workload] if call.task else [])}
    if why_not and (canonical is None or not any(store.has_gold_value(name, canonical) for name in names)):
        raise Refused(
            422,
            f"The gold value cannot be an answer of the task {task.name!r}. {why_not}. A new answer "
            "comes with imported gold.",
            "invalid_gold",
        )
    return canonical


def _call(store: Store, name: str, key: Key | None) -> Call:
    """The call of that id, else the newest with an answer of that id, that the key may speak of. Raises Refused, in the
    same words for a call of somebody else's and for none; and where several calls that differ have such an answer."""
    ids = [name, *store.call_ids_of(name)]
    calls_by_id = {call.id: call for call in store.calls_by_id(ids)}
    calls = [calls_by_id[call_id] for call_id in dict.fromkeys(ids) if call_id in calls_by_id]
    calls = [call for call in calls if key is None or key.may_label or call.client_id == key.id]
    if calls and (calls[0].id == name or are_equal(calls)):
        return calls[0]
    if calls:
        raise Refused(
            409,
            f"{len(calls)} calls that differ have an answer with the id {name[:100]!r}. Expected the id of one call, "
            f"as its header x-stepdown-id said: {', '.join(call.id for call in calls)}.",
            "several_calls",
        )
    raise Refused(
        404,
        f"No recorded call has the id {name[:100]!r}: it may wait to be written, or was not sampled or not kept. A key "
        "speaks of its own calls, or of all where it was made with --may-label.",
        "unknown_call",
    )


def _answer_of(call: Call, task: Task | None) -> Any:
    if task is not None and task.family:
        answer = families().load(task.family).read_answer(task, call)
        if answer is not None:
            return answer
    if call.content is None:
        raise Refused(422, "The call has no answer that could be accepted or judged.", "no_answer")
    return call.content
