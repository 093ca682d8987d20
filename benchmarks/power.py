"""Power: the share of traffic that is certified, against an oracle that knows the true risks.

    python -m benchmarks.power [--seeds 200] [--json]

The oracle accepts the largest share of the path whose true excess loss is within the margin. stepdown sees only n
labelled examples and walks the same path by fixed-sequence testing at 95 % confidence, as a first attempt on its
evidence. A refusal counts as nothing certified. The betting test is run beside the exact one to show what its freedom
to stop at any time costs.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.streams import SHARES, Stream, certified_step, pieces, power_law
from stepdown.stats import betting
from stepdown.stats.fixed_sequence import walk_sequence
from stepdown.stats.spending import attempt_error

ERROR = attempt_error(0.05, 1)  # as a first attempt on its evidence is tested when stepdown builds
COUNTS = (500, 1000, 2000, 5000)
BETTING_SEEDS = 100

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
    """Run every stream at every sample size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tasks = [(stream_index, count) for stream_index in range(len(REALISTIC + HARDER)) for count in reversed(COUNTS)]
    with ProcessPoolExecutor(max_workers=2) as pool:
        rows = sorted(
            pool.map(_measure, *zip(*tasks, strict=True), [options.seeds] * len(tasks)),
            key=lambda row: (not row.realistic, row.stream, row.n),
        )
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("| stream | n | oracle | certified | share of oracle | refused | share by betting |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row.stream}{'' if row.realistic else ' (hard)'} | {row.n} | {row.oracle:.3f} | {row.certified:.3f} "
            f"| {row.share:.1%} ± {1.96 * row.share_error:.1%} | {row.refused:.1%} | {row.betting_share:.1%} |"
        )


def _measure(stream_index: int, count: int, seeds: int) -> Row:
    stream = (REALISTIC + HARDER)[stream_index]
    allowed = np.flatnonzero(stream.true_excess() <= stream.margin)
    oracle = float(SHARES[allowed[-1]])
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
