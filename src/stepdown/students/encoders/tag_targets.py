"""What a tagger is taught, row by row: tags, choices, and what of a row is not known and teaches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.form import Span
from stepdown.runtime.tags.layout import IntArray, Units

UNKNOWN = -100
"""The tag or choice of what is not known; nothing is learned from it."""


@dataclass(frozen=True)
class TagTargets:
    """tags: (units,) per row. choices: (n, single groups). switches: float32 (n, switches), NaN where not known.

    weights: (n,), mean 1.
    """

    tags: list[IntArray]
    choices: IntArray
    switches: NDArray[np.float32]
    weights: NDArray[np.float32]

    def widened(self, units: Sequence[int]) -> TagTargets:
        """With rows of so many units more, of which nothing is known."""
        extra = len(units)
        return replace(
            self,
            tags=[*self.tags, *(np.full(count, UNKNOWN) for count in units)],
            choices=np.vstack([self.choices, np.full((extra, self.choices.shape[1]), UNKNOWN)]),
            switches=np.vstack([self.switches, np.full((extra, self.switches.shape[1]), np.nan, dtype=np.float32)]),
            weights=np.concatenate([self.weights, np.zeros(extra, dtype=np.float32)]),
        )


def tags_of(spans: Iterable[Span], units: Units, copied: Sequence[str]) -> tuple[IntArray, int, int]:
    """The tags (units,) that spans give, how many of them are marked exactly by whole units, and how many there are.

    A unit belongs to the first span that it overlaps; a span all of whose units are taken is not marked.
    """
    tags = np.zeros(len(units.places), dtype=np.int64)
    exact = count = 0
    place = {field: position for position, field in enumerate(copied)}
    for span in sorted(spans):
        if span.field not in place:
            continue
        count += 1
        inside = np.flatnonzero((units.bounds[:, 0] < span.end) & (units.bounds[:, 1] > span.start))
        inside = inside[tags[inside] == 0]
        if not len(inside):
            continue
        tags[inside] = 2 + 2 * place[span.field]
        tags[inside[0]] -= 1
        exact += int(units.bounds[inside[0], 0] == span.start and units.bounds[inside[-1], 1] == span.end)
    return tags, exact, count
