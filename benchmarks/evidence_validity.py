"""Is evidence what it says? Certificates of made-up traffic, through import, split and certify, whose truth is known.

Each seed makes the calls of a month with ids, times, conversations and clients, lets them through the curation and the
split, has students answer that were fixed beforehand (tables, no training), labels what the world's people would label,
and certifies. A certificate is false when the true expected excess loss of its cascade, over the process that makes the
calls, exceeds the margin; a procedure of several attempts when any certificate that it led to is false. The true excess
lies just above the margin where the path ends. Ends with 1 if any world is above 5 %.

    python -m benchmarks.evidence_validity [--seeds 2000] [--jobs 2] [--only WORDS] [--totals FILE]

All worlds advance together, a block of seeds at a time. --totals: sums over the seeds that are done, kept after each
block, so that 2,000 seeds can be run in pieces (`benchmarks/_evidence/totals.json` has what was run so far).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from benchmarks._evidence.procedures import certificates
from benchmarks._evidence.rooms import Rooms
from benchmarks._evidence.traffic import Population
from benchmarks._evidence.worlds import WORLDS
from stepdown.certificate.calibrate import confidences
from stepdown.core.certificate import Certificate
from stepdown.runtime.cascade import choose_rungs
from stepdown.stats.binomial import proportion_interval

ROOMS = "benchmarks._evidence.build"
BUDGET = 0.05

BLOCK = 20
"""So many seeds of a world are one piece of work."""


@dataclass(frozen=True)
class Trial:
    """One seed: whether a certificate was issued, whether one was false, the mean offload of those issued, and n."""

    certified: bool
    false: bool
    offload: float
    n: int


class Totals(msgspec.Struct):
    """Sums over seeds 0 to `seeds` - 1 of one world."""

    seeds: int = 0
    certified: int = 0
    false: int = 0
    offload: float = 0.0
    n: int = 0

    def add(self, trials: Sequence[Trial]) -> None:
        for each in trials:
            self.seeds += 1
            self.certified += each.certified
            self.false += each.false
            self.offload += each.offload
            self.n += each.n


@dataclass(frozen=True)
class Row:
    """One world's figures; low and high: the 95 % interval of the share of false certificates."""

    world: str
    point: int
    seeds: int
    certified: float
    false: float
    low: float
    high: float
    offload: float
    n: float


def true_excess(certificate: Certificate, people: Population) -> float:
    """The exact expected excess loss of the certified cascade over the population."""
    rungs = certificate.cascade["rungs"]
    who = [int(rung["artefact"], 16) for rung in rungs]
    sure = np.stack(
        [confidences(rung["calibrator"], people.signal[j][:, None]) for rung, j in zip(rungs, who, strict=True)]
    )
    rung = choose_rungs(sure, [each["threshold"] for each in rungs])
    excess = np.take_along_axis(people.excess[who], np.maximum(rung, 0)[None], axis=0)[0]
    return float((people.weight * np.where(rung >= 0, excess, 0.0)).sum())


def trial(number: int, rooms: str, seed: int) -> Trial:
    """All attempts of one seed: of a search until one is certified, else every one."""
    world = WORLDS[number]
    built: Rooms = importlib.import_module(rooms)
    traffic = world.make(seed)
    made = []
    for certificate in certificates(world, traffic, built, seed):
        if certificate is not None:
            made.append(certificate)
        if world.is_search and certificate is not None and certificate.verdict == "certified":
            break
    issued = [each for each in made if each.verdict == "certified"]
    return Trial(
        certified=bool(issued),
        false=any(true_excess(each, world.population()) > world.margin for each in issued),
        offload=float(np.mean([each.offload for each in issued])) if issued else 0.0,
        n=made[-1].n if made else 0,
    )


def block(rooms: str, number: int, first: int) -> list[Trial]:
    """A block of seeds of one world."""
    return [trial(number, rooms, seed) for seed in range(first, first + BLOCK)]


def read_totals(path: Path | None) -> dict[str, Totals]:
    """What earlier runs did, by world."""
    if path is None or not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Totals])


def row_of(number: int, done: Totals) -> Row:
    """One world's figures of the seeds that are done."""
    low, high = proportion_interval(done.false, done.seeds, 0.05)
    return Row(
        world=WORLDS[number].name,
        point=WORLDS[number].point,
        seeds=done.seeds,
        certified=done.certified / done.seeds,
        false=done.false / done.seeds,
        low=low,
        high=high,
        offload=done.offload / done.certified if done.certified else 0.0,
        n=done.n / done.seeds,
    )


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| point | world | seeds | n | certified | false | 95 % interval | offload |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.point} | {row.world} | {row.seeds} | {row.n:.0f} | {row.certified:.1%} | {row.false:.2%} "
        f"| {row.low:.2%} to {row.high:.2%} | {row.offload:.1%} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="worlds whose name holds these words")
    parser.add_argument("--rooms", default=ROOMS, help="the module that builds")
    parser.add_argument("--totals", type=Path, help="sums over seeds: read, and added to")
    options = parser.parse_args()
    chosen = [number for number, world in enumerate(WORLDS) if options.only in world.name]
    done = read_totals(options.totals)
    left = [
        (number, first)
        for first in range(0, options.seeds, BLOCK)
        for number in chosen
        if first >= done.setdefault(WORLDS[number].name, Totals()).seeds
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        trials = pool.map(partial(block, options.rooms), *zip(*left, strict=True)) if left else ()
        for (number, _), made in zip(left, trials, strict=True):
            done[WORLDS[number].name].add(made)
            if options.totals:
                unfinished = options.totals.with_suffix(".unfinished")
                unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=1) + b"\n")
                unfinished.replace(options.totals)
    rows = [row_of(number, done[WORLDS[number].name]) for number in chosen]
    print(table(rows))
    return int(any(row.false > BUDGET for row in rows))


if __name__ == "__main__":
    sys.exit(main())
