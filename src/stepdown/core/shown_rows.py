"""Which rows the figures and examples of a build are read on: never those of the evidence.

Nobody may see what a student answers on a row of the evidence before that evidence is spent, nor figures of single
students, labels or fields computed on it: who reads them and builds again has chosen by the evidence. Only a
certificate's own numbers come from the split *certify*.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepdown.core.dataset import SplitName

SHOWN_SPLITS: tuple[SplitName, ...] = ("tune", "test")
"""The splits that students have not learned from and that are no evidence."""
FEWEST = 100
"""Rows from which a figure is worth more than one on another split or against another reference."""
CAUTION = "thresholds were chosen on these rows too, so that figures are a little optimistic"

Rows = tuple[SplitName, str]
"""A split and what its answers are held against: "gold" or "incumbent"."""
_PREFERRED: tuple[Rows, ...] = (("test", "gold"), ("tune", "gold"), ("test", "incumbent"), ("tune", "incumbent"))


def shown_rows(counts: Mapping[tuple[str, str], int]) -> Rows | None:
    """The split and reference to read on, from how many rows each has; None where there is none but the evidence.

    Gold before the incumbent's answers, test before tune; those with fewer than `FEWEST` rows come last.
    """
    for least in (FEWEST, 1):
        found = next((rows for rows in _PREFERRED if counts.get(rows, 0) >= least), None)
        if found is not None:
            return found
    return None
