"""How far labels agree beyond what chance would bring.

Source: Cohen (1960), A coefficient of agreement for nominal scales, with sets of answers in place of one; the variance
is that of the matches when the labels are permuted at random (Hoeffding 1951, A combinatorial central limit theorem).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence

CLEAR = 4.0
"""So many standard deviations of chance must lie between chance and full agreement for the rows to tell."""


def matches_beyond_chance(labels: Sequence[Hashable], given: Sequence[Collection[Hashable]]) -> float | None:
    """How often a row's label is among the answers given there (n each), beyond what labels of other rows would be: 1
    for always, 0 for as often as chance brings; Cohen's kappa where one answer is given for each row.

    None where the rows cannot tell: too few, all answered or labelled alike, or with nearly all answers given.
    """
    if len(labels) != len(given):
        raise ValueError(f"Got {len(labels)} labels and {len(given)} rows of answers; expected as many.")
    n = len(labels)
    counts = Counter(labels)
    if n < 2 or len(counts) < 2 or len(set(map(frozenset, given))) < 2:
        return None
    # How many labels would match in each row, and how many rows would take each label.
    rows = [sum(counts[answer] for answer in set(answers)) for answers in given]
    takers = Counter(answer for answers in given for answer in set(answers) if answer in counts)
    total = sum(rows)
    expected = total / n
    squares = sum(row**2 for row in rows) + sum(counts[name] * taken**2 for name, taken in takers.items())
    variance = (total - squares / n + expected**2) / (n - 1)
    if n - expected <= CLEAR * math.sqrt(max(variance, 0.0)):
        return None
    matches = sum(label in answers for label, answers in zip(labels, given, strict=True))
    return (matches - expected) / (n - expected)
