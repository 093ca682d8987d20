"""What kind of answers a group of calls has: which family, where the decision sits, and which labels were given."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from stepdown.core.calls import Call
from stepdown.core.family import Family, families
from stepdown.core.tasks import Match, Task
from stepdown.traffic.tally import Reservoir

SAMPLE = 2_000
CONTENT_CHARACTERS = 20_000
MAX_LABELS = 20_000
LEAST_FIT = 0.6


class Reading(msgspec.Struct, frozen=True):
    """How answers are read. family: "" where none fits. share: of (a sample of) the answers that can be read so."""

    family: str = ""
    path: str = "$"
    labels: tuple[str, ...] = ()
    share: float = 0.0


class Answers:
    """The answers of a group as they stream by: a uniform sample, and every label once it is known how to read them."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._sample: Reservoir[str | None] = Reservoir(SAMPLE, generator)
        self._reading = Reading()
        self._family: Family | None = None
        self._labels: set[str] = set()

    def add(self, content: str | None) -> None:
        """Count one answer's text; None where the call has none."""
        self._sample.add(None if content is None else content[:CONTENT_CHARACTERS])
        if self._sample.seen == SAMPLE:
            self._reading = reading_of(self._sample.items)
            self._labels.update(self._reading.labels)
            if self._reading.family:
                self._family = families().load(self._reading.family)
        elif self._family is not None and len(self._labels) < MAX_LABELS:
            answer = _read(self._family, self._reading.path, content)
            if isinstance(answer, str):
                self._labels.add(answer)

    def reading(self) -> Reading:
        """How the answers are read, by the whole sample; with every label seen where that did not change on the way."""
        final = reading_of(self._sample.items)
        if (final.family, final.path) != (self._reading.family, self._reading.path):
            return final
        return msgspec.structs.replace(final, labels=tuple(sorted({*final.labels, *self._labels})))


def reading_of(contents: Sequence[str | None]) -> Reading:
    """The family and answer path that a sample of answers suggests; family "" where no family's answers look so."""
    kinds = families().all()
    fits = {name: kinds[name].fits(contents) for name in kinds}
    best = max(fits, key=lambda name: fits[name], default="")
    if not best or fits[best] < LEAST_FIT:
        return Reading()
    path = kinds[best].locate(contents)
    answers = [_read(kinds[best], path, content) for content in contents]
    known = [answer for answer in answers if answer is not None]
    labels = tuple(sorted({answer for answer in known if isinstance(answer, str)}))
    return Reading(best, path, labels, len(known) / max(1, len(answers)))


def _read(family: Family, path: str, content: str | None) -> object:
    choices = [{"message": {"role": "assistant", "content": content}}]
    call = Call(id="", request={}, response={"choices": choices})
    return family.read_answer(Task(name="", family="", match=Match(), answer=path), call)
