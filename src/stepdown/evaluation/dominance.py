"""Dominated students: another is better on error, latency and cost, so that no contract prefers them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import StudentMeasurement
from stepdown.core.record import Dropped

_REFERENCES = ("gold", "incumbent")


def mark_dominated(students: Sequence[StudentMeasurement], split: str = "tune") -> list[StudentMeasurement]:
    """The students in the same order, each with the kind of the one that dominates it, or "".

    A student is dominated when another's error on `split` (against gold where both have it, else the incumbent) is
    lower beyond noise, and its median latency and its cost are no higher. Beyond noise: the difference exceeds the
    quadrature sum of the two intervals' half-widths, 1.96 standard errors of an unpaired difference, which errs on
    the side of keeping a student. Students that are themselves dominated dominate nobody's record.
    """
    dominators = [_dominators(student, students, split) for student in students]
    return [
        msgspec.structs.replace(student, dominated_by=best.kind if (best := _strongest(others, split)) else "")
        for student, others in zip(students, dominators, strict=True)
    ]


def explain_dominated(students: Sequence[StudentMeasurement], split: str = "tune") -> list[Dropped]:
    """Why each dominated student (by `mark_dominated`'s rule) is dropped, in plain words with the figures."""
    dropped = []
    for student in students:
        best = _strongest(_dominators(student, students, split), split)
        if best is not None:
            dropped.append(Dropped(kind=student.kind, why=_reason(student, best, split)))
    return dropped


def _dominators(
    student: StudentMeasurement, students: Sequence[StudentMeasurement], split: str
) -> list[StudentMeasurement]:
    return [other for other in students if other is not student and _dominates(other, student, split)]


def _dominates(other: StudentMeasurement, student: StudentMeasurement, split: str) -> bool:
    errors = _errors(other, student, split)
    return (
        errors is not None
        and _lower_beyond_noise(*errors)
        and other.speed.latency_p50.value <= student.speed.latency_p50.value
        and other.speed.cost_per_1k.value <= student.speed.cost_per_1k.value
    )


def _errors(one: StudentMeasurement, two: StudentMeasurement, split: str) -> tuple[Estimate, Estimate] | None:
    """Both errors against the first reference that both have."""
    for reference in _REFERENCES:
        first, second = one.metric("error", split, reference), two.metric("error", split, reference)
        if first is not None and second is not None:
            return first, second
    return None


def _lower_beyond_noise(lower: Estimate, higher: Estimate) -> bool:
    noise = ((lower.high - lower.value) ** 2 + (higher.value - higher.low) ** 2) ** 0.5
    return bool(higher.value - lower.value > noise)


def _strongest(students: Sequence[StudentMeasurement], split: str) -> StudentMeasurement | None:
    """Of several that dominate, the one with the least error: itself not dominated by another of them."""
    return min(students, key=lambda student: _error_value(student, split), default=None)


def _error_value(student: StudentMeasurement, split: str) -> float:
    errors = [error for each in _REFERENCES if (error := student.metric("error", split, each)) is not None]
    return errors[0].value if errors else 1.0


def _reason(student: StudentMeasurement, best: StudentMeasurement, split: str) -> str:
    errors = _errors(best, student, split)
    if errors is None:
        raise ValueError("Got a dominated student without an error; expected both errors to be known.")
    return (
        f"{best.kind} is better at everything: {errors[0].value:.1%} of its answers are wrong against "
        f"{errors[1].value:.1%} (n = {errors[1].n}, beyond noise), {best.speed.latency_p50.value * 1e3:.3g} ms against "
        f"{student.speed.latency_p50.value * 1e3:.3g} ms, and no dearer."
    )
