"""Is evidence what it says? Certificates of made-up traffic, through import, split and certify, whose truth is known.

Each seed makes the calls of a month with ids, times, conversations and clients, lets them through the curation and the
split, has students answer that were fixed beforehand (tables, no training), labels what the world's people would label,
and certifies. A certificate is false when the true expected excess loss of its cascade, over the process that makes the
calls, exceeds the margin; a procedure of several attempts when any certificate that it led to is false. The true excess
lies just above the margin where the path ends. Ends with 1 if any world is above 5 %.

    python -m benchmarks.evidence_validity [--seeds 2000] [--jobs 2] [--only WORDS] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks._evidence.procedures import certificates
from benchmarks._evidence.rooms import Rooms
from benchmarks._evidence.traffic import Population
from benchmarks._evidence.worlds import WORLDS
from stepdown.certificate.calibrate import confidences
from stepdown.core.cascade import choose_rungs
from stepdown.core.certificate import Certificate
from stepdown.stats.binomial import proportion_interval

ROOMS = "benchmarks._evidence.build"
BUDGET = 0.05


@dataclass(frozen=True)
class Trial:
    """One seed: whether a certificate was issued, whether one was false, the mean offload of those issued, and n."""

    certified: bool
    false: bool
    offload: float
    n: int


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
    seconds: float


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


def run(number: int, rooms: str, seeds: int, pool: ProcessPoolExecutor | None) -> Row:
    """All seeds of one world."""
    started = time.perf_counter()
    work = partial(trial, number, rooms)
    trials = list(pool.map(work, range(seeds), chunksize=10) if pool else map(work, range(seeds)))
    false = sum(each.false for each in trials)
    low, high = proportion_interval(false, seeds, 0.05)
    given = [each.offload for each in trials if each.certified]
    return Row(
        world=WORLDS[number].name,
        point=WORLDS[number].point,
        seeds=seeds,
        certified=len(given) / seeds,
        false=false / seeds,
        low=low,
        high=high,
        offload=float(np.mean(given)) if given else 0.0,
        n=float(np.mean([each.n for each in trials])),
        seconds=time.perf_counter() - started,
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
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chosen = [number for number, world in enumerate(WORLDS) if options.only in world.name]
    pool = ProcessPoolExecutor(options.jobs) if options.jobs > 1 else None
    rows: list[Row] = []
    for number in chosen:
        rows.append(run(number, options.rooms, options.seeds, pool))
        lines = table(rows).splitlines()
        print("\n".join(lines if len(rows) == 1 else lines[-1:]), f" ({rows[-1].seconds:.0f} s)", flush=True)
    if pool:
        pool.shutdown()
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(any(row.false > BUDGET for row in rows))


if __name__ == "__main__":
    sys.exit(main())
