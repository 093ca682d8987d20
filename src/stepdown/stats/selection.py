"""Are the labelled rows like the unlabelled ones? Tests of whether labels came to rows without regard to what they are.

Evidence is a random sample only if being labelled has nothing to do with the row. Both tests condition on the rows and
on how many of them are labelled: if labels came at random, every choice of that many rows was equally likely. They are
exact in finite samples. A large p-value shows little where few rows are labelled.

Sources: Fisher (1934), Statistical Methods for Research Workers, 5th ed., section 21.02, for the exact test of a 2 x 2
table; Phipson & Smyth (2010), Permutation p-values should never be zero, Statistical Applications in Genetics and
Molecular Biology 9; the statistic is Pearson's (1900) chi-squared, whose permutation distribution needs no least count.
"""

import math
from collections.abc import Hashable, Sequence

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
