"""The second stage: what the students are taught, and the ladder of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown import __version__
from stepdown.build.job import Job
from stepdown.build.stored_plan import KeptPlan, read_plan
from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Dataset, Example
from stepdown.core.errors import NotEnoughData
from stepdown.core.pace import Deadline
from stepdown.core.record import Dropped
from stepdown.core.students import Student, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingBudget
from stepdown.evaluation.speed import describe_machine
from stepdown.runtime.artefact import open_student
from stepdown.students.fit import FitContext, FittedStudent, fit_ladder
from stepdown.students.kinds import student_kinds
from stepdown.students.ladder import LadderWishes, PlannedStudent, choose_ladder, why_not
from stepdown.students.machine_speed import machine_speed

LEAST_TRAINING_S = 5.0
LEAST_WITH_TORCH_S = 40.0
"""Below this budget nothing is trained that needs torch, whose import alone takes seconds."""
LEAST_LEFT = 0.6
"""Where less of the budget is left before training has begun, torch is not measured either."""
_PLANNED = 0.85
"""Of the time there is, what a plan fills: a little noise on the machine then cuts nothing."""
_BUSIEST = 8.0
"""The stages after training are given at most so many times what they take on a machine that does nothing else."""
TOO_BUSY = 1.5
"""Where a build takes so many times longer than it would alone, what is planned follows from the time that is left."""
_TIMED_ONCE_S, _TIMED_EACH_S = 1.5, 2.5
"""What timing takes after training in a long build: of the cascade, and of each student."""
LEAST_SHARE = 0.3
"""Of what is left of the budget, what training is given in any case: who has learned nothing is worth nothing."""


@dataclass(frozen=True)
class Learned:
    """The fitted students, opened, cheapest first; the plan they came from, for the record; what was dropped with the
    reason; and what they learned from."""

    fitted: tuple[FittedStudent, ...]
    students: tuple[Student, ...]
    plan: dict[str, Any]
    dropped: tuple[Dropped, ...]
    data: TrainingData


def fit_students(job: Job, dataset: Dataset) -> Learned:
    """Choose the ladder for the budget, or take it from a record, and train it. Raises NotEnoughData when no student
    could be trained, InputError for a record that holds no plan."""
    data = training_data(job, dataset)
    speed = _speed(job)
    context = _context(job)
    if job.request.plan is None:
        time, kept = _time_for_training(job, dataset, data, speed), KeptPlan(context.work, _follows_from(job, data))
        plan, left_out = kept.read() or _choose(job, data, time)
        kept.write(plan, left_out)
        timed = replace(context, speed=speed, deadline=time.deadline, each_s=time.each_s, busy=time.busy)
        ladder = fit_ladder(plan, data, timed)
        kept.remove()
    else:
        left_out = []
        ladder = fit_ladder(read_plan(job.request.plan), data, context)
    if not ladder.students:
        raise _nothing_trained(job, (*ladder.dropped, *left_out))
    order = {name: place for place, name in enumerate(_by_cost(ladder.students))}
    fitted = tuple(sorted(ladder.students, key=lambda one: order[one.plan.kind]))
    students = tuple(open_student(one.folder, device=job.device) for one in fitted)
    described = {
        "students": [one.as_dict() for one in ladder.plans],
        "reused": [one.plan.kind for one in fitted if one.reused],
        "machine_speed": msgspec.to_builtins(speed),
    }
    return Learned(fitted, students, described, (*left_out, *ladder.dropped), data)


def _choose(job: Job, data: TrainingData, time: _Time) -> tuple[list[PlannedStudent], list[Dropped]]:
    unable = {**why_not(data), **job.choice.left_out(student_kinds().names())}
    return choose_ladder(time.budget, job.task.family, job.contract, LadderWishes(unable, job.choice.options))


def _follows_from(job: Job, data: TrainingData) -> str:
    """The digest of all that a plan follows from, but for what else runs here."""
    asked = job.request
    parts = (data.digest, asked.seed, asked.budget_s, asked.threads, job.choice.as_dict(), job.contract)
    return digest_of((__version__, describe_machine(), *parts))


def _speed(job: Job) -> MachineSpeed:
    budget_s = job.request.budget_s
    with_torch = budget_s >= LEAST_WITH_TORCH_S and job.deadline.left > LEAST_LEFT * budget_s
    return machine_speed(job.home.state / "cache", describe_machine(), job.request.threads, with_torch)


@dataclass(frozen=True)
class _Time:
    """What may be planned; when training must have ended, what measuring a student takes, how busy the machine is."""

    budget: TrainingBudget
    deadline: Deadline
    each_s: float
    busy: float


def _time_for_training(job: Job, dataset: Dataset, data: TrainingData, speed: MachineSpeed) -> _Time:
    """Planned by formula, and on a machine that is too busy for that by the clock.

    After training students answer all they have not learned from, are timed, and are measured in a process of their
    own; work takes longer where other programs run, timing does not.
    """
    rows, busy, share = len(dataset.examples), _busy(job), job.timing_share
    unseen = rows - len(dataset.split("train"))
    once, each = speed.slowness * (2.5 + 1e-4 * rows), speed.slowness * (1.2 + 4e-4 * unseen)
    timed_once, timed_each = _TIMED_ONCE_S * share, _TIMED_EACH_S * share
    left = job.deadline.left
    end = max(left - timed_once - busy * once, LEAST_SHARE * left)
    each_s = timed_each + busy * each
    around = _before(rows, speed.slowness) + _TIMED_ONCE_S + once
    seconds = training_seconds(job.request.budget_s, rows, speed.slowness, timed_once + once)
    budget = TrainingBudget(data.size, seconds, speed, timed_each + each, _TIMED_EACH_S + each, around, _PLANNED)
    if busy > TOO_BUSY:
        seconds = max(LEAST_TRAINING_S, min(seconds, _PLANNED * end / busy))
        around = job.request.budget_s - left + _TIMED_ONCE_S + busy * once
        long_each_s = _TIMED_EACH_S / busy + each
        budget = TrainingBudget(data.size, seconds, speed, each_s / busy, long_each_s, around, _PLANNED / busy)
    return _Time(budget, Deadline(job.deadline.now() + end, job.deadline.now), each_s, busy)


def training_seconds(budget_s: float, rows: int, slowness: float, after_s: float) -> float:
    """What a budget leaves for training: a formula, not a clock, so that the same build is planned twice alike.

    rows: of the whole dataset, which has to be curated. after_s: what follows training.
    """
    return max(LEAST_TRAINING_S, _PLANNED * (budget_s - _before(rows, slowness) - after_s))


def _before(rows: int, slowness: float) -> float:
    """What a build takes before training."""
    return slowness * (2.0 + 3e-4 * rows)


def _busy(job: Job) -> float:
    """How many times longer this build takes so far than it would if nothing else ran here."""
    return min(_BUSIEST, max(1.0, job.seconds.get("curating", 1.0) / max(job.busy_s.get("curating", 1.0), 1e-3)))


def _nothing_trained(job: Job, dropped: Sequence[Dropped]) -> NotEnoughData:
    reasons = dict.fromkeys(one.why.rstrip(".") for one in dropped)
    said = ". ".join(reason[:1].upper() + reason[1:] for reason in reasons) or "No kind of student answers such a task"
    return NotEnoughData(
        f"No student could be trained for {job.task.name!r}. {said}.",
        "No evidence was spent.",
        "Change what is named here, or leave the task to the large model: docs/bring-a-task.md.",
    )


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
