"""Answers and references as integer codes, and what follows from counting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """Labels in order, and each row's answer and reference as an index into them; len(labels) stands for no answer."""

    labels: tuple[str, ...]
    answers: Integers
    references: Integers


def encode(answers: Sequence[Answer | None], references: Sequence[Answer]) -> Codes:
    """Codes of n rows of labels. A reference is never None."""
    labels = sorted({str(answer) for answer in answers if answer is not None} | {str(each) for each in references})
    index = {label: code for code, label in enumerate(labels)}
    missing = len(labels)
    return Codes(
        labels=tuple(labels),
        answers=np.array([missing if each is None else index[str(each)] for each in answers], dtype=np.int64),
        references=np.array([index[str(each)] for each in references], dtype=np.int64),
    )


def most_confused(codes: Codes) -> list[str]:
    """For each label, the wrong answer most often given for it ("" where there is none; ties: the first by name)."""
    wrong = (codes.answers != codes.references) & (codes.answers < len(codes.labels))
    pairs = codes.references[wrong] * np.int64(len(codes.labels)) + codes.answers[wrong]
    kinds, counts = np.unique(pairs, return_counts=True)
    result = [""] * len(codes.labels)
    for pair in kinds[np.argsort(-counts, kind="stable")]:
        reference, answer = divmod(int(pair), len(codes.labels))
        if not result[reference]:
            result[reference] = codes.labels[answer]
    return result
