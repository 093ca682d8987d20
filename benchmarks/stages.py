"""Power of further looks with fresh rows (`stats/stages.py`) against paying 1 / k squared, and against one pooled look.

    python -m benchmarks.stages [--seeds 1000]

Paired 0/1 losses, margin 0.02, level 0.05, the exact paired test everywhere. `spending` tests all rows so far at the
k-th share of the level. `pooled` is one test of all rows at the whole level, for which nobody may have looked before.
The size of "as needed" stages is chosen after each look: what the estimate so far would need, from 250 to 4,000 rows.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stepdown.stats import paired_binary, stages
from stepdown.stats.paired_binary import PairedCounts
from stepdown.stats.spending import attempt_error

LEVEL, MARGIN, LOOKS = 0.05, 0.02, 4


@dataclass(frozen=True)
class World:
    """Shares of rows on which only the student and only the incumbent errs; stage sizes, or None for as needed."""

    name: str
    worse: float
    better: float
    sizes: tuple[int, ...] | None


EQUAL, DOUBLING = (1000, 1000, 1000, 1000), (500, 500, 1000, 2000)
WORLDS = (
    World("at the margin, equal stages", 0.06, 0.04, EQUAL),
    World("at the margin, as needed", 0.06, 0.04, None),
    World("at the margin, rare errors, as needed", 0.022, 0.002, None),
    World("1 point below, equal stages", 0.055, 0.045, EQUAL),
    World("2 points below, equal stages", 0.05, 0.05, EQUAL),
    World("2 points below, doubling", 0.05, 0.05, DOUBLING),
    World("2 points below, as needed", 0.05, 0.05, None),
    World("1 point below, rare errors, as needed", 0.02, 0.01, None),
)


def main() -> None:
    """Run every world and print the share rejected by the end of each look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    seeds = parser.parse_args().seeds
    print(f"| world | test | {' | '.join(f'look {look + 1}' for look in range(LOOKS))} | mean rows |")
    print("| --- | --- |" + " --- |" * (LOOKS + 1))
    with ProcessPoolExecutor(max_workers=2) as pool:
        for lines in pool.map(_measure, WORLDS, [seeds] * len(WORLDS)):
            print("\n".join(lines), flush=True)


def _measure(world: World, seeds: int) -> list[str]:
    rejected = {test: np.zeros((seeds, LOOKS)) for test in ("stages", "spending", "pooled")}
    rows = np.zeros(seeds)
    for seed in range(seeds):
        level, done = LEVEL, False
        drawn = _stages(world, np.random.default_rng((seed, 29)))
        for look, (stage, everything) in enumerate(drawn):
            if not done:
                rows[seed] = everything.total
                p_value = _p_value(stage)
                done = p_value <= stages.stage_level(level)
                level = level if done else stages.level_left(level, p_value)
            rejected["stages"][seed, look] = done
            p_value = _p_value(everything)
            rejected["pooled"][seed, look] = p_value <= LEVEL
            rejected["spending"][seed, look] = p_value <= attempt_error(LEVEL, look + 1)
    rejected["spending"] = np.maximum.accumulate(rejected["spending"], axis=1)
    return [
        f"| {world.name} | {test} | {' | '.join(f'{share:.1%}' for share in table.mean(axis=0))} "
        f"| {f'{rows.mean():.0f}' if test == 'stages' else ''} |"
        for test, table in rejected.items()
    ]


def _stages(world: World, generator: np.random.Generator) -> Iterator[tuple[PairedCounts, PairedCounts]]:
    """Counts of each stage, and of all rows up to its end."""
    worse = better = total = 0
    size = world.sizes[0] if world.sizes else 500
    for look in range(LOOKS):
        more, less, _ = generator.multinomial(size, [world.worse, world.better, 1.0 - world.worse - world.better])
        worse, better, total = worse + int(more), better + int(less), total + size
        yield PairedCounts(int(more), int(less), size), PairedCounts(worse, better, total)
        gap = max(MARGIN - (worse - better) / total, 0.005)
        needed = int(6.2 * (worse + better + 1) / total / gap**2)  # by the normal form, power 0.8 at 5 %
        size = world.sizes[min(look + 1, LOOKS - 1)] if world.sizes else min(max(needed, 250), 4000)


@lru_cache(maxsize=200_000)
def _p_value(counts: PairedCounts) -> float:
    return paired_binary.p_value(counts, MARGIN)


if __name__ == "__main__":
    main()
