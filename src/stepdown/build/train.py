"""The second stage: what the students are taught, and the ladder of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.build.job import Job
from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Dataset, Example
from stepdown.core.errors import NotEnoughData
from stepdown.core.record import Dropped
from stepdown.core.students import Student, TrainingData
from stepdown.runtime.artefact import open_student
from stepdown.students.fit import FitContext, FittedStudent, fit_ladder
from stepdown.students.kinds import student_kinds
from stepdown.students.ladder import LadderWishes, PlannedStudent, choose_ladder, why_not

RESERVE_S = 14.0
RESERVE_S_PER_ROW = 1.0e-3
LEAST_TRAINING_S = 5.0


@dataclass(frozen=True)
class Learned:
    """The fitted students, opened, cheapest first; the plan they came from; what was dropped with the reason; and what
    they learned from."""

    fitted: tuple[FittedStudent, ...]
    students: tuple[Student, ...]
    plan: tuple[PlannedStudent, ...]
    dropped: tuple[Dropped, ...]
    data: TrainingData


def fit_students(job: Job, dataset: Dataset) -> Learned:
    """Choose the ladder for the budget and train it. Raises NotEnoughData when no student could be trained."""
    data = training_data(job, dataset)
    seconds = training_seconds(job.request.budget_s, len(dataset.examples))
    unable = {**why_not(data), **job.choice.left_out(student_kinds().names())}
    wishes = LadderWishes(unable, job.choice.options)
    plan, left_out = choose_ladder(len(data.texts), len(data.labels), job.contract, seconds, job.task.family, wishes)
    ladder = fit_ladder(plan, data, _context(job))
    if not ladder.students:
        raise _nothing_trained(job, (*ladder.dropped, *left_out))
    order = {name: place for place, name in enumerate(_by_cost(ladder.students))}
    fitted = tuple(sorted(ladder.students, key=lambda one: order[one.plan.kind]))
    students = tuple(open_student(one.folder, device=job.device) for one in fitted)
    return Learned(fitted, students, tuple(plan), (*left_out, *ladder.dropped), data)


def _nothing_trained(job: Job, dropped: Sequence[Dropped]) -> NotEnoughData:
    reasons = dict.fromkeys(one.why.rstrip(".") for one in dropped)
    said = ". ".join(reason[:1].upper() + reason[1:] for reason in reasons) or "No kind of student answers such a task"
    return NotEnoughData(
        f"No student could be trained for {job.task.name!r}. {said}.",
        "No evidence was spent.",
        "Change what is named here, or leave the task to the large model: docs/bring-a-task.md.",
    )


def training_seconds(budget_s: float, rows: int) -> float:
    """What a budget leaves for training: a formula, not a clock, so that the same build is planned twice alike."""
    return max(LEAST_TRAINING_S, budget_s - RESERVE_S - RESERVE_S_PER_ROW * rows)


def training_data(job: Job, dataset: Dataset) -> TrainingData:
    """The train split: gold where there is some, else the incumbent's answer; neither: an unlabelled text."""
    rows = dataset.split("train")
    taught = [row for row in rows if target_of(row) is not None]
    targets = [target_of(row) for row in taught]
    labels = tuple(sorted({job.family.slice_of(target) for target in targets}))
    return TrainingData(
        task=job.task.name,
        family=job.task.family,
        inputs=[row.student_input for row in taught],
        targets=targets,
        sources=["gold" if row.gold is not None else "incumbent" for row in taught],
        weights=np.array([row.weight for row in taught], dtype=np.float64),
        labels=labels,
        # Of what is learned from alone: labels for the evidence change no student, so that a build with more of them
        # is a further look at the same candidate.
        dataset_hash=digest_of(rows),
        soft=recorded_probabilities(taught, labels),
        extra_inputs=[row.student_input for row in rows if target_of(row) is None],
        form=job.task.form,
    )


def target_of(row: Example) -> object | None:
    """The answer to learn: gold over the incumbent's."""
    return row.gold if row.gold is not None else row.incumbent


def recorded_probabilities(rows: list[Example], labels: tuple[str, ...]) -> NDArray[np.float64] | None:
    """The incumbent's recorded probabilities over labels: (n, labels), rows of NaN where there are none; or None."""
    if not any(row.log_probabilities and row.gold is None for row in rows):
        return None
    place = {label: index for index, label in enumerate(labels)}
    table = np.full((len(rows), len(labels)), np.nan)
    for index, row in enumerate(rows):
        known = {place[name]: value for name, value in (row.log_probabilities or {}).items() if name in place}
        if known and row.gold is None:
            values = np.zeros(len(labels))
            values[list(known)] = np.exp(np.array(list(known.values())))
            table[index] = values / values.sum() if values.sum() > 0 else np.nan
    return table


def _context(job: Job) -> FitContext:
    return FitContext(
        work=job.home.builds(job.task.name) / "work",
        artefacts=job.home.artefacts,
        home=job.home.state / "cache",
        seed=job.request.seed,
        threads=job.request.threads,
        progress=job.progress,
        device=job.device,
        network=job.home.settings.network and job.contract.privacy != "local-only",
    )


def _by_cost(students: tuple[FittedStudent, ...]) -> list[str]:
    return sorted((one.plan.kind for one in students), key=lambda kind: student_kinds().load(kind).COST_ORDER)
