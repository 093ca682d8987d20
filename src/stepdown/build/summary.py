"""A build in a few figures, in the form that scripts rely on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stepdown.core.certificate import Certificate
from stepdown.core.measurements import StudentMeasurement
from stepdown.core.record import BuildRecord, Dropped
from stepdown.core.shown_rows import SHOWN_SPLITS, shown_rows
from stepdown.core.statement import confidence_of
from stepdown.report.notes import notes
from stepdown.stats.spending import error_left

MS = 1000.0


def summary(record: BuildRecord) -> dict[str, Any]:
    """What `stepdown build --json` prints. A refused build offloads nothing and costs what the incumbent costs."""
    certificate, cascade = record.certificate, record.cascade
    certified = certificate.verdict == "certified"
    claim = certificate.excess_loss
    incumbent_cost = record.incumbent.cost_per_1k.value if record.incumbent.cost_per_1k else None
    cost = cascade.cost_per_1k.value if cascade and cascade.cost_per_1k else None
    sizes = {student.artefact: student.speed.size_mb for student in record.students}
    return {
        "task": record.task,
        "verdict": certificate.verdict,
        "reasons": list(certificate.reasons),
        "notes": notes(record),
        "trivial": _trivial(record),
        "offload": certificate.offload if certified else 0.0,
        "excess_loss": {
            "estimate": claim.estimate if claim else None,
            "bound": claim.bound if claim else None,
            "margin": record.contract.margin,
            "confidence": record.contract.confidence,
            "evidence": certificate.evidence,
            "n": certificate.n,
        },
        "evidence": _evidence(certificate),
        "cost_per_1k": cost if certified else incumbent_cost,
        "incumbent_cost_per_1k": incumbent_cost,
        "latency_p50_ms": cascade.speed.latency_p50.value * MS if cascade else None,
        "latency_p95_ms": cascade.speed.latency_p95.value * MS if cascade else None,
        "rungs": [
            {"kind": rung["kind"], "threshold": rung["threshold"], "size_mb": sizes.get(rung["artefact"])}
            for rung in certificate.cascade.get("rungs", ())
        ],
        "students": [_student(student) for student in record.students],
        "dropped": [{"kind": one.kind, "why": one.why} for one in not_trained(record)],
        "labels_needed": certificate.labels_needed,
        "certificate": certificate.digest,
        "seconds": record.seconds,
    }


def not_trained(record: BuildRecord) -> list[Dropped]:
    """The kinds that were to be tried and are not among the students, with the reason."""
    return to_be_tried(record.dropped, asked_kinds(record), [student.kind for student in record.students])


def asked_kinds(record: BuildRecord) -> list[str]:
    """The kinds that the user asked for by name; [] where every kind was to be tried."""
    kinds: list[str] = record.plan.get("asked", {}).get("kinds", [])
    return kinds


def to_be_tried(dropped: Iterable[Dropped], asked: Sequence[str], trained: Sequence[str]) -> list[Dropped]:
    """Of what was dropped, the kinds that were to be tried, and not those that the user did not name."""
    return [one for one in dropped if one.kind not in trained and (not asked or one.kind in asked)]


def dropped_sentences(dropped: Iterable[Dropped], asked: Sequence[str]) -> list[str]:
    """For each kind that was asked for by name, why it was not trained."""
    return [f"Asked for, and not trained: {one.kind}. {one.why}" for one in dropped if one.kind in asked]


def attempt_sentence(certificate: Certificate) -> str:
    """A sentence on the error that this build spent of its evidence, and what is left."""
    if not certificate.attempt:
        return "This build spent no attempt on its evidence; what is left for a test is said by --dry-run."
    budget = 1.0 - confidence_of(certificate)
    left = f"{error_left(budget, certificate.attempt):.3%} of {budget:.1%} are left"
    return (
        f"Attempt {certificate.attempt} on this evidence: it was tested at an error of {certificate.error_share:.3%}, "
        f"and {left} for all later attempts. Try with --dry-run, which spends nothing."
    )


def _evidence(certificate: Certificate) -> dict[str, Any]:
    """What the certificate or refusal rests on. units: how many were tested; excluded: calls, by reason."""
    budget = 1.0 - confidence_of(certificate)
    return {
        "kind": certificate.evidence,
        "n_drawn": certificate.n_drawn,
        "n_labelled": certificate.n_labelled,
        "units": certificate.n,
        "unit": certificate.unit,
        "attempt": certificate.attempt,
        "error_share": certificate.error_share,
        # A build that spent no attempt does not know how many were spent before it.
        "error_left": error_left(budget, certificate.attempt) if certificate.attempt else None,
        "excluded": dict(certificate.excluded),
    }


def _trivial(record: BuildRecord) -> dict[str, Any] | None:
    """The figures of always giving the incumbent's commonest answer, on rows outside of the evidence."""
    trivial = record.trivial
    if trivial is None:
        return None
    return {
        "answer": trivial.answer,
        "reference": trivial.reference,
        "error": trivial.loss.value,
        "excess_loss": trivial.excess.value,
        "n": trivial.loss.n,
        "within_margin": trivial.passes(record.contract.margin),
    }


def _student(student: StudentMeasurement) -> dict[str, Any]:
    return {
        "kind": student.kind,
        "error": best_figure(student, "error", ("gold", "incumbent")),
        "agreement": _complement(best_figure(student, "agreement", ("incumbent",))),
        "metrics": _metrics(student),
        "latency_p50_ms": student.speed.latency_p50.value * MS,
        "size_mb": student.speed.size_mb,
        "trained_s": student.trained_s,
        "dominated_by": student.dominated_by or None,
    }


def best_figure(student: StudentMeasurement, metric: str, references: tuple[str, ...]) -> float | None:
    """A metric on the rows that may be shown, never on evidence: see `core.shown_rows`."""
    figures = {
        (split, reference): figure
        for split in SHOWN_SPLITS
        for reference in references
        if (figure := student.metric(metric, split, reference)) is not None
    }
    rows = shown_rows({key: figure.n for key, figure in figures.items()})
    return figures[rows].value if rows else None


def _metrics(student: StudentMeasurement) -> dict[str, float]:
    """Every metric, a loss by the name of its file, on the same rows."""
    names = dict.fromkeys(name for quality in student.quality for name in quality.metrics)
    figures = {name: best_figure(student, name, ("gold", "incumbent")) for name in names}
    return {name: value for name, value in figures.items() if value is not None}


def _complement(value: float | None) -> float | None:
    return None if value is None else 1.0 - value
