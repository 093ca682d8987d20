"""Judged evidence: false claims at the margin and power below it, beside PPI++ and gold alone.

    python -m benchmarks.judged [--seeds 400]

Paired 0/1 losses, margin 0.02, level 0.0375. `known chance` draws each row's gold with one chance, `fixed number` a
random subset. `sum of two bounds` is the finite-sample method of `stats/prediction_powered.py` (50 seeds).
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks._evidence.prediction_powered import Method, judged_evidence, prediction_powered_mean
from stepdown.stats import judged, paired_binary, target_betting

Floats = NDArray[np.float64]

LEVEL, MARGIN = 0.0375, 0.02
JUDGES = ("good", "kind", "graded", "useless", "adversarial")
WORLDS = (  # rows, gold, chance that only the student errs, chance that only the incumbent errs
    (3000, 300, 0.06, 0.04),
    (3000, 60, 0.022, 0.002),
    (3000, 300, 0.04, 0.06),
    (2000, 600, 0.05, 0.06),
)


def main() -> None:
    """Run every world and print the share of seeds that claim the mean to be below the margin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=400)
    seeds = parser.parse_args().seeds
    print("| true mean | rows | gold | judge | known chance | fixed number | gold alone, exact | PPI++ | two bounds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    tasks = list(product(WORLDS, JUDGES))
    with ProcessPoolExecutor(max_workers=2) as pool:
        for line in pool.map(_measure, *zip(*tasks, strict=True), [seeds] * len(tasks)):
            print(line, flush=True)


def _measure(world: tuple[int, int, float, float], judge: str, seeds: int) -> str:
    rows, count, worse, better = world
    generator = np.random.default_rng((rows, count, JUDGES.index(judge)))
    samples = [_draw(generator, rows, worse, better, judge) for _ in range(seeds)]
    drawn = [np.where(generator.random(rows) < count / rows, gold, math.nan) for gold, _ in samples]
    chance = _claims([verdicts for _, verdicts in samples], drawn, count / rows)
    drawn = [np.where(generator.permutation(rows) < count, gold, math.nan) for gold, _ in samples]
    fixed = _claims([verdicts for _, verdicts in samples], drawn, None)
    exact = [paired_binary.p_value(paired_binary.paired_counts(d[:count]), MARGIN) <= LEVEL for d, _ in samples]
    rates = [chance, fixed, float(np.mean(exact)), _asymptotic(samples, count, "power_tuned")]
    rates.append(_asymptotic(samples[:50], count, "finite_sample"))
    return f"| {worse - better:+.2f} | {rows} | {count} | {judge} | {' | '.join(f'{rate:.1%}' for rate in rates)} |"


def _draw(generator: np.random.Generator, rows: int, worse: float, better: float, judge: str) -> tuple[Floats, Floats]:
    """Gold excess losses (n,) and the judge's (n,)."""
    luck, other, careless = generator.random((3, rows))
    gold = (luck < worse).astype(np.float64) - (luck > 1.0 - better)
    unrelated = (other < worse).astype(np.float64) - (other > 1.0 - better)
    match judge:
        case "good":
            return gold, np.where(careless < 0.05, unrelated, gold)
        case "kind":
            return gold, np.where((gold > 0) & (careless < 0.5), 0.0, gold)
        case "graded":
            return gold, np.clip(0.7 * gold + 0.2 * generator.normal(size=rows), -1.0, 1.0)
        case "useless":
            return gold, unrelated
    return gold, -gold


def _claims(verdicts: list[Floats], golds: list[Floats], probability: float | None) -> float:
    """Share of samples that `judged_p_value` rejects, all samples side by side: a row of numbers at a time."""
    pairs = zip(verdicts, golds, strict=True)
    kept = [scores for f, d in pairs if (scores := judged._scores(f, d, probability, LEVEL)) is not None]
    values = np.column_stack([scores.values for scores in kept])
    reach = np.column_stack([scores.reach for scores in kept])
    wealth = target_betting.largest_log_wealth(values, MARGIN, -reach, reach, LEVEL)
    return int((np.exp(-wealth) <= LEVEL).sum()) / len(verdicts)


def _asymptotic(samples: list[tuple[Floats, Floats]], count: int, method: Method) -> float:
    results = (
        prediction_powered_mean(judged_evidence(d[:count], f[:count], f[count:]), MARGIN, LEVEL, method)
        for d, f in samples
    )
    return float(np.mean([result.p_value <= LEVEL for result in results]))


if __name__ == "__main__":
    main()
