"""Simulated evidence whose truth is known: paired 0/1 losses as they vary with a student's confidence.

Difficulty d runs from 0 (the student is surest) to 1 (least sure), uniformly, so accepting the surest share q means
accepting d <= q. A stream gives, at each difficulty, the chance that only the student errs (`worse`) and that only the
incumbent errs (`better`); the excess loss of accepting the share q is their difference integrated from 0 to q.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stepdown.stats import binomial, paired_binary
from stepdown.stats.excess_loss import Support
from stepdown.stats.multiple_testing import walk_sequence
from stepdown.stats.paired_binary import PairedCounts

Floats = NDArray[np.float64]
Chance = Callable[[Floats], Floats]

STEPS = 30
SHARES = np.arange(1, STEPS + 1) / STEPS  # the path: accept the surest 1/30, 2/30, ..., all


@dataclass(frozen=True)
class Stream:
    """One kind of evidence, the margin it is judged by, and what a reader needs to know of it."""

    name: str
    worse: Chance
    better: Chance
    margin: float = 0.02
    support: Support = "paired"

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Difficulties (n,) and excess losses (n,) where accepted."""
        difficulty = generator.random(count)
        luck = generator.random(count)
        excess = (luck < self.worse(difficulty)).astype(np.float64) - (luck > 1.0 - self.better(difficulty))
        return difficulty, excess

    def discordance(self) -> float:
        """The share of rows on which exactly one of student and incumbent errs."""
        middles = (np.arange(20_000) + 0.5) / 20_000
        return float((self.worse(middles) + self.better(middles)).mean())

    def true_excess(self) -> Floats:
        """True mean excess loss at each step of the path."""
        cells = 200
        middles = (np.arange(STEPS * cells) + 0.5) / (STEPS * cells)
        total = np.cumsum(self.worse(middles) - self.better(middles)) / (STEPS * cells)
        return np.asarray(total[cells - 1 :: cells])


def power_law(total: float, exponent: float) -> Chance:
    """A chance that rises as a power of the difficulty and is `total` on average."""
    return lambda difficulty: np.minimum(total * (exponent + 1.0) * difficulty**exponent, 1.0)


def pieces(*levels: tuple[float, float]) -> Chance:
    """A chance that is constant up to each given difficulty: (end, chance), (end, chance), ..."""
    ends, chances = np.array([end for end, _ in levels]), np.array([chance for _, chance in levels])
    return lambda difficulty: chances[np.minimum(np.searchsorted(ends, difficulty), len(chances) - 1)]


def path_counts(difficulty: Floats, excess: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many rows are worse and how many better at each step of the path."""
    step = np.minimum((difficulty * STEPS).astype(np.int64), STEPS - 1)
    worse = np.cumsum(np.bincount(step[excess > 0], minlength=STEPS))
    better = np.cumsum(np.bincount(step[excess < 0], minlength=STEPS))
    return worse, better


def certified_step(difficulty: Floats, excess: Floats, stream: Stream, error: float) -> int:
    """Last step of the path that fixed-sequence testing certifies at `error`, -1 for none."""
    decisions = (
        0.0 if rejects(int(worse), int(better), len(excess), stream.margin, stream.support, error) else 1.0
        for worse, better in zip(*path_counts(difficulty, excess), strict=True)
    )
    last = walk_sequence(decisions, error).last_rejected
    return -1 if last is None else last


def rejects(worse: int, better: int, count: int, margin: float, support: Support, error: float) -> bool:
    """Whether the p-value of these counts is at or below `error`."""
    return worse <= _most_worse(better, count, margin, support, error)


@lru_cache(maxsize=200_000)
def _most_worse(better: int, count: int, margin: float, support: Support, error: float) -> int:
    """Largest number of worse rows that is still rejected, -1 for none, remembered: simulated samples repeat."""
    low, high = -1, min(count - better, better + int(margin * count))
    # The normal approximation is nearly right, so the search begins around it and gallops outwards.
    middle, step, above, below = _nearly_most_worse(better, count, margin, error), 2, False, False
    while low < high:
        middle = min(max(middle, low + 1), high)
        if _p_value(middle, better, count, margin, support) <= error:
            low, above = middle, True
        else:
            high, below = middle - 1, True
        if above and below:
            middle = (low + high + 1) // 2
        else:
            middle, step = middle + (step if above else -step), 2 * step
    return low


def _p_value(worse: int, better: int, count: int, margin: float, support: Support) -> float:
    if support == "zero_one":
        return binomial.p_value(worse, count, margin)
    return paired_binary.p_value(PairedCounts(worse, better, count), margin)


def _nearly_most_worse(better: int, count: int, margin: float, error: float) -> int:
    quantile, worse = NormalDist().inv_cdf(1.0 - error), better + margin * count
    for _ in range(5):
        worse = better + margin * count - quantile * max(worse + better, 1.0) ** 0.5
    return int(worse)
