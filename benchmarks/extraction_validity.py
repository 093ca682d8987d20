"""Does the guarantee hold for extracted answers? Exact match and field F1 as the contract's loss, near the boundary.

Answers are made field by field: each has two to seven fields, and a student leaves one out, gets one wrong or adds one
with a chance that falls as its confidence rises; so losses have the few, uneven values that field F1 really takes
(1/3, 1/5, 2/7, …). A world is a finite population of such answers, from which every seed draws tune and certify rows
with replacement: the true excess loss of any cascade is then known exactly. Everything else is the certificate room
itself, as in `certificate_validity`. A certificate is false when its cascade's true excess loss exceeds the margin.

    python -m benchmarks.extraction_validity [--seeds 2000] [--jobs 2] [--json FILE]

Prints one row per world and ends with 1 if any world breaks its budget.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.certificate_validity import Row, Trial, table
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
from stepdown.runtime.cascade import ABSTAINS, choose_rungs
from stepdown.stats.binomial import proportion_interval

Floats = NDArray[np.float64]
LossName = Literal["exact-match", "field-f1"]
SUPPORT: dict[LossName, Support] = {"exact-match": "zero_one", "field-f1": "bounded"}

CELLS, ATOMS = 2000, 50
FIELDS = np.arange(2, 8)
FIELD_SHARES = np.array([0.17, 0.30, 0.27, 0.15, 0.08, 0.03])
"""How many fields an answer has, intent included, about as in SNIPS."""
WRONG, MISSING = 0.55, 0.45
"""Of a student's errors in a field that is there, the share with another value, and without any."""
SPURIOUS = 0.25
"""How often, for each error chance of a field, one is added that should not be there."""
SLIGHTLY = 1.02
"""By what factor the end of a path that lies just beyond the margin exceeds it."""


@dataclass(frozen=True)
class World:
    """A made-up task. At signal s in [0, 1] student j errs in a field with probability worst[j] (1 − s)^steepness[j].

    incumbent_error: a field's, the same at every input; 0 where the incumbent itself is the reference. together: how
    often both get a field wrong on the same draw. beyond: scale `worst` until accepting everything costs just more
    than the margin. abstains: the share of inputs on which a student says that it has no answer.
    """

    name: str
    loss: LossName
    worst: tuple[float, ...]
    steepness: tuple[float, ...]
    incumbent_error: float = 0.03
    together: float = 0.5
    reference: Reference = "gold"
    beyond: bool = False
    abstains: float = 0.0
    tune_rows: int = 400
    certify_rows: int = 1000
    margin: float = 0.02
    confidence: float = 0.95


_AGREEMENT = {"incumbent_error": 0.0, "reference": "agreement"}
WORLDS = (
    World("exact match, gold, path crosses the margin", "exact-match", (0.35,), (2.0,), certify_rows=500, margin=0.04),
    World("exact match, gold, its end just beyond", "exact-match", (0.1,), (1.0,), beyond=True, certify_rows=500),
    World("exact match, agreement, path crosses", "exact-match", (0.25,), (3.0,), **_AGREEMENT),  # type: ignore[arg-type]
    World("exact match, agreement, its end just beyond", "exact-match", (0.1,), (2.0,), beyond=True, **_AGREEMENT),  # type: ignore[arg-type]
    World("field F1, gold, path crosses the margin", "field-f1", (0.4,), (2.0,)),
    World("field F1, gold, its end just beyond", "field-f1", (0.1,), (1.0,), beyond=True),
    World("field F1, agreement, path crosses", "field-f1", (0.4,), (3.0,), **_AGREEMENT),  # type: ignore[arg-type]
    World("field F1, agreement, its end just beyond", "field-f1", (0.1,), (2.0,), beyond=True, **_AGREEMENT),  # type: ignore[arg-type]
    World("field F1, gold, a first rung and a tagger that abstains", "field-f1", (0.8, 0.35), (1.5, 2.0), abstains=0.1),
)


@dataclass(frozen=True)
class Population:
    """signals: (students, cells). abstains: (students, cells), 0 or 1. losses: (students, cells, atoms). incumbent:
    (cells, atoms)."""

    signals: Floats
    abstains: Floats
    losses: Floats
    incumbent: Floats

    @property
    def excess(self) -> Floats:
        """The true excess loss (students, cells) of accepting each student's answer in each cell."""
        return np.asarray((self.losses - self.incumbent).mean(axis=2))


@cache
def population(world: World) -> Population:
    """The same for the same world; with `beyond`, at the scale of errors that puts its end just past the margin."""
    if not world.beyond:
        return _population(world)
    low, high, target = 0.0, 1.0, SLIGHTLY * world.margin
    for _ in range(30):
        middle = (low + high) / 2
        found = _population(replace(world, worst=tuple(middle for _ in world.worst)))
        low, high = (low, middle) if found.excess.mean() > target else (middle, high)
    return _population(replace(world, worst=tuple(high for _ in world.worst)))


def _population(world: World) -> Population:
    generator = np.random.default_rng(11)
    students = len(world.worst)
    shared, own = generator.random(CELLS), generator.random((students, CELLS))
    signals = np.clip(0.8 * shared + 0.2 * own, 0.0, 1.0) if students > 1 else own
    error = np.array(world.worst)[:, None] * (1.0 - signals) ** np.array(world.steepness)[:, None]
    counts = generator.choice(FIELDS, (CELLS, ATOMS), p=FIELD_SHARES)
    shape = (CELLS, ATOMS, int(FIELDS[-1]))
    there = np.arange(shape[2]) < counts[:, :, None]
    luck = generator.random(shape)
    losses = [_losses(world, error[place][:, None, None], luck, there, generator) for place in range(students)]
    incumbent = _losses(world, np.float64(world.incumbent_error), luck, there, generator)
    abstains = (generator.random((students, CELLS)) < world.abstains).astype(np.float64)
    return Population(signals, abstains, np.stack(losses), incumbent)


def _losses(
    world: World, error: Floats | np.float64, luck: Floats, there: NDArray[np.bool_], generator: np.random.Generator
) -> Floats:
    """Losses (cells, atoms) of one answerer whose fields err with chance `error`, sometimes where others do."""
    own = np.where(generator.random(luck.shape) < world.together, luck, generator.random(luck.shape))
    errs = (own < error) & there
    missing = errs & (generator.random(luck.shape) < MISSING)
    added = (generator.random(luck.shape[:2]) < SPURIOUS * np.asarray(error).reshape(-1, 1)).astype(np.int64)
    right = (there & ~errs).sum(axis=2)
    said = there.sum(axis=2) - missing.sum(axis=2) + added
    f1 = 2.0 * right / (said + there.sum(axis=2))
    return np.asarray(f1 < 1.0, dtype=np.float64) if world.loss == "exact-match" else 1.0 - f1


def _reported(world: World, people: Population, students: list[int], cells: NDArray[np.int64]) -> tuple[Floats, ...]:
    """Signals as models report them: the same order on another scale, and whether they abstain."""
    found = []
    for student in students:
        signal = people.signals[student, cells]
        columns = [np.log((signal + 0.02) / (1.02 - signal))]
        columns += [people.abstains[student, cells]] if world.abstains else []
        found.append(np.stack(columns, axis=1))
    return tuple(found)


def draw(world: World, people: Population, rows: int, generator: np.random.Generator, prefix: str) -> Observations:
    """Rows drawn with replacement from the population."""
    cells, atoms = generator.integers(0, CELLS, rows), generator.integers(0, ATOMS, rows)
    students = range(len(world.worst))
    names = ("top", ABSTAINS) if world.abstains else ("top",)
    return Observations(
        ids=tuple(f"{prefix}{row}" for row in range(rows)),
        reference=world.reference,
        references=("",) * rows,
        candidate_students=tuple(
            CandidateStudent(kind=f"s{one}", artefact=f"{one:064x}", signal_names=names) for one in students
        ),
        signals=_reported(world, people, list(students), cells),
        losses=people.losses[:, cells, atoms],
        incumbent_loss=people.incumbent[cells, atoms],
        support=SUPPORT[world.loss],
    )


def true_excess(world: World, people: Population, certificate: Certificate, candidate: Candidate) -> float:
    """The exact expected excess loss of the certified cascade in this world."""
    students = [int(candidate_student.artefact, 16) for candidate_student in candidate.candidate_students]
    everyone = Observations(
        ids=tuple(map(str, range(CELLS))),
        reference=world.reference,
        references=("",) * CELLS,
        candidate_students=candidate.candidate_students,
        signals=_reported(world, people, students, np.arange(CELLS)),
        losses=np.zeros((len(students), CELLS)),
        incumbent_loss=np.zeros(CELLS),
    )
    thresholds = [rung["threshold"] for rung in certificate.cascade["rungs"]]
    rung = choose_rungs(candidate.confidences(everyone), thresholds)
    taken = np.take_along_axis(people.excess[students], np.maximum(rung, 0)[None], axis=0)[0]
    return float(np.where(rung >= 0, taken, 0.0).mean())


def trial(world: World, seed: int) -> Trial:
    """One seed, at the whole error budget, so that the boundary is tested and not the ledger's reserve."""
    generator = np.random.default_rng([seed, 40])
    people = population(world)
    tune = draw(world, people, world.tune_rows, generator, "t")
    certify = draw(world, people, world.certify_rows, generator, "c")
    contract = Contract(margin=world.margin, confidence=world.confidence, against=world.reference, loss=world.loss)
    error = 1.0 - world.confidence
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
    for signals, abstains, excess in zip(people.signals, people.abstains, people.excess, strict=True):
        order = np.argsort(-signals)
        answers = np.cumsum(1.0 - abstains[order]) / CELLS
        within = np.flatnonzero(np.cumsum((excess * (1.0 - abstains))[order]) / CELLS <= world.margin)
        best = max(best, float(answers[within[-1]]) if within.size else 0.0)
    return best


def run(world: World, seeds: int, pool: ProcessPoolExecutor | None = None) -> Row:
    """All seeds of one world."""
    work = partial(trial, world)
    trials = list(pool.map(work, range(seeds), chunksize=25) if pool else map(work, range(seeds)))
    false = sum(each.false for each in trials)
    given = [each.offload for each in trials if each.certified]
    return Row(
        world=f"{world.name}, n = {world.certify_rows}, margin {world.margin}",
        seeds=seeds,
        certified=len(given) / seeds,
        violations=false / seeds,
        violations_high=proportion_interval(false, seeds, 0.05)[1],
        bounds_broken=sum(each.bound_false for each in trials) / seeds,
        budget=1.0 - world.confidence,
        offload=float(np.mean(given)) if given else math.nan,
        oracle=best_offload(world),
    )


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
