"""Tests and bounds for the mean excess loss of a cascade over the incumbent, chosen by what is known beforehand.

The caller declares the support of the excess loss; it is never read off the values, because a test chosen by looking
at the data it then uses is not valid.

| support | the excess loss is | example | test |
| --- | --- | --- | --- |
| `zero_one` | 0 or 1 | disagreement with the incumbent, without gold | exact binomial |
| `paired` | -1, 0 or 1 | the difference of two 0/1 losses | exact unconditional trinomial |
| `bounded` | anywhere in [-1, 1] | the difference of two losses in [0, 1] | betting |
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from stepdown.stats import betting, binomial, paired_binary

Support = Literal["zero_one", "paired", "bounded"]

METHODS: dict[Support, str] = {
    "zero_one": "exact binomial (Clopper-Pearson)",
    "paired": "exact unconditional paired test",
    "bounded": "betting (Waudby-Smith & Ramdas)",
}


def excess_p_value(excess: ArrayLike, margin: float, support: Support, error: float = 0.05) -> float:
    """P-value of the hypothesis that the mean of `excess` (n,) is at or above `margin`; valid in finite samples.

    `error` tunes the bets where the test is betting and changes nothing elsewhere. ValueError if a value lies outside
    the declared support.
    """
    values = np.asarray(excess, dtype=np.float64)
    match _known(support):
        case "zero_one":
            return binomial.p_value(_failures(values), values.size, margin)
        case "paired":
            return paired_binary.p_value(paired_binary.paired_counts(values), margin)
        case "bounded":
            return betting.p_value(values, margin, error=error)


def excess_upper_bound(excess: ArrayLike, error: float, support: Support) -> float:
    """Upper confidence bound on the mean of `excess` (n,), exceeded by the truth with probability at most `error`."""
    values = np.asarray(excess, dtype=np.float64)
    match _known(support):
        case "zero_one":
            return binomial.upper_bound(_failures(values), values.size, error)
        case "paired":
            return paired_binary.upper_bound(paired_binary.paired_counts(values), error)
        case "bounded":
            return betting.upper_bound(values, error)


def excess_interval(excess: ArrayLike, error: float, support: Support) -> tuple[float, float]:
    """Two-sided interval for the mean of `excess` (n,) with total error at most `error`."""
    values = np.asarray(excess, dtype=np.float64)
    match _known(support):
        case "zero_one":
            return binomial.proportion_interval(_failures(values), values.size, error)
        case "paired":
            return paired_binary.interval(paired_binary.paired_counts(values), error)
        case "bounded":
            return betting.interval(values, error)


def _known(support: Support) -> Support:
    if support not in get_args(Support):
        raise ValueError(f"Got support {support!r}; expected one of {', '.join(get_args(Support))}.")
    return support


def _failures(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> int:
    failures = int(np.count_nonzero(values == 1.0))
    if failures + int(np.count_nonzero(values == 0.0)) != values.size:
        raise ValueError("Got excess losses other than 0 and 1; expected those for support 'zero_one'.")
    return failures
