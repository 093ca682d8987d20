"""A family: what kind of answer a task wants. One file each in `families/`; every step of the spine asks it.

A family's module has these functions, and nothing else of the house knows what an answer looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from stepdown.core.calls import Call
from stepdown.core.dataset import Answer
from stepdown.core.errors import ContractError, nearest
from stepdown.core.extraction.form import Form
from stepdown.core.kinds import Kinds
from stepdown.core.tasks import Task

Support = Literal["zero_one", "bounded"]


@dataclass(frozen=True)
class Loss:
    """A loss that a contract can be about. support: "zero_one" where it can only be 0 or 1, else "bounded".

    of: answer and reference to a number in [0, 1], lower is better; 1.0 for an answer of None.
    triangle: whether loss(a, c) ≤ loss(a, b) + loss(b, c). Only then does disagreement with the incumbent bound the
    excess loss over it, and agreement can be evidence. noun: what people read there is more or less of; measure: the
    noun is what the loss is 1 minus, and more of it is better.
    """

    name: str
    support: Support
    of: Callable[[Answer | None, Answer], float]
    triangle: bool = True
    noun: str = "error"
    measure: bool = False


@dataclass(frozen=True)
class LossExample:
    """An answer and a reference, and the loss that they must have."""

    answer: Answer | None
    reference: Answer
    expected: float


class LossKind(Protocol):
    """The protocol a module in `core/losses/` keeps; its file's name, with dashes, is the loss's."""

    FAMILIES: tuple[str, ...]
    """The families whose answers it can judge."""
    SUPPORT: Support
    TRIANGLE: bool
    NOUN: str
    """What people read there is more or less of: "error", or the measure that the loss is 1 minus."""
    MEASURE: bool
    """Whether the noun is such a measure, of which more is better."""

    def of(self, answer: Answer | None, reference: Answer) -> float:
        """The loss, in [0, 1]; 1.0 for an answer of None."""

    def examples(self) -> list[LossExample]:
        """Worked cases."""


@dataclass(frozen=True)
class Shape:
    """How a task's answers are read. path: where the decision sits. form: the fields, for answers that have some."""

    path: str = "$"
    form: Form | None = None


class Family(Protocol):
    """The protocol a module in `core/families/` keeps."""

    LOSS: str
    """The loss that is meant where a contract names none."""

    def fits(self, calls: Sequence[Call]) -> float:
        """How well a sample of calls fits this family, in [0, 1]; the highest wins when a task is inferred."""

    def read_shape(self, calls: Sequence[Call], path: str = "") -> Shape:
        """How the answers of these calls are to be read, by what the requests state and what the answers show.

        path: where the decision sits, where the user says so.
        """

    def read_answer(self, task: Task, call: Call) -> Answer | None:
        """The canonical answer in a call's response, or None when it cannot be parsed or is off the schema."""

    def why_unread(self, task: Task, call: Call) -> str:
        """In a few plain words why `read_answer` gives None; always the same words for the same reason."""

    def canonical(self, task: Task, value: Any) -> Answer | None:
        """A gold value (as a file has it) in canonical form, or None when it cannot be one."""

    def why_unfit(self, task: Task, answer: Answer, request: dict[str, Any]) -> str:
        """Why a canonical answer is none that this task has, as far as answers, the request's own schema and the form
        show; it names some that would be. "" where it may be one."""

    def write_answer(self, task: Task, answer: Answer, confidence: float, like: dict[str, Any]) -> dict[str, Any]:
        """The message a client expects, in the shape of `like`, one of the incumbent's own messages."""

    def like(self, task: Task, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Of the incumbent's messages with one answer the pattern to write it by: without what belongs to one request
        alone, such as an explanation."""

    def like_key(self, task: Task, answer: Answer) -> str:
        """Answers with the same key are written by the same pattern."""

    def slice_of(self, answer: Answer) -> str:
        """The name of the slice "label" that an answer belongs to."""

    def parts(self, answer: Answer) -> dict[str, Any]:
        """What an answer is made of, by name: a label, or fields with their values. Two answers agree on a part where
        both have it with the same value."""


def families() -> Kinds[Family]:
    """Every family of answers that the house knows."""
    return Kinds("stepdown.core.families", "family")


def loss_kinds() -> Kinds[LossKind]:
    """Every loss that is installed."""
    return Kinds("stepdown.core.losses", "loss")


def all_losses() -> dict[str, Loss]:
    """Every loss that is installed, by name."""
    found = {name.replace("_", "-"): kind for name, kind in loss_kinds().all().items()}
    return {
        name: Loss(name, kind.SUPPORT, kind.of, kind.TRIANGLE, kind.NOUN, kind.MEASURE) for name, kind in found.items()
    }


def losses_of(family: str) -> dict[str, Loss]:
    """The losses that a contract about answers of this family may name."""
    fitting = {name.replace("_", "-") for name, kind in loss_kinds().all().items() if family in kind.FAMILIES}
    return {name: loss for name, loss in all_losses().items() if name in fitting}


def loss_named(family: str, name: str = "") -> Loss:
    """A family's loss by name, its own one for "". Raises ContractError naming those there are."""
    losses = losses_of(family)
    name = name or families().load(family).LOSS
    if name not in losses:
        close = nearest(name, losses)
        raise ContractError(
            f"The contract has loss = {name!r}.",
            f"Answers of the family {family!r} have: {', '.join(losses)}.",
            f"Did you mean {close!r}?" if close else "Change loss.",
        )
    return losses[name]
