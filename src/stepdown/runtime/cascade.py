"""A cascade: rungs, cheapest first, then the incumbent. The first rung that is sure enough answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Answer
from stepdown.core.students import Student

INCUMBENT = "incumbent"


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

    confidence is then the highest that any rung reached.
    """

    answer: Answer | None
    confidence: float
    rung: str


Confidence = Callable[[tuple[float, ...]], float]
"""A calibrated probability of being right from one answer's signals."""


@dataclass(frozen=True)
class OpenRung:
    """A rung with its student opened and its calibrator ready."""

    student: Student
    confidence: Confidence
    threshold: float

    def accepts(self, confidence: float) -> bool:
        return 0.0 < confidence >= self.threshold


@dataclass(frozen=True)
class Cascade:
    """Opened rungs in order."""

    rungs: tuple[OpenRung, ...]

    def decide(self, text: str) -> Decision:
        """Ask the rungs in turn; escalate when none is sure enough."""
        best = 0.0
        for rung in self.rungs:
            answer, signals = rung.student.answer(text)
            confidence = rung.confidence(signals)
            if rung.accepts(confidence):
                return Decision(answer=answer, confidence=confidence, rung=rung.student.kind)
            best = max(best, confidence)
        return Decision(answer=None, confidence=best, rung=INCUMBENT)

    def decide_many(self, texts: Sequence[str]) -> list[Decision]:
        """The decision on each of many texts: those that a rung is not sure of go to the next one together."""
        if len(texts) == 1:
            return [self.decide(texts[0])]
        decisions: list[Decision | None] = [None] * len(texts)
        best = [0.0] * len(texts)
        left = list(range(len(texts)))
        for rung in self.rungs:
            if not left:
                break
            said = rung.student.answer_many([texts[place] for place in left])
            unsure = []
            for place, answer, signals in zip(left, said.answers, said.signals.tolist(), strict=True):
                confidence = rung.confidence(tuple(signals))
                if rung.accepts(confidence):
                    decisions[place] = Decision(answer=answer, confidence=confidence, rung=rung.student.kind)
                else:
                    best[place] = max(best[place], confidence)
                    unsure.append(place)
            left = unsure
        return [
            decision or Decision(answer=None, confidence=best[place], rung=INCUMBENT)
            for place, decision in enumerate(decisions)
        ]

    def insist(self, text: str) -> Decision:
        """The answer of the rung that is surest of it, sure enough or not; escalates only where no rung has one."""
        surest = Decision(answer=None, confidence=0.0, rung=INCUMBENT)
        for rung in self.rungs:
            answer, signals = rung.student.answer(text)
            confidence = rung.confidence(signals)
            if confidence > surest.confidence:
                surest = Decision(answer=answer, confidence=confidence, rung=rung.student.kind)
        return surest


def choose_rungs(confidences: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Which rung answers each of n inputs; -1 where the cascade escalates. confidences: (rungs, n)."""
    accepted = (confidences >= np.asarray(thresholds, dtype=np.float64)[:, None]) & (confidences > 0.0)
    if accepted.shape[0] == 0:
        return np.full(confidences.shape[1], -1, dtype=np.int64)
    return np.where(accepted.any(axis=0), accepted.argmax(axis=0), -1)
