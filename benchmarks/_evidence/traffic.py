"""Traffic whose truth is known: calls, what is right, fixed students, and the population that the calls come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.calls import Call
from stepdown.core.dataset import Answer
from stepdown.core.inputs import Input
from stepdown.core.students import Predictions
from stepdown.core.tasks import Match, Task

Floats = NDArray[np.float64]

DAY = 86_400.0
START = 1_760_000_000.0
SPAN_S = 30 * DAY


@dataclass
class FixedStudent:
    """A student that was never trained: a table from texts to an answer and one signal."""

    kind: str
    artefact: str
    table: Mapping[str, tuple[Answer, float]]
    signal_names: tuple[str, ...] = ("top",)

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        answer, signal = self.table[input.text]
        return answer, (signal,)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        found = [self.table[input.text] for input in inputs]
        return Predictions([answer for answer, _ in found], np.array([[signal] for _, signal in found]).reshape(-1, 1))


@dataclass(frozen=True)
class Judgement:
    """A judge's loss for one answer to one call; answer: None for the incumbent's own."""

    id: str
    loss: float
    answer: Answer | None


@dataclass(frozen=True)
class Traffic:
    """One month of one task. right: the right answer of every call, for whoever is asked to label it.

    given: the calls that had gold before anything was drawn, as somebody picked them. judges: the verdicts of each.
    whole_since: calls of before were forgotten unless they had gold.
    """

    task: Task
    calls: list[Call]
    right: dict[str, Answer]
    students: tuple[FixedStudent, ...]
    given: frozenset[str] = frozenset()
    judges: tuple[list[Judgement], ...] = ()
    whole_since: float = 0.0


@dataclass(frozen=True)
class Population:
    """The process that makes the calls, exactly: its cells and their weights (cells,), which sum to one.

    signal: (students, cells). excess: (students, cells), the expected excess loss where that student answers.
    """

    weight: Floats
    signal: Floats
    excess: Floats


@dataclass
class Writer:
    """Collects the calls of one seed. Times are those of real traffic: neither missing nor even."""

    generator: np.random.Generator
    calls: list[Call] = field(default_factory=list)
    right: dict[str, Answer] = field(default_factory=dict)

    def add(self, text: str, content: str, right: Answer, at: float, conversation: str = "", client: str = "") -> str:
        """One call; returns its id."""
        name = f"call-{len(self.calls):05d}"
        request: dict[str, Any] = {"model": "large", "messages": [{"role": "user", "content": text}]}
        if conversation:
            request["metadata"] = {"conversation": conversation}
        message = {"role": "assistant", "content": content}
        self.calls.append(
            Call(
                id=name,
                request=request,
                response={"id": f"r-{name}", "model": "large", "choices": [{"index": 0, "message": message}]},
                timestamp=at,
                client_id=client,
                workload_id="made-up",
            )
        )
        self.right[name] = right
        return name

    def times(self, count: int) -> Floats:
        return START + SPAN_S * self.generator.random(count)


def task_of(family: str, labels: tuple[str, ...]) -> Task:
    """The made-up task: its only user message is its input."""
    return Task(name="made-up", family=family, match=Match(workload="made-up"), labels=labels)


def random_texts(count: int, characters: int, generator: np.random.Generator) -> list[str]:
    """Texts that resemble each other no more than chance makes them."""
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", dtype=np.uint8)
    table = letters[generator.integers(0, len(letters), (count, characters))]
    table[:, 0] = table[:, -1] = ord("x")  # white space at the ends would not survive
    return [bytes(row).decode() for row in table]


def reported(difficulty: Floats) -> Floats:
    """A signal as models report it: falls with the difficulty, on the scale of log-odds."""
    return np.asarray(np.log((1.02 - difficulty) / (difficulty + 0.02)))
