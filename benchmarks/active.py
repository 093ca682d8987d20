"""Does labelling differing rows with known probabilities (active inference) beat labelling all of them?

    python -m benchmarks.active [--seeds 40]

Baseline: of the rows drawn only those where student and incumbent differ need gold, all of them get it, and the exact
paired test walks the path. Active: more rows are drawn, a differing row x gets gold with probability pi(x), and scores
f(x) + z (D - f(x)) / pi(x) are tested by betting for a fixed number of rows, D the excess loss. Both spend 2,000 labels
on average. Active is given every advantage: f(x) is the true mean of D given x, and pi(x) is proportional to the true
standard deviation of D given x (Zrnic & Candès 2024, Active statistical inference, arXiv:2403.03208), nothing learned.

Some differing rows are wrong on both sides (D = 0): 5 % of traffic, mostly difficult rows.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.power import ERROR, HARDER, REALISTIC
from benchmarks.streams import SHARES, Stream, certified_step, power_law
from stepdown.stats import target_betting
from stepdown.stats.multiple_testing import walk_sequence

Floats = NDArray[np.float64]

LABELS = 2000
BOTH_WRONG = power_law(0.05, 2.0)
DRAWN = (1.0, 1.5, 2.5)  # rows drawn, as multiples of what the baseline draws
LEAST_CHANCE = 0.1
STREAMS = tuple(stream for stream in REALISTIC + HARDER if stream.support == "paired")


def main() -> None:
    """Run every stream and print the mean share of traffic that is certified."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    columns = [f"active, {more:g} x rows" for more in DRAWN[1:]]
    print(f"| stream | rows | exact, all labelled | betting, all labelled | {' | '.join(columns)} |")
    print("| --- |" + " --- |" * (3 + len(columns)))
    tasks = list(product(range(len(STREAMS)), DRAWN))
    with ProcessPoolExecutor(max_workers=2) as pool:
        shares = dict(zip(tasks, pool.map(_betting, *zip(*tasks, strict=True), [seeds] * len(tasks)), strict=True))
        exact = list(pool.map(_exact, range(len(STREAMS)), [seeds] * len(STREAMS)))
    for index, stream in enumerate(STREAMS):
        betting = " | ".join(f"{shares[index, more]:.1%}" for more in DRAWN)
        print(f"| {stream.name} | {_rows(stream)} | {exact[index]:.1%} | {betting} |")


def _rows(stream: Stream) -> int:
    """Rows of which 2,000 differ."""
    middles = (np.arange(2000) + 0.5) / 2000
    return int(LABELS / (stream.worse(middles) + stream.better(middles) + BOTH_WRONG(middles)).mean())


def _exact(index: int, seeds: int) -> float:
    stream = STREAMS[index]
    drawn = (stream.draw(_rows(stream), np.random.default_rng((index, seed))) for seed in range(seeds))
    return float(np.mean([(certified_step(*rows, stream, ERROR) + 1) / len(SHARES) for rows in drawn]))


def _betting(index: int, more: float, seeds: int) -> float:
    """Mean share certified with `more` times the rows of the baseline and as many labels."""
    stream = STREAMS[index]
    certified = []
    for start in range(0, seeds, 10):
        generator = np.random.default_rng((index, start, int(10 * more)))
        columns = [_columns(stream, more, generator) for _ in range(start, min(start + 10, seeds))]
        reach = columns[0][1]
        values = np.concatenate([scores for scores, _ in columns], axis=1)
        wealth = target_betting.largest_log_wealth(values, stream.margin, -reach, reach, ERROR)
        for p_values in np.exp(-wealth).reshape(len(columns), len(SHARES)):
            last = walk_sequence(p_values.tolist(), ERROR).last_rejected
            certified.append(0.0 if last is None else float(SHARES[last]))
    return float(np.mean(certified))


def _columns(stream: Stream, more: float, generator: np.random.Generator) -> tuple[Floats, float]:
    """Scores (n, steps) at each step of the path, and how far from zero a score can lie."""
    difficulty, excess = stream.draw(int(more * _rows(stream)), generator)
    differs = (excess != 0.0) | (generator.random(excess.size) < BOTH_WRONG(difficulty))
    grid = (np.arange(1000) + 0.5) / 1000
    guess, chance, rate = _design(stream, grid)
    labelled_share = LABELS / (more * _rows(stream))
    low, high = 0.0, 1e3
    while high - low > 1e-6 * high:  # scale the chances to the labels at hand
        middle = (low + high) / 2
        spent = float((rate * np.clip(middle * chance, LEAST_CHANCE, 1.0)).mean())
        low, high = (middle, high) if spent < labelled_share else (low, middle)
    chance = np.clip(high * chance, LEAST_CHANCE, 1.0)
    at = np.minimum((difficulty * 1000).astype(np.int64), 999)
    drawn = generator.random(excess.size) < chance[at]
    score = np.where(differs, guess[at] + drawn * (excess - guess[at]) / chance[at], 0.0)
    reach = float((np.abs(guess) + (1.0 + np.abs(guess)) / chance).max())
    return np.where(difficulty[:, None] <= SHARES, score[:, None], 0.0), reach


def _design(stream: Stream, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """For each difficulty: the true mean and deviation of D on differing rows, and the share of rows that differ."""
    worse, better, both = stream.worse(grid), stream.better(grid), BOTH_WRONG(grid)
    rate = worse + better + both
    mean = (worse - better) / rate
    return mean, np.sqrt(np.maximum((worse + better) / rate - mean**2, 1e-4)), rate


if __name__ == "__main__":
    main()
