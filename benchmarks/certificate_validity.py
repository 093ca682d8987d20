"""Does the guarantee hold end to end? Simulated worlds near the boundary, through the certificate room itself.

Each seed draws a tune and a certify split from a world whose true excess loss is known exactly at every threshold,
fits calibrators, chooses rungs and path on tune, and certifies on certify. A certificate is false when the true excess
loss of its cascade exceeds the margin. Prints one row per world and ends with 1 if any world breaks its budget.

    python -m benchmarks.certificate_validity [--seeds 2000] [--jobs 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.certify import Issue, issue_certificate
from stepdown.certificate.evidence import gather
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.ledger import Attempt
from stepdown.certificate.observations import CandidateStudent, Observations, Support
from stepdown.certificate.path import choose_candidate
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.contract import Evidence as Reference
from stepdown.runtime.cascade import choose_rungs
from stepdown.stats.binomial import proportion_interval

Floats = NDArray[np.float64]
CELLS = 4000


@dataclass(frozen=True)
class World:
    """A made-up task. At signal s in [0, 1], student j errs with probability worst[j] (1 − s)^steepness[j].

    incumbent_error: the same at every input. together: how often student and incumbent err on the same draw.
    worst: tuned so that the path crosses the margin, or ends just beyond it.
    """

    name: str
    worst: tuple[float, ...]
    steepness: tuple[float, ...]
    incumbent_error: float
    together: float = 0.5
    reference: Reference = "gold"
    support: Support = "zero_one"
    tune_rows: int = 400
    certify_rows: int = 1000
    margin: float = 0.02
    confidence: float = 0.95


WORLDS = (
    World("one student, path crosses the margin", (0.5,), (2.0,), 0.10, certify_rows=500, margin=0.04),
    World("one student, its end just beyond the margin", (0.286,), (1.0,), 0.10, certify_rows=500, margin=0.04),
    World("three students", (0.9, 0.6, 0.45), (1.5, 2.0, 2.0), 0.08, certify_rows=500, margin=0.04),
    World("agreement only", (0.3,), (3.0,), 0.0, reference="agreement"),
    World("graded losses (betting)", (0.5,), (2.0,), 0.10, support="bounded"),
    World("little tune, little evidence", (0.5, 0.5), (2.0, 1.0), 0.10, tune_rows=80, certify_rows=200, margin=0.05),
)


@dataclass(frozen=True)
class Population:
    """The world's cells: signals (students, cells), and each student's chance of error there."""

    signals: Floats
    error: Floats


@cache
def population(world: World) -> Population:
    """A fixed population: signals of the students are alike but not equal."""
    generator = np.random.default_rng(7)
    shared = generator.random(CELLS)
    own = generator.random((len(world.worst), CELLS))
    signals = np.clip(0.8 * shared + 0.2 * own, 0.0, 1.0)
    exponents = np.array(world.steepness)[:, None]
    return Population(signals, np.array(world.worst)[:, None] * (1.0 - signals) ** exponents)


def draw(world: World, people: Population, rows: int, generator: np.random.Generator, prefix: str) -> Observations:
    """Rows drawn with replacement from the population."""
    cells = generator.integers(0, CELLS, rows)
    luck, shared = generator.random((len(world.worst), rows)), generator.random(rows)
    luck = np.where(generator.random(rows) < world.together, shared, luck)
    losses = (luck < people.error[:, cells]).astype(np.float64)
    own = np.where(generator.random(rows) < world.together, shared, generator.random(rows))
    incumbent = (own < world.incumbent_error).astype(np.float64)
    if world.support == "bounded":
        # A graded loss with the same mean: an error costs between half and all, a right answer between 0 and a bit.
        losses = losses * generator.uniform(0.5, 1.0, losses.shape)
        incumbent = incumbent * generator.uniform(0.5, 1.0, rows)
    # As models report it: the same order, another scale.
    reported = np.log((people.signals[:, cells] + 0.02) / (1.02 - people.signals[:, cells]))
    return Observations(
        ids=tuple(f"{prefix}{row}" for row in range(rows)),
        reference=world.reference,
        references=("",) * rows,
        candidate_students=tuple(
            CandidateStudent(kind=f"student-{index}", artefact=f"{index:064x}") for index in range(len(world.worst))
        ),
        signals=tuple(each[:, None] for each in reported),
        losses=losses,
        incumbent_loss=incumbent,
        support=world.support,
    )


def true_excess(world: World, people: Population, certificate: Certificate, candidate: Candidate) -> float:
    """The exact expected excess loss of the certified cascade in this world."""
    index = [int(candidate_student.artefact, 16) for candidate_student in candidate.candidate_students]
    reported = np.log((people.signals[index] + 0.02) / (1.02 - people.signals[index]))
    blank = np.zeros((len(index), CELLS))
    everyone = Observations(
        ids=tuple(map(str, range(CELLS))),
        reference=world.reference,
        references=("",) * CELLS,
        candidate_students=candidate.candidate_students,
        signals=tuple(each[:, None] for each in reported),
        losses=blank,
        incumbent_loss=np.zeros(CELLS),
    )
    thresholds = [rung["threshold"] for rung in certificate.cascade["rungs"]]
    rung = choose_rungs(candidate.confidences(everyone), thresholds)
    loss = np.take_along_axis(people.error[index], np.maximum(rung, 0)[None], axis=0)[0]
    size = 0.75 if world.support == "bounded" else 1.0
    return size * float(np.where(rung >= 0, loss - world.incumbent_error, 0.0).mean())


@dataclass(frozen=True)
class Trial:
    """One seed: whether a certificate was issued, whether it was false, whether its bound was; its offload."""

    certified: bool
    false: bool
    bound_false: bool
    offload: float
    tested: int


def trial(world: World, seed: int) -> Trial:
    generator = np.random.default_rng([seed, 20])
    people = population(world)
    tune = draw(world, people, world.tune_rows, generator, "t")
    certify = draw(world, people, world.certify_rows, generator, "c")
    contract = Contract(margin=world.margin, confidence=world.confidence, against=world.reference)
    error = 1.0 - world.confidence  # the whole budget, so that the boundary is tested, not the ledger's reserve
    candidate = choose_candidate(world.name, PathForecast(tune, contract, world.certify_rows, error))
    evidence = gather(candidate, certify)
    certificate = issue_certificate(evidence, contract, Attempt(number=1, error_share=error), "0" * 64, Issue(0.0))
    tested = sum(point.p_value is not None for point in certificate.path)
    if certificate.verdict == "refused":
        return Trial(False, False, False, 0.0, tested)
    truth, claim = true_excess(world, people, certificate, candidate), certificate.excess_loss
    bound_false = claim is not None and truth > claim.bound
    return Trial(True, truth > world.margin, bound_false, certificate.offload, tested)


def best_offload(world: World) -> float:
    """What an oracle that knows the true risks would let the best single student answer."""
    people = population(world)
    best = 0.0
    size = 0.75 if world.support == "bounded" else 1.0
    for signals, error in zip(people.signals, people.error, strict=True):
        excess = size * np.cumsum((error - world.incumbent_error)[np.argsort(-signals)]) / CELLS
        within = np.flatnonzero(excess <= world.margin)
        best = max(best, float(within[-1] + 1) / CELLS if within.size else 0.0)
    return best


@dataclass(frozen=True)
class Row:
    """One world's figures. violations_high: upper end of its 95 % interval. bounds_broken: truth above the bound."""

    world: str
    seeds: int
    certified: float
    violations: float
    violations_high: float
    bounds_broken: float
    budget: float
    offload: float
    oracle: float


def run(world: World, seeds: int, pool: ProcessPoolExecutor | None = None) -> Row:
    """All seeds of one world."""
    work = partial(trial, world)
    trials = list(pool.map(work, range(seeds), chunksize=25) if pool else map(work, range(seeds)))
    false = sum(each.false for each in trials)
    given = [each.offload for each in trials if each.certified]
    return Row(
        world=world.name,
        seeds=seeds,
        certified=len(given) / seeds,
        violations=false / seeds,
        violations_high=proportion_interval(false, seeds, 0.05)[1],
        bounds_broken=sum(each.bound_false for each in trials) / seeds,
        budget=1.0 - world.confidence,
        offload=float(np.mean(given)) if given else math.nan,
        oracle=best_offload(world),
    )


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| world | seeds | certified | false | (95 % up to) | bound too low | budget | offload | oracle |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.world} | {row.seeds} | {row.certified:.1%} | {row.violations:.2%} | {row.violations_high:.2%} | "
        f"{row.bounds_broken:.2%} | {row.budget:.0%} | {row.offload:.1%} | {row.oracle:.1%} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = []
        for world in WORLDS:
            rows.append(run(world, options.seeds, pool))
            lines = table(rows).splitlines()
            print("\n".join(lines if len(rows) == 1 else lines[-1:]), flush=True)
    print(f"{time.perf_counter() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(any(row.violations > row.budget for row in rows))


if __name__ == "__main__":
    sys.exit(main())
