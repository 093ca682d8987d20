"""What the worlds ask of the code that is measured: one build, from calls to a certificate, in one journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from benchmarks._evidence.traffic import FixedStudent, Judgement
from stepdown.core.calls import Call
from stepdown.core.certificate import Certificate
from stepdown.core.dataset import Answer
from stepdown.core.tasks import Task

GoldBasis = Literal["volunteered", "random-sample"]

Ask = Callable[[Sequence[str]], dict[str, Answer]]
"""Ids of calls to their right answers, as a person labels them."""


@dataclass(frozen=True)
class Order:
    """One build. given: gold that was there before anything was drawn, and its basis, as its owner declares it. ask:
    labels whatever it is asked for, or None where nobody would.

    most_labels: how many rows a person has labelled by now, from the top of the list; None for all of it. whole_draw:
    whether all that was drawn is labelled before the first test (`stepdown sample`), or as much as builds ask for.
    whole_since: calls of before were forgotten unless they had gold, as the journal says.
    contract: keys of the contract; margin and evidence among them. students: those of this build.
    """

    task: Task
    calls: list[Call]
    given: Mapping[str, Answer]
    given_basis: GoldBasis
    ask: Ask | None
    students: tuple[FixedStudent, ...]
    contract: Mapping[str, Any]
    verdicts: Sequence[Judgement] = ()
    judge: str = ""
    most_labels: int | None = None
    whole_draw: bool = False
    whole_since: float = 0.0


class Journal(Protocol):
    """One project: what was attempted, and whatever else lasts from build to build."""

    def build(self, order: Order) -> Certificate | None:
        """The certificate or refusal of this build; None where the code did not come as far as that."""


class Rooms(Protocol):
    """A module that runs builds."""

    def new_journal(self, seed: int) -> Journal: ...
