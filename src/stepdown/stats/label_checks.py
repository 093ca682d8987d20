"""Checks of labels: whether rows were labelled at random, and whether labels match answers beyond chance.

Evidence is a random sample only if being labelled has nothing to do with the row. Its tests condition on the
rows and on how many of them are labelled: if labels came at random, every choice of that many rows was equally likely.
They are exact in finite samples. A large p-value shows little where few rows are labelled.

Sources: Fisher (1934), Statistical Methods for Research Workers, 5th ed., section 21.02, for the exact test of a 2 x 2
table; Phipson & Smyth (2010), Permutation p-values should never be zero, Statistical Applications in Genetics and
Molecular Biology 9; the statistic is Pearson's (1900) chi-squared, whose permutation distribution needs no least count;
Cohen (1960), A coefficient of agreement for nominal scales, with sets of answers in place of one; its variance is that
of the matches when labels are permuted at random (Hoeffding 1951, A combinatorial central limit theorem).
"""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Booleans = NDArray[np.bool_]


def same_distribution(
    labelled: ArrayLike, categories: Sequence[Hashable], generator: np.random.Generator, permutations: int = 999
) -> float:
    """P-value of the hypothesis that labelled (n,) rows are a random choice, whatever the categories (n,).

    Small where some categories are labelled more often than others. 1.0 where no or every row is labelled.
    """
    chosen = _flags(labelled, len(categories))
    if permutations < 1:
        raise ValueError(f"Got {permutations} permutations; expected at least 1.")
    count, drawn = chosen.size, int(chosen.sum())
    if drawn in (0, count):
        return 1.0
    numbers: dict[Hashable, int] = {}
    category = np.array([numbers.setdefault(name, len(numbers)) for name in categories], dtype=np.int64)
    sizes = np.bincount(category)
    expected = sizes * drawn / count

    def statistic(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(((counts - expected) ** 2 / sizes).sum(axis=-1))

    seen = statistic(np.bincount(category[chosen], minlength=sizes.size)) * (1.0 - 1e-12)  # ties count when rounded too
    permuted = generator.multivariate_hypergeometric(sizes, drawn, size=permutations, method="marginals")
    return (1 + int((statistic(permuted) >= seen).sum())) / (1 + permutations)


def same_mean(labelled: ArrayLike, values: ArrayLike) -> float:
    """P-value, two-sided, of the hypothesis that labelled (n,) rows are a random choice, whatever the flags (n,).

    values: 0 or 1, such as whether student and incumbent agree. Fisher's exact test: the probability of all numbers of
    flags among the labelled that are no likelier than the one seen. 1.0 where no or every row is labelled.
    """
    flags = np.asarray(values, dtype=np.float64)
    chosen = _flags(labelled, flags.size)
    if flags.ndim != 1 or not bool(np.all((flags == 0.0) | (flags == 1.0))):
        raise ValueError("Got values other than 0 and 1; expected a flat list of flags.")
    count, drawn, total = chosen.size, int(chosen.sum()), int(flags.sum())
    seen = int(flags[chosen].sum())
    possible = np.arange(max(0, drawn + total - count), min(drawn, total) + 1)
    logs = np.array([_log_choose(total, hits) + _log_choose(count - total, drawn - hits) for hits in possible.tolist()])
    weights = np.exp(logs - logs.max())
    here = weights[seen - int(possible[0])]
    return min(1.0, float(weights[weights <= here * (1.0 + 1e-7)].sum() / weights.sum()))


def same_ranks(
    labelled: ArrayLike, values: ArrayLike, generator: np.random.Generator, permutations: int = 999
) -> float:
    """P-value, two-sided, of the hypothesis that labelled (n,) rows are a random choice, whatever the numbers (n,).

    Small where high values, or low ones, are labelled more often: a permutation test of the sum of their ranks
    (Wilcoxon 1945), equal values sharing a rank. 1.0 where no or every row is labelled.
    """
    numbers = np.asarray(values, dtype=np.float64)
    chosen = _flags(labelled, numbers.size)
    if permutations < 1:
        raise ValueError(f"Got {permutations} permutations; expected at least 1.")
    count, drawn = chosen.size, int(chosen.sum())
    if drawn in (0, count):
        return 1.0
    _, place, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    ranks = ((ends - sizes + 1 + ends) / 2.0)[place] - (count + 1) / 2.0
    seen = abs(float(ranks[chosen].sum()))
    sums = np.array([ranks[generator.permutation(count)[:drawn]].sum() for _ in range(permutations)])
    # A hair of slack, so that sums taken in another order count as equal.
    reached = int((np.abs(sums) >= seen - 1e-9 * (1.0 + seen)).sum())
    return (1 + reached) / (1 + permutations)


def _flags(labelled: ArrayLike, count: int) -> Booleans:
    chosen = np.asarray(labelled)
    if chosen.dtype != np.bool_ or chosen.ndim != 1 or chosen.size != count or not count:
        raise ValueError(
            f"Got labelled of shape {chosen.shape} and type {chosen.dtype} for {count} rows; expected true or false "
            "for each row, and at least one row."
        )
    return chosen


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1.0) - math.lgamma(chosen + 1.0) - math.lgamma(total - chosen + 1.0)


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
