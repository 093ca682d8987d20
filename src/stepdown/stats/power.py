"""How many labelled examples a certificate needs, given a guess at the truth.

For each test, the sample is grown until even a pessimistic outcome, the one that only a share `1 - power` of samples
would be worse than, is rejected. The guess comes from *tune*, never from the evidence itself.

Sources: Nam (1997), Establishing equivalence of two treatments and sample size requirements in matched-pairs design,
Biometrics 53, for the normal form; Waudby-Smith & Ramdas (2024), JRSS B 86, for the growth of betting wealth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from stepdown.stats import binomial, paired_binary
from stepdown.stats.betting import EXCESS_LOSS, Bounds
from stepdown.stats.paired_binary import PairedCounts

MOST_LABELS = 2_000_000
_LEARNING_COST = 1.1  # betting learns the variance on the way; simulated, that costs a tenth more examples


@dataclass(frozen=True)
class Goal:
    """Show a mean loss below `margin` at `error`, succeeding with probability `power` if the guess is right."""

    margin: float
    error: float = 0.05
    power: float = 0.9

    def __post_init__(self) -> None:
        if not (0.0 < self.error < 1.0 and 0.0 < self.power < 1.0):
            raise ValueError(f"Got error {self.error} and power {self.power}; expected both between 0 and 1.")


def labels_for_paired(worse_rate: float, better_rate: float, goal: Goal) -> int | None:
    """Examples that the exact paired test needs; None when no amount will do or more than two million would.

    worse_rate and better_rate: the shares of inputs on which only the cascade and only the incumbent errs.
    """
    mean = worse_rate - better_rate
    if min(worse_rate, better_rate) < 0.0 or worse_rate + better_rate > 1.0:
        raise ValueError(f"Got rates {worse_rate} and {better_rate}; expected shares that sum to at most 1.")
    if mean >= goal.margin:
        return None
    variance = worse_rate + better_rate - mean**2

    def suffices(count: int) -> bool:
        pessimistic = mean * count + _quantile(goal.power) * math.sqrt(variance * count)
        discordant = max((worse_rate + better_rate) * count, abs(pessimistic))
        worse = min(count, math.ceil((discordant + pessimistic) / 2))
        better = min(count - worse, max(0, math.floor((discordant - pessimistic) / 2)))
        return paired_binary.p_value(PairedCounts(worse, better, count), goal.margin) <= goal.error

    return _smallest(suffices, variance, goal.margin - mean, goal)


def labels_for_binomial(rate: float, goal: Goal) -> int | None:
    """Examples that the exact binomial test needs to show a failure rate below the margin; None as above."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"Got rate {rate}; expected a share between 0 and 1.")
    if rate >= goal.margin:
        return None

    def suffices(count: int) -> bool:
        most = _largest_count(lambda failures: binomial.p_value(failures, count, goal.margin) <= goal.error, count)
        return most >= 0 and binomial.probability_at_most(most, count, rate) >= goal.power

    return _smallest(suffices, rate * (1.0 - rate), goal.margin - rate, goal)


def labels_for_betting(mean: float, variance: float, goal: Goal, bounds: Bounds = EXCESS_LOSS) -> int | None:
    """Examples that the betting test needs for any bounded loss of this mean and variance; None as above.

    With bets tuned for the sample size n, the log wealth reaches about n gap^2 / (2 variance), which must pass
    log(1 / error) even for a pessimistic gap. Approximate.
    """
    gap = goal.margin - mean
    if gap <= 0.0:
        return None
    needed = math.log(1.0 / goal.error)
    per_variance = _LEARNING_COST * ((math.sqrt(2.0 * needed) + max(_quantile(goal.power), 0.0)) / gap) ** 2
    seen = per_variance * max(variance, 0.0)
    # The bets start from a variance of a quarter of the squared range, counted as one example.
    prior = per_variance * (bounds.upper - bounds.lower) ** 2 / 4
    steepest = math.log1p(0.75 * ((bounds.upper - mean) / (bounds.upper - goal.margin) - 1.0))
    count = math.ceil(max((seen + math.sqrt(seen**2 + 4 * prior)) / 2, 1.5 * needed / steepest))
    return count if count <= MOST_LABELS else None


def power_of_paired(
    worse_rate: float, better_rate: float, count: int, goal: Goal, generator: np.random.Generator, draws: int = 400
) -> float:
    """Share of `draws` simulated samples of `count` pairs that the exact paired test rejects at the goal's error."""
    outcomes = generator.multinomial(count, [worse_rate, better_rate, 1.0 - worse_rate - better_rate], size=draws)
    drawn, repeats = np.unique(outcomes[:, :2], axis=0, return_counts=True)
    rejected = (
        paired_binary.p_value(PairedCounts(int(worse), int(better), count), goal.margin) <= goal.error
        for worse, better in drawn
    )
    return float(repeats @ np.fromiter(rejected, dtype=np.float64, count=len(drawn))) / draws


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf(level)


def _largest_count(accepts: Callable[[int], bool], count: int) -> int:
    """Largest number in 0..count that is accepted, where acceptance only ever ends; -1 when 0 is not."""
    low, high = -1, count
    while low < high:
        middle = (low + high + 1) // 2
        if accepts(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _smallest(suffices: Callable[[int], bool], variance: float, gap: float, goal: Goal) -> int | None:
    """Grow from the normal approximation until the size suffices, then close in between the last two sizes."""
    normal = (_quantile(1.0 - goal.error) + _quantile(goal.power)) ** 2 * variance / gap**2
    if normal > MOST_LABELS:
        return None
    enough = max(8, int(normal / 2))
    short = 0
    while not suffices(enough):
        short, enough = enough, math.ceil(enough * 1.3) + 1
        if enough > MOST_LABELS:
            return None
    while enough - short > max(1, enough // 100):
        middle = (short + enough) // 2
        short, enough = (short, middle) if suffices(middle) else (middle, enough)
    return enough
