"""Power: the share of traffic that is certified, against an oracle that knows the true risks.

    python -m benchmarks.power [--seeds 200] [--only table] [--json]

The oracle accepts the largest share of the path whose true excess loss is within the margin. stepdown sees only n
labelled examples and walks the same path by fixed-sequence testing at 95 % confidence, as a first attempt on its
evidence. A refusal counts as nothing certified. The betting test is run beside the exact one to show what its freedom
to stop at any time costs.

Second table: what 2,000 labels buy. Where an accepted answer equals the incumbent's, the excess loss is 0 without a
label, so only rows on which they differ are labelled. With a budget of 2,000 labels the rows drawn are 2,000 divided by
the share of rows that differ, fixed beforehand; the test is the same, with n = all that were drawn. Rows on which both
err and differ need a label too, and tell nothing; the last column assumes that both err on 10 % of the rows and differ
on half of those. Agreement needs no label at all, so that only the number of calls limits it.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.streams import SHARES, Stream, certified_step, pieces, power_law
from stepdown.stats import betting
from stepdown.stats.multiple_testing import walk_sequence
from stepdown.stats.spending import attempt_error

ERROR = attempt_error(0.05, 1)  # as a first attempt on its evidence is tested when stepdown builds
COUNTS = (500, 1000, 2000, 5000)
BETTING_SEEDS = 100
LABELS = 2000
BOTH_WRONG_AND_DIFFERENT = 0.10 * 0.5
CALLS_BY_AGREEMENT = 10_000

REALISTIC = (
    Stream("shipped traffic, student taught by gold", power_law(0.025, 3.0), power_law(0.229, 0.3)),
    Stream("shipped traffic, student taught by the incumbent", power_law(0.050, 2.0), power_law(0.059, 2.0)),
    Stream("student as good as the incumbent, 20 % discordant", power_law(0.100, 1.5), power_law(0.100, 1.5)),
    Stream("student 7 points worse, good confidence", power_law(0.110, 4.0), power_law(0.040, 1.0)),
    Stream(
        "agreement only, 16 % disagreement, good confidence",
        power_law(0.160, 6.0),
        pieces((1.0, 0.0)),
        support="zero_one",
    ),
)
HARDER = (
    Stream("student 5 points worse, poor confidence", power_law(0.100, 0.7), pieces((1.0, 0.05))),
    Stream("student 3 points worse, confidence says nothing", pieces((1.0, 0.12)), pieces((1.0, 0.09))),
    Stream(
        "agreement only, 16 % disagreement, fair confidence",
        power_law(0.160, 2.5),
        pieces((1.0, 0.0)),
        support="zero_one",
    ),
)


LABELLED = (*REALISTIC[2:], *HARDER[:2])


@dataclass(frozen=True)
class LabelRow:
    """Share of the oracle's offload, with 95 % half-widths: every row labelled; where answers differ; and both err."""

    stream: str
    realistic: bool
    oracle: float
    differing: float
    seeds: int
    n: tuple[int, int, int]
    share: tuple[float, float, float]
    half_width: tuple[float, float, float]
    labels: tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """Mean offload certified, for one stream and sample size, beside the oracle's."""

    stream: str
    realistic: bool
    n: int
    seeds: int
    oracle: float
    certified: float
    share: float
    share_error: float
    refused: float
    betting_share: float


def main() -> None:
    """Run every stream and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=("offload", "labels"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        rows = _offload_rows(pool, options.seeds) if options.only != "labels" else []
        of_labels = _label_rows(pool, options.seeds) if options.only != "offload" else []
    if options.json:
        print(json.dumps([*map(asdict, rows), *map(asdict, of_labels)], indent=1))
        return
    if rows:
        print("| stream | n | oracle | certified | share of oracle | refused | share by betting |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row.stream}{'' if row.realistic else ' (hard)'} | {row.n} | {row.oracle:.3f} | {row.certified:.3f} "
            f"| {row.share:.1%} ± {1.96 * row.share_error:.1%} | {row.refused:.1%} | {row.betting_share:.1%} |"
        )
    if of_labels:
        print("| stream | oracle | differing | every row labelled | where answers differ | both err too |")
        print("| --- | --- | --- | --- | --- | --- |")
    for each in of_labels:
        print(f"| {each.stream} | {each.oracle:.3f} | {each.differing:.1%} | {' | '.join(_cells(each))} |")


def _offload_rows(pool: ProcessPoolExecutor, seeds: int) -> list[Row]:
    tasks = [(stream_index, count) for stream_index in range(len(REALISTIC + HARDER)) for count in reversed(COUNTS)]
    return sorted(
        pool.map(_measure, *zip(*tasks, strict=True), [seeds] * len(tasks)),
        key=lambda row: (not row.realistic, row.stream, row.n),
    )


def _label_rows(pool: ProcessPoolExecutor, seeds: int) -> list[LabelRow]:
    return list(pool.map(_measure_labels, range(len(LABELLED)), [seeds] * len(LABELLED)))


def _cells(row: LabelRow) -> list[str]:
    return [
        f"{share:.1%} ± {half:.1%} (n = {n:,}, {labels:,} labels)"
        for share, half, n, labels in zip(row.share, row.half_width, row.n, row.labels, strict=True)
    ]


def _measure_labels(index: int, seeds: int) -> LabelRow:
    """n is fixed before anything is labelled: 2,000 over the share that differs."""
    stream = LABELLED[index]
    differing = stream.discordance()
    needs_labels = stream.support != "zero_one"
    wide = LABELS / (differing + BOTH_WRONG_AND_DIFFERENT)
    counts = (LABELS, CALLS_BY_AGREEMENT, CALLS_BY_AGREEMENT)
    if needs_labels:
        counts = (LABELS, round(LABELS / differing), round(wide))
    certified = {n: np.array([_certified(stream, n, seed) for seed in range(seeds)]) for n in dict.fromkeys(counts)}
    found = [certified[n] / _oracle(stream) for n in counts]
    return LabelRow(
        stream=stream.name,
        realistic=stream in REALISTIC,
        oracle=_oracle(stream),
        differing=differing,
        seeds=seeds,
        n=counts,
        share=(float(found[0].mean()), float(found[1].mean()), float(found[2].mean())),
        half_width=(_half_width(found[0]), _half_width(found[1]), _half_width(found[2])),
        labels=(LABELS, LABELS, LABELS) if needs_labels else (0, 0, 0),
    )


def _half_width(shares: NDArray[np.float64]) -> float:
    return float(1.96 * shares.std(ddof=1) / len(shares) ** 0.5)


def _oracle(stream: Stream) -> float:
    """The largest share of the path whose true excess loss is within the margin."""
    return float(SHARES[np.flatnonzero(stream.true_excess() <= stream.margin)[-1]])


def _measure(stream_index: int, count: int, seeds: int) -> Row:
    stream = (REALISTIC + HARDER)[stream_index]
    oracle = _oracle(stream)
    exact = np.array([_certified(stream, count, seed) for seed in range(seeds)])
    betting = np.array([_certified_by_betting(stream, count, seed) for seed in range(min(seeds, BETTING_SEEDS))])
    return Row(
        stream=stream.name,
        realistic=stream_index < len(REALISTIC),
        n=count,
        seeds=seeds,
        oracle=oracle,
        certified=float(exact.mean()),
        share=float(exact.mean()) / oracle,
        share_error=float(exact.std(ddof=1)) / oracle / seeds**0.5,
        refused=float((exact == 0.0).mean()),
        betting_share=float(betting.mean()) / oracle,
    )


def _certified(stream: Stream, count: int, seed: int) -> float:
    """Share of traffic that one certificate accepts."""
    drawn = stream.draw(count, np.random.default_rng((count, seed)))
    return (certified_step(*drawn, stream, ERROR) + 1) / len(SHARES)


def _certified_by_betting(stream: Stream, count: int, seed: int) -> float:
    difficulty, excess = stream.draw(count, np.random.default_rng((count, seed)))
    columns = np.where(difficulty[:, None] <= SHARES, excess[:, None], 0.0)
    last = walk_sequence(betting.p_values(columns, stream.margin, error=ERROR), ERROR).last_rejected
    return 0.0 if last is None else float(SHARES[last])


if __name__ == "__main__":
    main()
