"""Answers as (name, value) pairs by their family, and F1 scores from counts of the pairs that agree.

A label is one pair. An object is a pair for each field, so that precision, recall and F1 mean for fields what they mean
for labels. Source: van Rijsbergen (1979), Information Retrieval, ch. 7, for F; Sebastiani (2002), Machine learning in
automated text categorization, for micro and macro averages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.family import families

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Pair = tuple[str, bytes]
"""A part's name, and its value in canonical JSON, in which true is not 1."""
Cut = Callable[[Answer], Iterable[Pair]]
"""An answer's pairs; one that is given twice counts twice."""


@dataclass(frozen=True)
class PairCounts:
    """n rows of answers beside references, in k cells: a row and a name that its answer or its reference has.

    names: sorted. row, name: (k,), the cell's row and the index of its name. hits, given, there: (k,), how many pairs
    of the cell agree, are in the answer, are in the reference.
    """

    names: tuple[str, ...]
    row: Integers
    name: Integers
    hits: Floats
    given: Floats
    there: Floats

    def by_name(self, counts: Floats, drawn: Integers | None = None) -> Floats:
        """The sums of `counts` (k,) by name, each row as often as it is drawn (n,)."""
        weighted = counts if drawn is None else counts * drawn[self.row]
        return np.bincount(self.name, weighted, minlength=len(self.names)).astype(np.float64)


def parts_of(family: str) -> Cut:
    """How a family cuts its answers: each part with its whole value."""
    parts = families().load(family).parts
    return lambda answer: ((name, canonical_json(value)) for name, value in parts(answer).items())


def count_pairs(answers: Sequence[Answer | None], references: Sequence[Answer], cut: Cut) -> PairCounts:
    """Pairs of n answers and references. An answer of None has none, and so misses all of its reference's."""
    cells: list[tuple[int, str, int, int, int]] = []
    for row, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        predicted, expected = Counter(() if answer is None else cut(answer)), Counter(cut(reference))
        given, there, hits = _by_name(predicted), _by_name(expected), _by_name(predicted & expected)
        cells += [(row, name, hits[name], given[name], there[name]) for name in sorted({*given, *there})]
    names = sorted({name for _, name, *_ in cells})
    place = {name: index for index, name in enumerate(names)}
    table = np.array([counts for _, _, *counts in cells], dtype=np.float64).reshape(len(cells), 3)
    return PairCounts(
        names=tuple(names),
        row=np.array([row for row, *_ in cells], dtype=np.int64),
        name=np.array([place[name] for _, name, *_ in cells], dtype=np.int64),
        hits=table[:, 0],
        given=table[:, 1],
        there=table[:, 2],
    )


def micro_loss(counts: PairCounts) -> Callable[[Integers], float]:
    """1 − 2·hits / (given + there) over all pairs, by how often each row is drawn; 0 where there are no pairs."""

    def loss(drawn: Integers) -> float:
        weights = drawn[counts.row]
        seen = float(weights @ (counts.given + counts.there))
        return 1.0 - 2.0 * float(weights @ counts.hits) / seen if seen else 0.0

    return loss


def macro_loss(counts: PairCounts) -> Callable[[Integers], float]:
    """1 − the mean F1 over the names that the drawn rows have, on either side; 0 where they have none."""

    def loss(drawn: Integers) -> float:
        hits = counts.by_name(counts.hits, drawn)
        seen = counts.by_name(counts.given + counts.there, drawn)
        present = seen > 0
        return float(1.0 - np.mean(2.0 * hits[present] / seen[present])) if present.any() else 0.0

    return loss


def most_confused(answers: Sequence[Answer | None], references: Sequence[Answer], cut: Cut) -> dict[str, str]:
    """For each name, the wrong one that most often has its value instead (ties: the first); names without are left out.

    Of labels: the wrong label most often given. Of fields: the field that a value was most often put under instead.
    """
    confused: Counter[tuple[str, str]] = Counter()
    for answer, reference in zip(answers, references, strict=True):
        predicted, expected = Counter(() if answer is None else cut(answer)), Counter(cut(reference))
        wrong = list((predicted - expected).elements())
        confused.update(
            (name, other)
            for name, value in expected - predicted
            for other, reference_value in wrong
            if reference_value == value
        )
    result: dict[str, str] = {}
    for name, other in sorted(confused, key=lambda pair: (-confused[pair], pair)):
        result.setdefault(name, other)
    return result


def _by_name(pairs: Counter[Pair]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for (name, _), times in pairs.items():
        counted[name] += times
    return counted
