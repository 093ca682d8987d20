"""A family: what kind of answer a task wants. One file each in `families/`; every step of the spine asks it.

A family's module has these functions, and nothing else of the house knows what an answer looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from stepdown.core.calls import Call
from stepdown.core.dataset import Answer
from stepdown.core.kinds import Kinds
from stepdown.core.tasks import Task


class Family(Protocol):
    """The protocol a module in `core/families/` keeps."""

    PRIMARY_LOSS: str
    """The name of the loss that contracts are about, in plain words ("error")."""

    def fits(self, contents: Sequence[str | None]) -> float:
        """How well a sample of answer texts fits this family, in [0, 1]; the highest wins when a task is inferred."""

    def locate(self, contents: Sequence[str | None]) -> str:
        """Where in these answers the decision sits, as an answer path ("$", "$.category")."""

    def read_answer(self, task: Task, call: Call) -> Answer | None:
        """The canonical answer in a call's response, or None when it cannot be parsed or is off the schema."""

    def canonical(self, task: Task, value: Any) -> Answer | None:
        """A gold value (as a file has it) in canonical form, or None when it cannot be one."""

    def write_answer(self, task: Task, answer: Answer, confidence: float, like: str) -> str:
        """The content a client expects, in the shape of `like`, one of the incumbent's own contents."""

    def loss(self, answer: Answer | None, reference: Answer) -> float:
        """In [0, 1], lower is better; 1.0 for None."""

    def slice_of(self, answer: Answer) -> str:
        """The name of the slice "label" that an answer belongs to."""


def families() -> Kinds[Family]:
    """Every family of answers that the house knows."""
    return Kinds("stepdown.core.families", "family")
