"""Validity: how often a certificate is false, over thousands of simulated evidence sets near the boundary.

    python -m benchmarks.validity [--seeds 2000] [--whole-budget] [--json]

First table: streams whose true excess loss lies just above the margin at a step that could be certified; a certificate
is false when the true excess loss of what it accepts exceeds the margin. At 95 % confidence at most 5 % may be. As when
stepdown builds, a first attempt on its evidence is tested at three quarters of that; `--whole-budget` tests at all of
it, which shows how nearly exact the tests are.

Second table: streams of agreement with the incumbent, judged by the claim that TRACER makes at its 90 %: of what is
accepted, at least the target share agrees. On the same samples: TRACER's rule up to version 0.1 (the largest coverage
whose empirical agreement meets the target), its rule since 0.2 (Clopper-Pearson lower bound at 90 % on 70 % of the
rows, then a point check on the other 30 %, from the largest coverage down; github.com/adrida/tracer, archived July
2026), both written anew from their description, and fixed-sequence testing of the same claim at the same 90 %.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.streams import (
    SHARES,
    STEPS,
    Chance,
    Floats,
    Stream,
    certified_step,
    path_counts,
    pieces,
    power_law,
    rejects,
)
from stepdown.stats import betting, binomial
from stepdown.stats.multiple_testing import walk_sequence
from stepdown.stats.spending import attempt_error

Decisions = NDArray[np.bool_]

CONFIDENCE_ERROR = 0.05
TRACER_ERROR = 0.10
FEWEST_ACCEPTED = 10
JUST_ABOVE = 1.0 + 1e-4
ATTEMPTS = 10


@dataclass(frozen=True)
class Row:
    """Of `seeds` evidence sets of `n` rows, the share that led to a false certificate, with a 95 % interval."""

    stream: str
    rule: str
    n: int
    seeds: int
    false_share: float
    lower: float
    upper: float
    allowed: float
    mean_offload: float


def cliff(before: float, discordant: float, margin: float = 0.02) -> tuple[Chance, Chance]:
    """Clearly good up to 80 % of the traffic, then a block that takes the excess to just above the margin."""
    jump = (JUST_ABOVE * margin - 0.8 * before) / 0.2
    worse = pieces((0.8, discordant / 2 + max(before, 0.0)), (1.0, discordant / 2 + jump))
    return worse, pieces((0.8, discordant / 2 - min(before, 0.0)), (1.0, discordant / 2))


def _flat_at_margin() -> tuple[Chance, Chance]:
    """The excess is just above the margin from the first fifth on, so that every later step is a false one."""
    rise = JUST_ABOVE * 0.02 / 0.2
    return pieces((0.2, 0.04 + rise), (1.0, 0.06)), pieces((0.2, 0.04), (1.0, 0.06))


def _all_just_above() -> tuple[Chance, Chance]:
    """A student a shade too bad overall and useful below, like one taught by the incumbent."""
    return power_law(0.060 + 0.02 * JUST_ABOVE, 2.0), power_law(0.060, 0.5)


def _agreement_cliff() -> tuple[Chance, Chance]:
    """Disagreement with the incumbent, which counts as harm wherever it is accepted."""
    return pieces((0.8, 0.002), (1.0, 0.092 * JUST_ABOVE)), pieces((1.0, 0.0))


def _surest_are_worst() -> tuple[Chance, Chance]:
    """A miscalibrated confidence: the surest thirtieth errs most and takes the excess just above the margin."""
    rise = JUST_ABOVE * 0.02 * STEPS
    return pieces((1 / STEPS, rise), (1.0, 0.03)), pieces((1 / STEPS, 0.0), (1.0, 0.03))


PAIRED = (
    (1000, Stream("cliff, 10 % discordant", *cliff(-0.02, 0.10))),
    (1000, Stream("cliff, 30 % discordant", *cliff(-0.05, 0.30))),
    (300, Stream("cliff, few discordant, few rows", *cliff(0.0, 0.01))),
    (1000, Stream("flat at the margin for 24 steps", *_flat_at_margin())),
    (2000, Stream("student a shade too bad overall", *_all_just_above())),
    (1000, Stream("miscalibrated: the surest are worst", *_surest_are_worst())),
    (1000, Stream("agreement evidence, cliff", *_agreement_cliff(), support="zero_one")),
)
AGREEMENT = (
    ("agreement falls slowly", 0.90, power_law(0.16, 1.0)),
    ("agreement falls fast", 0.90, power_law(0.16, 3.0)),
    ("agreement falls at the end", 0.95, power_law(0.16, 6.0)),
    ("agreement a shade too low throughout", 0.90, pieces((1.0, 0.1001))),
    ("agreement a shade too low above the surest fifth", 0.90, pieces((0.2, 0.08), (1.0, 0.1051))),
    ("cliff", 0.90, pieces((0.8, 0.05), (1.0, 0.3001))),
)


def main() -> None:
    """Run all tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--whole-budget", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    error = CONFIDENCE_ERROR if options.whole_budget else attempt_error(CONFIDENCE_ERROR, 1)
    jobs: list[Callable[[int], list[Row]]] = [partial(_paired_row, index, error) for index in range(len(PAIRED))]
    jobs += [partial(_bounded_row, error), partial(_slices_row, error), _attempts_row]
    jobs += [partial(_agreement_rows, index) for index in range(len(AGREEMENT))]
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(job, options.seeds) for job in jobs]
        rows = [row for future in futures for row in future.result()]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("| stream | rule | n | false certificates | 95 % interval | allowed | mean offload |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row.stream} | {row.rule} | {row.n} | {row.false_share:.2%} | {row.lower:.2%} to {row.upper:.2%} "
            f"| {row.allowed:.0%} | {row.mean_offload:.3f} |"
        )


def _row(stream: str, rule: str, count: int, outcomes: list[tuple[bool, float]], allowed: float) -> Row:
    false = sum(is_false for is_false, _ in outcomes)
    lower, upper = binomial.proportion_interval(false, len(outcomes), 0.05)
    offload = float(np.mean([accepted for _, accepted in outcomes]))
    return Row(stream, rule, count, len(outcomes), false / len(outcomes), lower, upper, allowed, offload)


def _paired_row(index: int, error: float, seeds: int) -> list[Row]:
    count, stream = PAIRED[index]
    is_false = stream.true_excess() > stream.margin
    outcomes = []
    for seed in range(seeds):
        last = certified_step(*stream.draw(count, np.random.default_rng((index, seed))), stream, error)
        outcomes.append((last >= 0 and bool(is_false[last]), (last + 1) / STEPS))
    rule = "fixed sequence, exact binomial" if stream.support == "zero_one" else "fixed sequence, exact paired"
    return [_row(stream.name, rule, count, outcomes, CONFIDENCE_ERROR)]


def _bounded_row(error: float, seeds: int) -> list[Row]:
    """Losses between 0 and 1, such as those of extraction: the excess of the last fifth is +1/4 or -1/8 or 0."""
    count, margin = 1000, 0.02
    harm = JUST_ABOVE * margin / 0.2
    chance_down = 0.4
    chance_up = (harm + chance_down / 8) * 4
    outcomes = []
    for seed in range(seeds):
        generator = np.random.default_rng((50, seed))
        difficulty, luck = generator.random(count), generator.random(count)
        changed = np.where(luck < chance_up, 0.25, np.where(luck > 1.0 - chance_down, -0.125, 0.0))
        excess = np.where(difficulty > 0.8, changed, 0.0)
        columns = np.where(difficulty[:, None] <= SHARES[::5], excess[:, None], 0.0)
        columns = np.column_stack([columns, excess])
        last = walk_sequence(betting.p_values(columns, margin, error=error), error).last_rejected
        shares = (*SHARES[::5], 1.0)
        outcomes.append((last == len(shares) - 1, 0.0 if last is None else float(shares[last])))
    return [_row("losses in [0, 1], cliff", "fixed sequence, betting", count, outcomes, CONFIDENCE_ERROR)]


def _slices_row(error: float, seeds: int) -> list[Row]:
    """Four equal slices within 0.10 each beside 0.02 overall; one slice is a shade above at the last steps."""
    count, floor = 1600, 0.10
    others = Stream("other slices", *cliff(-0.04, 0.10, margin=-0.02))
    failing = Stream("failing slice", *cliff(0.02, 0.12, margin=floor), margin=floor)
    false = (failing.true_excess() > floor) | (failing.true_excess() + 3 * others.true_excess() > 4 * 0.02)
    outcomes = []
    for seed in range(seeds):
        generator = np.random.default_rng((60, seed))
        parts = [path_counts(*(failing if k == 0 else others).draw(count // 4, generator)) for k in range(4)]
        worse, better = (np.array([part[side] for part in parts]) for side in (0, 1))

        def all_hold(step: int, worse: NDArray[np.int64] = worse, better: NDArray[np.int64] = better) -> bool:
            each = zip(worse[:, step].tolist(), better[:, step].tolist(), strict=True)
            overall = rejects(int(worse[:, step].sum()), int(better[:, step].sum()), count, 0.02, "paired", error)
            return overall and all(rejects(w, b, count // 4, floor, "paired", error) for w, b in each)

        last = walk_sequence((0.0 if all_hold(step) else 1.0 for step in range(STEPS)), error).last_rejected
        outcomes.append((last is not None and bool(false[last]), 0.0 if last is None else float(SHARES[last])))
    rule = "fixed sequence, all claims at once"
    return [_row("four slices, one a shade too bad", rule, count, outcomes, CONFIDENCE_ERROR)]


def _attempts_row(seeds: int) -> list[Row]:
    """Ten candidates, each a shade too bad at its last steps, tried in turn on one evidence set until one passes."""
    count = 1000
    stream = Stream("candidate", *cliff(-0.02, 0.10))
    false = stream.true_excess() > stream.margin
    outcomes = []
    for seed in range(seeds):
        generator = np.random.default_rng((70, seed))
        best = -1
        for attempt in range(1, ATTEMPTS + 1):
            spent = attempt_error(CONFIDENCE_ERROR, attempt)
            last = certified_step(*stream.draw(count, generator), stream, spent)
            best = max(best, last)
        outcomes.append((best >= 0 and bool(false[best]), (best + 1) / STEPS))
    return [_row(f"{ATTEMPTS} candidates on one evidence set", "error spending", count, outcomes, CONFIDENCE_ERROR)]


def _agreement_rows(index: int, seeds: int) -> list[Row]:
    name, target, disagree = AGREEMENT[index]
    grid = np.linspace(0.0, 1.0, 20001)
    harm = np.concatenate([[0.0], np.cumsum(disagree((grid[1:] + grid[:-1]) / 2)) / (len(grid) - 1)])
    rows = []
    rules = {
        "TRACER to 0.1": _tracer_point,
        "TRACER since 0.2": _tracer_holdout,
        "fixed sequence, same claim": _fixed_sequence_selective,
    }
    for count in (500, 2000):
        outcomes: dict[str, list[tuple[bool, float]]] = {rule: [] for rule in rules}
        for seed in range(seeds):
            generator = np.random.default_rng((80 + index, count, seed))
            difficulty = generator.random(count)
            differs = generator.random(count) < disagree(difficulty)
            for rule, choose in rules.items():
                share = choose(difficulty, differs, target, generator)
                is_false = share > 0.0 and float(np.interp(share, grid, harm)) > (1.0 - target) * share
                outcomes[rule].append((is_false, share))
        rows += [_row(f"{name}, target {target:.0%}", rule, count, outcomes[rule], TRACER_ERROR) for rule in rules]
    return rows


def _tracer_point(difficulty: Floats, differs: Decisions, target: float, _: np.random.Generator) -> float:
    """Largest coverage whose empirical agreement meets the target, on all rows."""
    order = np.argsort(difficulty)
    accepted = np.arange(1, len(order) + 1)
    meets = (np.cumsum(~differs[order]) >= target * accepted) & (accepted >= FEWEST_ACCEPTED)
    return float(difficulty[order][np.flatnonzero(meets)[-1]]) if meets.any() else 0.0


def _tracer_holdout(difficulty: Floats, differs: Decisions, target: float, generator: np.random.Generator) -> float:
    """Candidates by a lower bound on 70 % of the rows; the largest that passes a point check on the rest."""
    rows = generator.permutation(len(difficulty))
    select, verify = rows[: round(0.7 * len(rows))], rows[round(0.7 * len(rows)) :]
    select = select[np.argsort(difficulty[select])]
    agreed = np.cumsum(~differs[select])
    needed = _fewest_agreeing(len(select), target)
    verify = verify[np.argsort(difficulty[verify])]
    verified = np.concatenate([[0], np.cumsum(~differs[verify])])
    for accepted in range(len(select), FEWEST_ACCEPTED - 1, -1):
        if agreed[accepted - 1] < needed[accepted]:
            continue
        threshold = float(difficulty[select[accepted - 1]])
        checked = int(np.searchsorted(difficulty[verify], threshold, side="right"))
        if checked >= FEWEST_ACCEPTED and verified[checked] >= target * checked:
            return threshold
    return 0.0


@lru_cache(maxsize=16)
def _fewest_agreeing(most: int, target: float) -> NDArray[np.int64]:
    """For each number accepted, how many must agree for the 90 % lower bound to meet the target."""
    fewest, needed = 0, [0]
    for accepted in range(1, most + 1):
        while fewest <= accepted and binomial.probability_at_least(fewest, accepted, target) > TRACER_ERROR:
            fewest += 1
        needed.append(fewest)
    return np.array(needed)


def _fixed_sequence_selective(difficulty: Floats, differs: Decisions, target: float, _: np.random.Generator) -> float:
    """The same claim, agreement among the accepted, by exact binomial tests along the path at the same 90 %.

    The walk starts where eight times as much is accepted as perfect agreement would need, whatever the outcomes are.
    """
    step = np.minimum((difficulty * STEPS).astype(np.int64), STEPS - 1)
    accepted = np.cumsum(np.bincount(step, minlength=STEPS))
    wrong = np.cumsum(np.bincount(step[differs], minlength=STEPS))
    fewest = 8.0 * np.log(TRACER_ERROR) / np.log(target)
    start = int(np.searchsorted(accepted, fewest))
    p_values = (binomial.p_value(int(wrong[k]), int(accepted[k]), 1.0 - target) for k in range(start, STEPS))
    last = walk_sequence(p_values, TRACER_ERROR).last_rejected
    return 0.0 if last is None else float(SHARES[start + last])


if __name__ == "__main__":
    main()
