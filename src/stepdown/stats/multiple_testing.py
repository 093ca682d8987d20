"""Several hypotheses under one error: fixed-sequence testing, and Holm's correction.

Fixed-sequence testing takes hypotheses in an order fixed beforehand, each at the full error, until the first failure.
Holm's procedure rejects all that Bonferroni's does and more, under any dependence.

Sources: Maurer, Hothorn & Lehmacher (1995), Multiple comparisons in drug clinical trials; Angelopoulos, Bates, Candès,
Jordan & Lei (2021), Learn then Test, arXiv:2110.01052; Holm (1979), A simple sequentially rejective multiple test
procedure, Scandinavian Journal of Statistics 6.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class SequenceWalk:
    """The p-values that were computed, in order, and the index of the last hypothesis rejected, if any."""

    p_values: tuple[float, ...]
    last_rejected: int | None


def walk_sequence(p_values: Iterable[float], error: float) -> SequenceWalk:
    """Walk p-values in their fixed order and stop at the first that is not rejected at `error`.

    The iterable may be lazy: nothing after the first failure is asked for. The chance that any true hypothesis is
    rejected is at most `error`, however long the sequence is.
    """
    if not 0.0 < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between 0 and 1, both excluded.")
    tested: list[float] = []
    for p_value in p_values:
        tested.append(p_value)
        if not p_value <= error:
            return SequenceWalk(tuple(tested), len(tested) - 2 if len(tested) > 1 else None)
    return SequenceWalk(tuple(tested), len(tested) - 1 if tested else None)


def holm_adjusted(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (k,), in the order given: those at or below the family's error are rejected."""
    raw = _checked(p_values)
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1)), 1.0)
    return adjusted


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not bool(np.all((raw >= 0.0) & (raw <= 1.0))):
        raise ValueError("Got p-values that are not a flat list of numbers between 0 and 1; expected exactly that.")
    return raw
