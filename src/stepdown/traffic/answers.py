"""What kind of answers a group of calls has: which family, how they are read, and which labels were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from stepdown.core.calls import Call
from stepdown.core.canonical import digest_of
from stepdown.core.family import Family, families
from stepdown.core.tasks import Match, Task
from stepdown.traffic.tally import Reservoir

SAMPLE = 2_000
CONTENT_CHARACTERS = 20_000
ASKED_CHARACTERS = 2_000
MAX_SCHEMAS = 200
MAX_LABELS = 20_000
LEAST_FIT = 0.6
_STATES_A_SHAPE = ("response_format", "tools")


class Reading(msgspec.Struct, frozen=True):
    """How answers are read. task: no more than family, path and form; family "" where none fits. share: of (a sample
    of) the answers that can be read so."""

    task: Task = Task(name="", family="", match=Match())
    labels: tuple[str, ...] = ()
    share: float = 0.0


class Answers:
    """The answers of a group as they stream by: a uniform sample, and every label once it is known how to read them."""

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
            if self._reading.task.family:
                self._family = families().load(self._reading.task.family)
        elif self._family is not None and len(self._labels) < MAX_LABELS:
            answer = self._family.read_answer(self._reading.task, slim)
            if answer is not None:
                self._labels.add(self._family.slice_of(answer))

    def reading(self) -> Reading:
        """How the answers are read, by the whole sample; with every label seen where that did not change on the way."""
        final = reading_of(self._sample.items)
        if final.task != self._reading.task:
            return final
        return msgspec.structs.replace(final, labels=tuple(sorted({*final.labels, *self._labels})))

    def _slimmed(self, call: Call) -> Call:
        """The call with no more than what tells how its answer is read: thousands are held at once."""
        request: dict[str, Any] = {"messages": [_asked(call.request)]}
        for name in _STATES_A_SHAPE:
            if call.request.get(name) is not None:
                request[name] = self._shared(call.request[name])
        message = dict(call.message or {})
        if isinstance(message.get("content"), str):
            message["content"] = message["content"][:CONTENT_CHARACTERS]
        response = {"choices": [{"message": message}]} if call.response is not None else None
        return Call(id="", request=request, response=response, error=call.error)

    def _shared(self, schema: Any) -> Any:
        """The same object for equal schemas: every request of a task repeats its tools."""
        key = digest_of(schema)
        if len(self._schemas) < MAX_SCHEMAS:
            self._schemas.setdefault(key, schema)
        return self._schemas.get(key)


def reading_of(calls: Sequence[Call]) -> Reading:
    """The family, path and form that a sample of calls suggests; family "" where no family's answers look so."""
    kinds = families().all()
    fits = {name: kinds[name].fits(calls) for name in kinds}
    best = max(fits, key=lambda name: fits[name], default="")
    if not best or fits[best] < LEAST_FIT:
        return Reading()
    family = kinds[best]
    shape = family.read_shape(calls)
    task = Task(name="", family=best, match=Match(), answer=shape.path, form=shape.form)
    answers = [family.read_answer(task, call) for call in calls]
    known = [answer for answer in answers if answer is not None]
    labels = tuple(sorted({family.slice_of(answer) for answer in known}))
    return Reading(task, labels, len(known) / max(1, len(answers)))


def _asked(request: dict[str, Any]) -> dict[str, Any]:
    """The end of what was asked last, where the input mostly stands."""
    messages = request.get("messages")
    asked = [each for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    content = asked[-1].get("content") if asked else None
    return {"role": "user", "content": content[-ASKED_CHARACTERS:] if isinstance(content, str) else ""}
