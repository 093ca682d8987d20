"""A cascade: rungs, cheapest first, then the incumbent. The first rung that is sure enough answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.calibrator import Calibrator
from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Answer
from stepdown.core.inputs import Input
from stepdown.core.served import INCUMBENT, AskedRung
from stepdown.core.tasks import SlotValues, input_text, is_empty

MOST_CHARACTERS = 100_000
"""Longer inputs are never evidence, so that no certificate speaks of them."""

ABSTAINS = "abstains"
"""The signal of a student that says itself that it cannot give this answer: its confidence is then 0."""


class Answers(Protocol):
    """Answers to n inputs, their signals (n, k), and each part's probability of being right or None."""

    @property
    def answers(self) -> list[Answer]: ...

    @property
    def signals(self) -> NDArray[np.float64]: ...

    @property
    def parts(self) -> list[dict[str, float]] | None: ...


class Model(Protocol):
    """What a cascade needs of an opened student; `core.students.Student` says it in full."""

    kind: str

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """One answer with its signals."""

    def answer_many(self, inputs: Sequence[Input]) -> Answers:
        """Answers to many inputs."""


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """A student (by artefact hash), how its signals become a probability of being right, and when that is enough.

    calibrator: the fitted calibrator as plain numbers. threshold: answers with confidence ≥ it are accepted, but never
    one with confidence 0, with which a student says that it has no answer; above 1 the rung is never used.
    """

    kind: str
    artefact: str
    calibrator: dict[str, Any]
    threshold: float


class CascadeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A cascade as it is certified and served. Its hash names it on the certificate."""

    version: int = 1
    task: str
    rungs: tuple[Rung, ...]

    @property
    def digest(self) -> str:
        return digest_of(self)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered, what and how sure. answer is None and rung "incumbent" where the cascade escalates.

    confidence is then the highest that any rung reached. asked: the rungs that were asked, in order.
    """

    answer: Answer | None
    confidence: float
    rung: str
    asked: tuple[AskedRung, ...] = ()


Confidence = Callable[[tuple[float, ...]], float]
"""A calibrated probability of being right from one answer's signals."""


def open_confidence(calibrator: Mapping[str, Any]) -> Confidence:
    """The calibrator of a rung as a function of one answer's signals, for serving: about a microsecond a call.

    Raises ValueError when the numbers are not a calibrator's.
    """
    fitted = Calibrator.from_dict(calibrator).probability
    if ABSTAINS not in calibrator:
        return fitted
    place = int(calibrator[ABSTAINS])
    return lambda signals: 0.0 if signals[place] >= 0.5 else fitted(signals)


@dataclass(frozen=True)
class OpenRung:
    """A rung with its student opened and its calibrator ready."""

    student: Model
    confidence: Confidence
    threshold: float

    def accepts(self, confidence: float) -> bool:
        return 0.0 < confidence >= self.threshold

    def ask(self, input: Input) -> tuple[Answer | None, AskedRung]:
        """The student's answer, and how sure it is of it."""
        answer, signals = self.student.answer(input)
        return answer, AskedRung(self.student.kind, self.confidence(signals), self.threshold, signals)


@dataclass(frozen=True)
class Cascade:
    """Opened rungs in order."""

    rungs: tuple[OpenRung, ...]

    def decide(self, input: Input) -> Decision:
        """Ask the rungs in turn; escalate when none is sure enough."""
        asked: tuple[AskedRung, ...] = ()
        for rung in self.rungs:
            answer, one = rung.ask(input)
            asked = (*asked, one)
            if rung.accepts(one.confidence):
                return Decision(answer=answer, confidence=one.confidence, rung=one.rung, asked=asked)
        return _escalated(asked)

    def decide_many(self, inputs: Sequence[Input]) -> list[Decision]:
        """The decision on each of many inputs: those that a rung is not sure of go to the next one together."""
        if len(inputs) == 1:
            return [self.decide(inputs[0])]
        decisions: list[Decision | None] = [None] * len(inputs)
        asked: list[tuple[AskedRung, ...]] = [()] * len(inputs)
        left = list(range(len(inputs)))
        for rung in self.rungs:
            if not left:
                break
            said = rung.student.answer_many([inputs[place] for place in left])
            unsure = []
            for place, answer, signals in zip(left, said.answers, said.signals.tolist(), strict=True):
                confidence, kind = rung.confidence(tuple(signals)), rung.student.kind
                asked[place] = (*asked[place], AskedRung(kind, confidence, rung.threshold, tuple(signals)))
                if rung.accepts(confidence):
                    decisions[place] = Decision(answer=answer, confidence=confidence, rung=kind, asked=asked[place])
                else:
                    unsure.append(place)
            left = unsure
        return [decision or _escalated(asked[place]) for place, decision in enumerate(decisions)]

    def insist(self, input: Input) -> Decision:
        """The answer of the rung that is surest of it, sure enough or not; escalates only where no rung has one."""
        found = [rung.ask(input) for rung in self.rungs]
        asked = tuple(one for _, one in found)
        answer, surest = max(found, key=lambda pair: pair[1].confidence, default=(None, None))
        if surest is None or surest.confidence <= 0.0:
            return _escalated(asked)
        return Decision(answer=answer, confidence=surest.confidence, rung=surest.rung, asked=asked)


def _escalated(asked: tuple[AskedRung, ...]) -> Decision:
    best = max((one.confidence for one in asked), default=0.0)
    return Decision(answer=None, confidence=max(best, 0.0), rung=INCUMBENT, asked=asked)


def text_of(value: SlotValues) -> str | None:
    """The text that a cascade is asked for an input; None where no certificate speaks of it: empty, or too long."""
    text = input_text(value)
    return None if len(text) > MOST_CHARACTERS or is_empty(value) else text


def choose_rungs(confidences: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Which rung answers each of n inputs; -1 where the cascade escalates. confidences: (rungs, n)."""
    accepted = (confidences >= np.asarray(thresholds, dtype=np.float64)[:, None]) & (confidences > 0.0)
    if accepted.shape[0] == 0:
        return np.full(confidences.shape[1], -1, dtype=np.int64)
    return np.where(accepted.any(axis=0), accepted.argmax(axis=0), -1)
