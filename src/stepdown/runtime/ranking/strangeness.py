"""Whether a document is unlike those of training: its values stand beside words that named none of them there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stepdown.core.extraction.lines import label_words

QUANTILE = 0.99
"""Of training's documents, that are to count as like the others."""
LEAST_ROOM = 0.13
"""A value in eight may stand beside new words in any case."""


@dataclass(frozen=True)
class Familiar:
    """contexts: what stood before right values in training, by field. most: the share of a document's values whose
    words were never seen so, up to which it counts as familiar."""

    contexts: frozenset[str]
    most: float

    def strange(self, text: str, starts: Mapping[str, int]) -> float:
        """The share of values, given by field with where they start, that stand beside new words; 0 for none."""
        new = sum(context(name, text, start) not in self.contexts for name, start in starts.items())
        return new / len(starts) if starts else 0.0


def context(name: str, text: str, start: int) -> str:
    """A field with the two words before a place, those of the line above where it has none on its own."""
    return f"{name} {' '.join(label_words(text, start)[-2:])}"


def learn_familiar(documents: Iterable[tuple[str, Mapping[str, Sequence[int]]]]) -> Familiar:
    """From texts with the places of each field's right values. What one document alone has is new in it."""
    rows = [
        {context(name, text, at) for name, starts in found.items() for at in starts[:1]} for text, found in documents
    ]
    counts = Counter(each for row in rows for each in row)
    known = frozenset(each for each, count in counts.items() if count > 1)
    shares = sorted(sum(each not in known for each in row) / len(row) for row in rows if row)
    most = shares[min(len(shares) - 1, int(QUANTILE * len(shares)))] if shares else 1.0
    return Familiar(known, round(max(most, LEAST_ROOM), 4))
