"""Carry uncertain inputs through a calculation, and see which of them matters.

Source: JCGM 101:2008, Propagation of distributions using a Monte Carlo method; the tornado is one-at-a-time sensitivity
between the 10 % and 90 % quantiles of each input, the others at their medians.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Uncertain(Protocol):
    """A number that is known only as a distribution."""

    def quantile(self, level: float) -> float:
        """Value below which the share `level`, in (0, 1), lies."""


@dataclass(frozen=True)
class Fixed:
    """A number that is known."""

    value: float

    def quantile(self, level: float) -> float:
        """The number itself."""
        return self.value


@dataclass(frozen=True)
class Triangular:
    """Least, likeliest and largest, as people estimate."""

    least: float
    likeliest: float
    largest: float

    def __post_init__(self) -> None:
        if not self.least <= self.likeliest <= self.largest:
            raise ValueError(f"Got {self.least}, {self.likeliest}, {self.largest}; expected them in rising order.")

    def quantile(self, level: float) -> float:
        """Inverse distribution function."""
        width = self.largest - self.least
        if width == 0.0:
            return self.least
        rising = self.likeliest - self.least
        if level * width < rising:
            return self.least + math.sqrt(level * width * rising)
        return self.largest - math.sqrt((1.0 - level) * width * (self.largest - self.likeliest))


@dataclass(frozen=True)
class Normal:
    """Mean and standard deviation, as of a measured mean with its standard error."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not self.deviation >= 0.0:
            raise ValueError(f"Got deviation {self.deviation}; expected 0 or more.")

    def quantile(self, level: float) -> float:
        """Inverse distribution function."""
        return self.mean + self.deviation * NormalDist().inv_cdf(level)


@dataclass(frozen=True)
class Propagated:
    """Median of the result, the interval that holds it with probability 1 - `error`, and the draws (n,)."""

    median: float
    lower: float
    upper: float
    error: float
    draws: Floats


@dataclass(frozen=True)
class Swing:
    """The result when one input moves from its 10 % to its 90 % quantile and the rest stay at their medians."""

    name: str
    at_low: float
    at_high: float

    @property
    def width(self) -> float:
        """How far the result moves."""
        return abs(self.at_high - self.at_low)


def propagate(
    calculate: Callable[[Mapping[str, float]], float],
    inputs: Mapping[str, Uncertain],
    generator: np.random.Generator,
    *,
    draws: int = 4000,
    error: float = 0.1,
) -> Propagated:
    """Distribution of a calculation over independent inputs, sampled in equal strata (Latin hypercube)."""
    if draws < 2 or not 0.0 < error < 1.0:
        raise ValueError(f"Got {draws} draws and error {error}; expected at least 2, and between 0 and 1.")
    columns = {name: _stratified(source, generator, draws) for name, source in inputs.items()}
    rows = (calculate({name: column[row] for name, column in columns.items()}) for row in range(draws))
    results = np.fromiter(rows, dtype=np.float64, count=draws)
    lower, median, upper = (float(q) for q in np.quantile(results, [error / 2, 0.5, 1 - error / 2]))
    return Propagated(median, lower, upper, error, results)


def tornado(calculate: Callable[[Mapping[str, float]], float], inputs: Mapping[str, Uncertain]) -> tuple[Swing, ...]:
    """One swing for each input that moves the result, the widest first."""
    middle = {name: source.quantile(0.5) for name, source in inputs.items()}
    swings = (
        Swing(
            name, calculate({**middle, name: source.quantile(0.1)}), calculate({**middle, name: source.quantile(0.9)})
        )
        for name, source in inputs.items()
    )
    return tuple(sorted((swing for swing in swings if swing.width > 0.0), key=lambda swing: -swing.width))


def _stratified(source: Uncertain, generator: np.random.Generator, draws: int) -> list[float]:
    levels = (generator.permutation(draws) + generator.uniform(1e-9, 1.0, size=draws)) / draws
    return [source.quantile(float(level)) for level in np.clip(levels, 1e-9, 1.0 - 1e-9)]
