"""Graded rows, the input of every metric: n answers with references, losses and calibrated confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.dataset import Answer, Example
from stepdown.core.extraction.form import Form
from stepdown.core.family import loss_named


@dataclass(frozen=True)
class Rows:
    """n graded rows. losses: (n,) in [0, 1], of the task's family. confidences: (n,) probabilities of being right.

    An answer of None is one that could not be had or parsed; its loss is 1. form: of the task's answers, where they
    have fields and it is known.
    """

    family: str
    answers: Sequence[Answer | None]
    references: Sequence[Answer]
    losses: NDArray[np.float64]
    confidences: NDArray[np.float64] | None = None
    form: Form | None = None

    def __len__(self) -> int:
        return len(self.answers)

    def take(self, indices: NDArray[np.int64]) -> Rows:
        """The rows at `indices`, in that order."""
        return replace(
            self,
            answers=[self.answers[index] for index in indices],
            references=[self.references[index] for index in indices],
            losses=self.losses[indices],
            confidences=None if self.confidences is None else self.confidences[indices],
        )


def grade(
    family: str,
    answers: Sequence[Answer | None],
    references: Sequence[Answer],
    confidences: ArrayLike | None = None,
    loss: str = "",
    form: Form | None = None,
) -> Rows:
    """Rows with a loss of `family`, its first for "".

    ValueError on unequal lengths, no rows, or confidences outside [0, 1].
    """
    rule = loss_named(family, loss)
    if len(answers) != len(references) or not len(answers):
        raise ValueError(
            f"Got {len(answers)} answers and {len(references)} references; expected as many, and one or more."
        )
    losses = np.array([rule.of(*pair) for pair in zip(answers, references, strict=True)], dtype=np.float64)
    return Rows(family, answers, references, losses, _checked(confidences, len(answers)), form)


def references_of(examples: Sequence[Example], reference: str) -> list[Answer | None]:
    """The reference of each example: its gold, or the incumbent's answer; None where it has none."""
    if reference == "gold":
        return [example.gold for example in examples]
    if reference == "incumbent":
        return [example.incumbent for example in examples]
    raise ValueError(f"Got the reference {reference!r}; expected 'gold' or 'incumbent'.")


def _checked(confidences: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    if confidences is None:
        return None
    values = np.asarray(confidences, dtype=np.float64)
    if values.shape != (n,) or not bool(np.all((values >= 0.0) & (values <= 1.0))):
        raise ValueError(f"Got confidences of shape {values.shape}; expected {n} numbers in [0, 1].")
    return values
