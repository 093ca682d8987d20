"""The saving of escalating single fields, compared with escalating whole answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stepdown.build.job import Job
from stepdown.build.measured_students import MeasuredStudents
from stepdown.certificate.field_confidence import Booleans, Calibrators, FieldTable, Floats, field_confidences, table_of
from stepdown.core.dataset import SplitName
from stepdown.core.measurements import FieldEscalation, FieldRow
from stepdown.core.shown_rows import Rows
from stepdown.evaluation.intervals import paired_mean, rate
from stepdown.stats.reliability import expected_calibration_error

LEVELS = 200
LACKING = ("0", "1", "2", "3 or more")


@dataclass(frozen=True)
class _Given:
    """Which fields (n, f) the student would give, the rest being the incumbent's, and what that costs (n,)."""

    taken: Booleans
    excess: Floats


def _given(table: FieldTable, taken: Booleans) -> _Given:
    lost = np.max(np.where(taken, table.wrong, table.incumbent_wrong), axis=1, initial=False)
    theirs = np.max(table.incumbent_wrong, axis=1, initial=False)
    return _Given(taken, np.subtract(lost, theirs, dtype=np.float64))


def _whole(table: FieldTable, level: float) -> _Given:
    rows = (table.sure >= level) & (table.sure > 0.0)
    return _given(table, np.repeat(rows[:, None], len(table.names), axis=1))


def _left(confidences: Floats, level: float) -> Booleans:
    """Fields (n, f) that the student decided about and is not sure enough of."""
    return ~np.isnan(confidences) & ~((confidences >= level) & (confidences > 0.0))


def _single(table: FieldTable, confidences: Floats, level: float) -> _Given:
    """Where any field is left to the incumbent, so are those that the student did not decide about."""
    left = _left(confidences, level)
    undecided = np.isnan(confidences) & (left.any(axis=1) | (table.sure <= 0.0))[:, None]
    return _given(table, ~left & ~undecided)


def _lowest(confidences: Floats, within: Callable[[float], bool]) -> float:
    """The lowest of the levels worth trying that keeps within the margin; above 1 where none does."""
    known = confidences[~np.isnan(confidences) & (confidences > 0.0)]
    if not known.size:
        return 2.0
    levels = np.unique(np.quantile(known, np.linspace(0.0, 1.0, LEVELS), method="lower"))
    return next((float(level) for level in levels if within(float(level))), 2.0)


@dataclass(frozen=True)
class StudentFields:
    """One student's fields on tune and on the rows of `split`, and its calibrators."""

    kind: str
    artefact: str
    tune: FieldTable
    shown: FieldTable
    split: SplitName
    reference: str
    calibrators: Calibrators


def escalate_fields(student: StudentFields, margin: float) -> FieldEscalation:
    """Thresholds from tune, figures from the rows shown: see `core.measurements.FieldEscalation`."""
    tuned, shown = student.tune, student.shown
    sure = field_confidences(tuned, student.calibrators)
    whole_level = _lowest(tuned.sure, lambda level: float(_whole(tuned, level).excess.mean()) <= margin)
    level = _lowest(sure, lambda level: float(_single(tuned, sure, level).excess.mean()) <= margin)
    confidences = field_confidences(shown, student.calibrators)
    whole, single = _whole(shown, whole_level), _single(shown, confidences, level)
    n, given = len(shown.sure), int(whole.taken.any(axis=1).sum())
    lacking = np.where(shown.sure > 0.0, np.minimum(_left(confidences, level).sum(axis=1), 3), 3)
    shares = np.bincount(lacking, minlength=len(LACKING)) / n
    there = max(1, int(shown.there.sum()))
    return FieldEscalation(
        kind=student.kind,
        artefact=student.artefact,
        split=student.split,
        reference=student.reference,
        n=n,
        margin=margin,
        threshold=level,
        answers_whole=rate(given, n),
        answers_complete=rate(int((lacking == 0).sum()), n),
        fields_whole=float((whole.taken & shown.there).sum() / there),
        fields_single=float((single.taken & shown.there).sum() / there),
        lacking=dict(zip(LACKING, shares.tolist(), strict=True)),
        excess_whole=paired_mean(whole.excess),
        excess_single=paired_mean(single.excess),
        rows=_rows(shown, confidences, level),
    )


def escalate_all(job: Job, measured: MeasuredStudents, rows: Rows | None) -> tuple[FieldEscalation, ...]:
    """The escalation of single fields by every student with confidences of fields, on the rows that may be shown; never
    on the evidence."""
    if rows is None:
        return ()
    split, escalations = rows[0], []
    for place, candidate_student in enumerate(measured.candidate_students):
        calibrator = measured.calibrators[place]
        tune, _ = table_of(measured.answered["tune"], place, calibrator, job.family.parts)
        shown, reference = table_of(measured.answered[split], place, calibrator, job.family.parts)
        if tune is not None and shown is not None:
            fields = measured.fields[place]
            student = StudentFields(
                candidate_student.kind, candidate_student.artefact, tune, shown, split, reference, fields
            )
            escalations.append(escalate_fields(student, job.contract.margin))
    return tuple(escalations)


def _rows(table: FieldTable, confidences: Floats, level: float) -> tuple[FieldRow, ...]:
    """A row for each field that occurs and that the student decides about, the worst first."""
    rows = []
    for place, name in enumerate(table.names):
        known = ~np.isnan(confidences[:, place]) & (table.sure > 0.0)
        if known.any() and (table.there | table.given)[:, place].any():
            wrong, sure = table.wrong[known, place], confidences[known, place]
            row = FieldRow(
                name=name,
                n=int(known.sum()),
                error=rate(int(wrong.sum()), wrong.size),
                calibration_error=expected_calibration_error(sure, 1.0 - wrong),
                accepted=float((sure >= level).mean()),
            )
            rows.append(row)
    return tuple(sorted(rows, key=lambda row: (-row.error.value, row.name)))
