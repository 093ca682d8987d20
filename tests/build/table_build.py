"""A build whose students are tables: real calls in a real store, curated and measured; nothing is trained."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from benchmarks._evidence.traffic import FixedStudent
from tests.cli.tickets import PHRASES, TASK, label, ticket
from tests.report.records import certified as made_record
from tests.report.records import student as made_measurement

from stepdown.build.certify import Certified
from stepdown.build.curate import Curated
from stepdown.build.job import BuildRequest, Job
from stepdown.build.measure import MeasuredStudents
from stepdown.build.prepare import prepared
from stepdown.certificate.candidate import fit_all
from stepdown.certificate.observations import CandidateStudent
from stepdown.certificate.split_answers import answer_split, calibration_kind, observe
from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Dataset, SplitName
from stepdown.core.record import BuildRecord
from stepdown.core.store import Gold, GoldBasis
from stepdown.project.home import Home, open_home

NOW = 1_760_000_000.0
SETTINGS = "[tasks.tickets.contract]\nmargin = 0.05\nholdback = 0.0\n"
UNSEEN: tuple[SplitName, ...] = ("tune", "certify", "test")


def wrong(number: int) -> str:
    return next(name for name in sorted(PHRASES) if name != label(number))


def incumbent_call(number: int) -> Call:
    """A recorded ticket. One answer of the incumbent's in ten is wrong."""
    return msgspec.convert(ticket(number, answer=wrong(number) if number % 10 == 0 else ""), Call)


def project(folder: Path, count: int = 900, labelled: int | None = None, basis: GoldBasis = "all") -> Home:
    """A project with so many calls, of which the first `labelled` (default: all) have gold."""
    (folder / "stepdown.toml").write_text(SETTINGS)
    home = replace(open_home(folder), clock=lambda: NOW)
    with home.store() as store:
        store.add_calls(incumbent_call(number) for number in range(count))
        numbers = range(count if labelled is None else labelled)
        store.add_gold(Gold(id=f"c{number}", gold=label(number), basis=basis) for number in numbers)
    return home


@dataclass(frozen=True)
class Table:
    """A student to be, which is wrong that often. One that guesses is as sure of what is wrong as of what is right."""

    error: float = 0.02
    kind: str = "linear"
    guesses: bool = False

    def on(self, dataset: Dataset) -> FixedStudent:
        table = {}
        for one in dataset.examples:
            dice, number = random.Random(f"{self.kind} {one.id}"), int(one.id[1:])
            is_wrong = dice.random() < self.error
            low, high = (0.0, 1.0) if self.guesses else (0.3, 0.7) if is_wrong else (0.5, 1.0)
            table[one.text] = (wrong(number) if is_wrong else label(number), dice.uniform(low, high))
        return FixedStudent(kind=self.kind, artefact=self.kind.encode().hex().ljust(64, "0"), table=table)


RIGHT, WRONG = Table(), Table(error=1.0, guesses=True)


def quiet(what: str, share: float) -> None:
    """Nobody watches."""


@contextmanager
def job_of(home: Home, **asked: Any) -> Iterator[Job]:
    with prepared(home, BuildRequest(task=TASK, **asked), quiet) as job:
        yield job


def measure(job: Job, curated: Curated, tables: Sequence[Table] = (RIGHT,)) -> MeasuredStudents:
    """As the third stage has it, but for the figures of time and memory, which are made up."""
    students = [table.on(curated.dataset) for table in tables]
    for student in students:  # a build's folder takes in the folders of its students
        folder = job.home.artefacts / student.artefact
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.json").write_bytes(canonical_json(sorted(student.table.items())))
    answered = {split: answer_split(students, curated.dataset, split) for split in UNSEEN}
    named = tuple(
        CandidateStudent(kind=one.kind, artefact=one.artefact, signal_names=one.signal_names, cost_usd=1e-8)
        for one in students
    )
    tune = observe(answered["tune"], named, job.grader, calibration_kind(answered["tune"].examples), None)
    speed = {"p50": 6.1e-5, "cost": 2.1e-6, "size": 6.4, "trained": 0.0}
    measurements = tuple(made_measurement(one.kind, 0.02, 0.1, speed, names=sorted(PHRASES)) for one in students)
    fields: tuple[dict[str, Any], ...] = tuple({} for _ in students)
    return MeasuredStudents(
        tuple(students), measurements, answered, named, tune, fit_all(tune), fields, curated.verdicts
    )


def record_of(job: Job, dataset: Dataset, measured: MeasuredStudents, certified: Certified) -> BuildRecord:
    """A record of this certificate; its other figures are made up."""
    return made_record(
        task=job.task.name,
        created_at=job.home.clock(),
        contract=job.contract,
        dataset=dataset.manifest,
        students=measured.measurements,
        certificate=certified.certificate,
    )
