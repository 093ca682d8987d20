"""What training time follows from: how much there is to learn, and how fast this machine is. Both are plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

LONGEST = 256
"""No student learns from more tokens of one text."""
_LETTERS = 4.4
"""Characters of a token, spaces included, in the languages that the default base reads."""


@dataclass(frozen=True)
class TrainingSize:
    """How much there is to learn. rows: texts, those without an answer included. tokens: of all of them, roughly."""

    rows: int
    labels: int
    tokens: int

    def read(self, longest: int) -> int:
        """The tokens that are read where every text is cut at `longest`, roughly."""
        return min(self.tokens, self.rows * longest)


def training_size(texts: Sequence[str], labels: int) -> TrainingSize:
    """The size of a task from its texts; two tokens a text are the encoder's own marks."""
    tokens = sum(min(LONGEST, 2 + int(len(text) / _LETTERS)) for text in texts)
    return TrainingSize(len(texts), labels, tokens)


class MachineSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a machine trains, measured once (`students.machine_speed`).

    token_layer_s: by arithmetic ("float32", "bfloat16"), seconds to train one token through one layer of 384 numbers on
    so many threads. slowness: of all else, against the machine on which the kinds' own constants were measured.
    """

    cpu: str = ""
    torch: str = ""
    threads: int = 2
    arithmetic: str = "bfloat16"
    token_layer_s: dict[str, float] = msgspec.field(default_factory=lambda: {"float32": 6e-5, "bfloat16": 2e-5})
    slowness: float = 1.0

    @property
    def layer_s(self) -> float:
        """Seconds to train one token through one layer in the arithmetic that is used here."""
        return self.token_layer_s[self.arithmetic]


REFERENCE = MachineSpeed(cpu="the machine on which the kinds' constants were measured")
"""Where the answer must not depend on the machine (a scan, a test)."""


@dataclass(frozen=True)
class TrainingBudget:
    """seconds: for all students, on a machine of this speed, on a task of this size. each_s: of them, what a student
    costs beside its training (it is measured), long_each_s: the same in a build that has time for long measurements.

    around_s, share: a whole build of B seconds has share * (B - around_s) for its students.
    """

    size: TrainingSize
    seconds: float
    speed: MachineSpeed
    each_s: float = 0.0
    long_each_s: float = 0.0
    around_s: float = 0.0
    share: float = 1.0
