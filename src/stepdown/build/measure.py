"""The third stage: every student as it will be served, on rows it has not learned from, beside the incumbent."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.build.curate import Curated
from stepdown.build.job import Job
from stepdown.build.measured_students import MeasuredStudents, references_in, sample_inputs
from stepdown.build.train import Learned
from stepdown.certificate.calibrate import confidences
from stepdown.certificate.candidate import fit_all
from stepdown.certificate.field_confidence import Calibrators, fit_fields, table_of
from stepdown.certificate.observations import CandidateStudent
from stepdown.certificate.split_answers import SplitAnswers, answer_split, calibration_kind, observe
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.dataset import SplitName
from stepdown.core.measurements import Quality, Speed, StudentMeasurement
from stepdown.core.shown_rows import SHOWN_SPLITS
from stepdown.core.students import Predictions, Student
from stepdown.evaluation.dominance import mark_dominated
from stepdown.evaluation.quality import measure_quality
from stepdown.evaluation.speed import Served, describe_machine, measure_speed
from stepdown.project.home import write_whole
from stepdown.students.fit import FittedStudent

UNSEEN: tuple[SplitName, ...] = ("tune", "certify", "test")
OPENER = "stepdown.runtime.artefact:open_student"


def measure_students(
    job: Job, curated: Curated, learned: Learned, splits: Sequence[SplitName] = UNSEEN
) -> MeasuredStudents:
    """Ask every student about every unseen row once; all figures come from those answers and from timing it alone."""
    answered = {split: answer_split(learned.students, curated.dataset, split) for split in splits}
    candidate_students = [
        CandidateStudent(kind=one.plan.kind, artefact=one.manifest.digest, signal_names=student.signal_names)
        for one, student in zip(learned.fitted, learned.students, strict=True)
    ]
    kind = calibration_kind(answered["tune"].examples)
    calibrators = fit_all(observe(answered["tune"], candidate_students, job.grader, kind, None))
    measurements = []
    for place, fitted in enumerate(learned.fitted):
        job.progress(f"measuring: {fitted.plan.kind}", place / len(learned.fitted))
        predictions = {split: one.predictions[place] for split, one in answered.items() if one.predictions}
        quality = _quality(job, answered, predictions, calibrators[place])
        measurements.append(_measurement(job, fitted, learned.students[place], quality, curated))
    marked = tuple(mark_dominated(measurements))
    priced = tuple(
        msgspec.structs.replace(candidate_student, cost_usd=one.speed.cost_per_1k.value / 1000.0)
        for candidate_student, one in zip(candidate_students, marked, strict=True)
    )
    tune = observe(answered["tune"], priced, job.grader, kind, None)
    fields = tuple(_fields(job, answered["tune"], place, calibrator) for place, calibrator in enumerate(calibrators))
    return MeasuredStudents(learned.students, marked, answered, priced, tune, calibrators, fields, curated.verdicts)


def _fields(job: Job, tune: SplitAnswers, place: int, calibrator: dict[str, object]) -> Calibrators:
    table, _ = table_of(tune, place, calibrator, job.family.parts)
    return {} if table is None else fit_fields(table)


def _measurement(
    job: Job, fitted: FittedStudent, student: Student, quality: tuple[Quality, ...], curated: Curated
) -> StudentMeasurement:
    return StudentMeasurement(
        kind=fitted.plan.kind,
        artefact=fitted.manifest.digest,
        trained_s=fitted.manifest.trained_s,
        learned_from=fitted.manifest.learned_from,
        quality=quality,
        speed=_speed(job, fitted, student, curated),
    )


def _speed(job: Job, fitted: FittedStudent, student: Student, curated: Curated) -> Speed:
    """The speed of a student, measured once for an artefact, a machine and its price: a repeated build then asks the
    same question of the evidence, and spends no more of it."""
    key = digest_of((fitted.manifest.digest, job.machine, describe_machine(), job.device))
    path = job.home.state / "cache" / "speed" / f"{key}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Speed)
    except (OSError, msgspec.DecodeError):
        pass
    inputs = sample_inputs(curated.dataset.split("tune") or curated.dataset.split("train"))
    served = Served(one=student.answer, many=student.answer_many, folder=fitted.folder, opener=OPENER)
    speed = measure_speed(served, inputs, job.machine, job.timing)
    write_whole(path, canonical_json(speed))
    return speed


def _quality(
    job: Job,
    answered: dict[SplitName, SplitAnswers],
    predictions_by_split: dict[SplitName, Predictions],
    calibrator: dict[str, object],
) -> tuple[Quality, ...]:
    """The quality on the splits that are not evidence, by every reference."""
    measured = []
    for split in SHOWN_SPLITS:
        if split not in predictions_by_split:
            continue
        predictions, examples = predictions_by_split[split], answered[split].examples
        sure: NDArray[np.float64] = confidences(calibrator, predictions.signals)
        for reference in references_in(examples):
            family, said_of = job.task.family, predictions.answers
            measured.append(measure_quality(said_of, sure, examples, family, split, reference, job.grading))
    return tuple(measured)
