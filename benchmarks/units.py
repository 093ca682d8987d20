"""Calls that come in units: false claims at the margin and power below it.

    python -m benchmarks.units [--seeds 1000]

Paired 0/1 losses, margin 0.02, level 0.0375. `units` is `stats/unit_mean.py` on all calls of all units. `one call` is
the exact paired test on one random call of units that are kept with chance proportional to their size. `calls` is the
exact paired test of all calls as if they were independent, which is not valid. Labels: mean number each one uses.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stepdown.stats import paired_binary, target_betting
from stepdown.stats.paired_binary import PairedCounts

Floats = NDArray[np.float64]

LEVEL, MARGIN = 0.0375, 0.02
SAMPLES = 60  # of `calls`, whose counts repeat too rarely to be remembered


@dataclass(frozen=True)
class World:
    """`count` units of at most `largest` calls; a call is as its unit's first one with chance `alike`."""

    name: str
    count: int
    largest: int
    alike: float
    mean_size: float | None = None  # geometric; None for all of the largest

    def sizes(self, seeds: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Sizes (u, seeds)."""
        shape = (self.count, seeds)
        if self.mean_size is None:
            return np.full(shape, self.largest, dtype=np.int64)
        return np.minimum(generator.geometric(1.0 / self.mean_size, shape), self.largest)


WORLDS = (
    World("groups of 5, all alike", 600, 5, 1.0),
    World("groups of 5, half alike", 400, 5, 0.5),
    World("groups of 20, all alike", 600, 20, 1.0),
    World("conversations of 8, all alike", 600, 8, 1.0),
    World("conversations of 8, independent calls", 200, 8, 0.0),
    World("geometric, mean 4, at most 12, all alike", 800, 12, 1.0, 4.0),
    World("geometric, mean 4, at most 12, half alike", 800, 12, 0.5, 4.0),
    World("geometric, mean 4, at most 40, half alike", 800, 40, 0.5, 4.0),
)


def main() -> None:
    """Run every world at and below the margin and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    seeds = parser.parse_args().seeds
    print("| units | true mean | units | one call | calls (not valid) | labels: units | labels: one call |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    tasks = [(world, rates) for world in WORLDS for rates in ((0.06, 0.04), (0.045, 0.055))]
    with ProcessPoolExecutor(max_workers=2) as pool:
        for line in pool.map(_measure, *zip(*tasks, strict=True), [seeds] * len(tasks)):
            print(line, flush=True)


def _measure(world: World, rates: tuple[float, float], seeds: int) -> str:
    generator = np.random.default_rng((world.count, world.largest, int(10 * world.alike), int(1000 * rates[0])))
    sizes = world.sizes(seeds, generator)
    first = _excess(generator, sizes.shape, rates)
    totals, one = np.zeros(sizes.shape), np.zeros(sizes.shape)
    chosen = np.floor(generator.random(sizes.shape) * sizes)
    worse, better = np.zeros(seeds, dtype=np.int64), np.zeros(seeds, dtype=np.int64)
    for call in range(world.largest):
        alike = generator.random(sizes.shape) < world.alike
        excess = np.where(call < sizes, np.where(alike, first, _excess(generator, sizes.shape, rates)), 0.0)
        totals += excess
        one = np.where(chosen == call, excess, one)
        worse, better = worse + (excess > 0).sum(axis=0), better + (excess < 0).sum(axis=0)
    ends = (-world.largest * (1 + MARGIN), world.largest * (1 - MARGIN))
    by_units = np.exp(-target_betting.largest_log_wealth(totals - MARGIN * sizes, 0.0, *ends, LEVEL)) <= LEVEL
    kept = generator.random(sizes.shape) < sizes / world.largest
    singles = (((one > 0) & kept).sum(axis=0), ((one < 0) & kept).sum(axis=0), kept.sum(axis=0))
    by_calls = (worse[:SAMPLES], better[:SAMPLES], sizes.sum(axis=0)[:SAMPLES])
    return (
        f"| {world.name} | {rates[0] - rates[1]:+.2f} | {by_units.mean():.1%} | {_exact(*singles):.1%} "
        f"| {_exact(*by_calls):.0%} | {sizes.sum(axis=0).mean():.0f} | {kept.sum(axis=0).mean():.0f} |"
    )


def _excess(generator: np.random.Generator, shape: tuple[int, ...], rates: tuple[float, float]) -> Floats:
    luck = generator.random(shape)
    return np.asarray((luck < rates[0]).astype(np.float64) - (luck > 1.0 - rates[1]))


def _exact(worse: NDArray[np.int64], better: NDArray[np.int64], total: NDArray[np.int64]) -> float:
    """Share of samples that the exact paired test rejects."""
    counts = zip(worse.tolist(), better.tolist(), total.tolist(), strict=True)
    return float(np.mean([_p_value(*three) <= LEVEL for three in counts]))


@lru_cache(maxsize=200_000)
def _p_value(worse: int, better: int, total: int) -> float:
    return paired_binary.p_value(PairedCounts(worse, better, total), MARGIN)


if __name__ == "__main__":
    main()
