"""Mean excess loss of calls that come in independent units, such as the calls of one conversation.

Calls of one unit resemble each other, so a test that counts calls claims more evidence than there is. Here units are
independent and calls within a unit may depend on each other in any way: one bet a unit.

The claim is about calls, not about units: with T the sum of a unit's excess losses and S its number of calls, the mean
excess loss of a call is E[T] / E[S]. It is at or above the margin exactly if E[T - margin S] >= 0, which is a claim
about the mean of one bounded number a unit: |T| <= S <= `largest`. It is tested by betting for a fixed number of units
(`target_betting`). Scaling a unit by its own size would give power and test another claim, the mean over units.

The units are drawn at random, whole or with each of their calls kept with one chance; `largest` is stated before they
are seen. Cut longer units at a stated call (the first `largest`), in the evidence and in the claim. Where sizes vary,
state a small one: nothing in n units shows that one unit in n is not as large as stated and wrong throughout, so
n must be several times largest / (mean size x margin).

Where units are plentiful and labels are not, `one_call_a_unit` draws calls that are independent, one a unit at most,
with chances proportional to the units' sizes: the mean over those is E[T] / E[S] too, and every exact test applies.

Sources: a ratio of means as one mean: Cochran (1977), Sampling Techniques, 9A (clusters of unequal size); betting:
Waudby-Smith & Ramdas (2024), JRSS B 86; Voráček & Orabona (2025), arXiv:2505.22422.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.stats import target_betting
from stepdown.stats.betting import EXCESS_LOSS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def unit_sums(values: ArrayLike, units: Sequence[Hashable]) -> tuple[Floats, Integers]:
    """Sum of `values` (n,) and number of calls of each unit, both (u,), in order of the units' first appearance.

    units: the unit (n,) of each call. ValueError if the two differ in length.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size != len(units):
        raise ValueError(
            f"Got values of shape {numbers.shape} and {len(units)} units; expected one unit for each value."
        )
    positions: dict[Hashable, int] = {}
    owner = np.array([positions.setdefault(unit, len(positions)) for unit in units], dtype=np.int64)
    sizes = np.bincount(owner, minlength=len(positions)).astype(np.int64)
    totals: Floats = np.bincount(owner, weights=numbers, minlength=len(positions)).astype(np.float64)
    return totals, sizes


def p_value(totals: ArrayLike, sizes: ArrayLike, margin: float, largest: int, error: float = 0.05) -> float:
    """P-value of the hypothesis that the mean excess loss of a call is at or above `margin`; valid in finite samples.

    totals, sizes: sum of the excess losses, each in [-1, 1], and number of calls of each unit, both (u,). Units of one
    call give the p-value of `target_betting`. `error` is the level that the bets aim at. ValueError if a size is above
    `largest` or a total above its size.
    """
    sums, counts = _checked(totals, sizes, largest, error)
    if margin >= 1.0:
        return 0.0 if bool(np.any(sums < margin * counts)) else 1.0
    if margin <= -1.0:
        return 1.0
    return float(np.exp(-_largest_log_wealth(sums, counts, np.array([margin]), largest, error)[0]))


def upper_bound(totals: ArrayLike, sizes: ArrayLike, error: float, largest: int) -> float:
    """Upper confidence bound on the mean excess loss of a call, wrong with probability at most `error`.

    A multiple of 0.001: the least margin of the grid from which on every margin is rejected.
    """
    sums, counts = _checked(totals, sizes, largest, error)
    margins = target_betting.margin_grid(EXCESS_LOSS)
    wealth = _largest_log_wealth(sums, counts, margins, largest, error)
    return target_betting.least_rejected(margins, wealth >= math.log(1.0 / error), EXCESS_LOSS.upper)


def one_call_a_unit(units: Sequence[Hashable], largest: int, generator: np.random.Generator) -> Integers:
    """Positions (k,), rising, of calls that are an independent random sample of calls, at most one of a unit.

    units: the unit (n,) of each call. A unit of s calls is kept with chance s / `largest`, then one of its calls is
    drawn evenly, so each kept call is drawn as one call of the whole traffic is. Draw before labelling, without looking
    at losses. ValueError if a unit has more than `largest` calls.
    """
    members: dict[Hashable, list[int]] = {}
    for position, unit in enumerate(units):
        members.setdefault(unit, []).append(position)
    most = max((len(calls) for calls in members.values()), default=0)
    if most > largest:
        raise ValueError(f"Got a unit of {most} calls; expected at most {largest}, the largest stated.")
    slots = generator.integers(0, largest, size=len(members))  # the slots beyond a unit's size hold no call
    drawn = [calls[slot] for calls, slot in zip(members.values(), slots, strict=True) if slot < len(calls)]
    return np.sort(np.array(drawn, dtype=np.int64))


def _largest_log_wealth(sums: Floats, counts: Floats, margins: Floats, largest: int, error: float) -> Floats:
    above = sums[:, None] - counts[:, None] * margins
    return target_betting.largest_log_wealth(above, 0.0, -largest * (1.0 + margins), largest * (1.0 - margins), error)


def _checked(totals: ArrayLike, sizes: ArrayLike, largest: int, error: float) -> tuple[Floats, Floats]:
    sums, counts = np.asarray(totals, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if sums.shape != counts.shape or sums.ndim != 1 or not sums.size:
        raise ValueError(
            f"Got totals and sizes of shapes {sums.shape} and {counts.shape}; expected two equal and flat."
        )
    if not 0.0 < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between 0 and 1, both excluded.")
    if not (counts.min() >= 1 and counts.max() <= largest):
        raise ValueError(
            f"Got units of {counts.min():g} to {counts.max():g} calls; expected 1 to {largest}, the largest stated. "
            "State a larger one before the evidence is seen, or cut units at a stated call."
        )
    if not bool(np.all(np.abs(sums) <= counts * (1.0 + 1e-12))):
        raise ValueError("Got a total above its unit's number of calls; expected excess losses within [-1, 1].")
    return sums, counts
