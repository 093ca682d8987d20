"""The answers of a group of calls: their family, how they are read, and which labels occur."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.family import Family, families
from stepdown.core.tasks import Match, Task
from stepdown.traffic.tally import Reservoir

SAMPLE = 2_000
CONTENT_CHARACTERS = 20_000
ASKED_CHARACTERS = 2_000
MOST_TOOL_CALLS = 16
MAX_SCHEMAS = 200
MAX_LABELS = 20_000
LEAST_FIT = 0.6
_STATES_A_SHAPE = ("response_format", "tools")


class Reading(msgspec.Struct, frozen=True):
    """How answers are read. task: has only family, path and form; family "" where none fits.

    Of (a sample of) the answers: share can be read so, distinct is how many different ones there are, and unread is why
    most of the others cannot be read.
    """

    task: Task = Task(name="", family="", match=Match())
    labels: tuple[str, ...] = ()
    share: float = 0.0
    distinct: int = 0
    unread: str = ""


class Answers:
    """The answers of a group, added one by one: a uniform sample, and every label once it is known how to read them."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._sample: Reservoir[Call] = Reservoir(SAMPLE, generator)
        self._reading = Reading()
        self._family: Family | None = None
        self._labels: set[str] = set()
        self._schemas: dict[str, Any] = {}

    def add(self, call: Call) -> None:
        """Count one call's answer."""
        slim = self._slimmed(call)
        self._sample.add(slim)
        if self._sample.seen == SAMPLE:
            self._reading = reading_of(self._sample.items)
            self._labels.update(self._reading.labels)
            # To hold answers against a schema takes long, and the sample tells their slices well enough.
            if self._reading.task.family and self._reading.task.form is None:
                self._family = families().load(self._reading.task.family)
        elif self._family is not None and len(self._labels) < MAX_LABELS:
            answer = self._family.read_answer(self._reading.task, slim)
            if answer is not None:
                self._labels.add(self._family.slice_of(answer))

    def reading(self, family: str = "", path: str = "") -> Reading:
        """How the answers are read, by the whole sample; with every label seen where that did not change on the way.

        family, path: as the user says that they are to be read; "" to tell by the answers.
        """
        final = reading_of(self._sample.items, family, path)
        if final.task != self._reading.task:
            return final
        return msgspec.structs.replace(final, labels=tuple(sorted({*final.labels, *self._labels})))

    def _slimmed(self, call: Call) -> Call:
        """The call reduced to what determines how its answer is read: thousands are held at once."""
        request: dict[str, Any] = {"messages": [_asked(call.request)]}
        for name in _STATES_A_SHAPE:
            if call.request.get(name) is not None:
                request[name] = self._shared(call.request[name])
        message = dict(call.message or {})
        if isinstance(message.get("content"), str):
            message["content"] = message["content"][:CONTENT_CHARACTERS]
        if isinstance(message.get("tool_calls"), list):
            message["tool_calls"] = message["tool_calls"][:MOST_TOOL_CALLS]
        response = {"choices": [{"message": message}]} if call.response is not None else None
        return Call(id="", request=request, response=response, error=call.error)

    def _shared(self, schema: Any) -> Any:
        """The same object for equal schemas: every request of a task repeats its tools."""
        key = digest_of(schema)
        if len(self._schemas) < MAX_SCHEMAS:
            self._schemas.setdefault(key, schema)
        return self._schemas.get(key)


def reading_of(calls: Sequence[Call], family: str = "", path: str = "") -> Reading:
    """The reading of answers that a sample of calls suggests; family "" where no family fits.

    family, path: what is known already.
    """
    name = family or _best_family(calls)
    if not name:
        return Reading()
    kind = families().load(name)
    shape = kind.read_shape(calls, path)
    task = Task(name="", family=name, match=Match(), answer=shape.path, form=shape.form)
    known, unread = [], Counter[str]()
    for call in calls:
        answer = kind.read_answer(task, call)
        if answer is None:
            unread[kind.why_unread(task, call)] += 1
        else:
            known.append(answer)
    labels = tuple(sorted({kind.slice_of(answer) for answer in known}))
    return Reading(
        task,
        labels,
        share=len(known) / max(1, len(calls)),
        distinct=len(set(map(canonical_json, known))),
        unread=next((why for why, _ in unread.most_common(1)), ""),
    )


def _best_family(calls: Sequence[Call]) -> str:
    kinds = families().all()
    fits = {name: kinds[name].fits(calls) for name in kinds}
    best = max(fits, key=lambda name: fits[name], default="")
    return best if best and fits[best] >= LEAST_FIT else ""


def _asked(request: dict[str, Any]) -> dict[str, Any]:
    """The end of the last message, where the input mostly stands."""
    messages = request.get("messages")
    turns = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    content = turns[-1].get("content") if turns else None
    return {"role": "user", "content": content[-ASKED_CHARACTERS:] if isinstance(content, str) else ""}


def answer_format(request: dict[str, Any]) -> tuple[Any, ...]:
    """What a request states of its answer: the response format's name and the names of the tools."""
    shape = request.get("response_format")
    inner = shape.get("json_schema") if isinstance(shape, dict) else None
    name = str(inner.get("name")) if isinstance(inner, dict) else ""
    tools = request["tools"] if isinstance(request.get("tools"), list) else []
    functions = [tool.get("function") if isinstance(tool, dict) else None for tool in tools]
    return name, tuple(str(function.get("name")) if isinstance(function, dict) else "" for function in functions)
