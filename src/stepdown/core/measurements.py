"""What is measured of a student, a cascade and the incumbent: each figure with its n, interval and method."""

from __future__ import annotations

import msgspec

from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Span


class LabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One label (or field): how often it is right, against gold where known, else against the incumbent."""

    name: str
    n: int
    error: Estimate
    incumbent_error: Estimate | None
    precision: float
    recall: float
    f1: float
    most_confused_with: str = ""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """An input on which student and incumbent differ, worth a person's reading. Answers that are no text are JSON.

    student_spans, incumbent_spans: where the values of each stand in `text`, for answers with fields.
    """

    id: str
    text: str
    student: str
    incumbent: str
    gold: str | None
    confidence: float
    student_spans: tuple[Span, ...] = ()
    incumbent_spans: tuple[Span, ...] = ()


class ShownMetric(msgspec.Struct, frozen=True, kw_only=True):
    """How people read a metric, which is a loss: under which name, and whether as 1 − loss (accuracy, F1 …)."""

    name: str
    complement: bool = False


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Quality on one split. `reference` says against what: "gold" or "incumbent". metrics: by metric file name."""

    split: str
    reference: str
    metrics: dict[str, Estimate]
    labels: tuple[LabelRow, ...] = ()


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Speed and size of one artefact as served. latencies: a sample of single-request latencies in s, for the chart."""

    latency_p50: Estimate
    latency_p95: Estimate
    throughput: Estimate
    memory_mb: Estimate
    size_mb: float
    energy_j_per_1k: Estimate
    cost_per_1k: Estimate
    machine: str
    latencies: tuple[float, ...] = ()


class StudentMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured of one student's artefact."""

    kind: str
    artefact: str
    trained_s: float
    learned_from: dict[str, int]
    quality: tuple[Quality, ...]
    speed: Speed
    dominated_by: str = ""
    disagreements: tuple[Disagreement, ...] = ()

    def metric(self, name: str, split: str, reference: str) -> Estimate | None:
        """One figure, or None where it was not measured."""
        for quality in self.quality:
            if quality.split == split and quality.reference == reference:
                return quality.metrics.get(name)
        return None


class FieldRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far a student's confidence in one field can be taken at its word.

    error: how often the field is wrong: missing, too many, or with another value. calibration_error: the mean gap of
    stated confidence and being right, in bins of equal mass. accepted: the share of rows in which it is sure enough.
    """

    name: str
    n: int
    error: Estimate
    calibration_error: float
    accepted: float


class FieldEscalation(msgspec.Struct, frozen=True, kw_only=True):
    """What one student could give if single fields could be left to the incumbent, beside whole answers as today.

    Both ways are held to the contract's margin: the surest are given, as many as keep the share of answers with a wrong
    field within the margin above the incumbent's own. Confidences and thresholds are from tune, figures from `split`,
    against `reference`. Estimates, not claims: no certificate is about them.

    threshold: the confidence from which a field is given. answers_whole: the share of answers given when an answer is
    given whole or not at all. answers_complete: of those whose every field is sure enough. fields_whole, fields_single:
    the share of the reference's fields given the one way and the other. lacking: the share of answers by how many of
    their fields would be left to the incumbent ("0", "1", "2", "3 or more"): each but the first still takes a request.
    excess_whole, excess_single: share of answers with a wrong field, less the incumbent's.
    """

    kind: str
    artefact: str
    split: str
    reference: str
    n: int
    margin: float
    threshold: float
    answers_whole: Estimate
    answers_complete: Estimate
    fields_whole: float
    fields_single: float
    lacking: dict[str, float]
    excess_whole: Estimate
    excess_single: Estimate
    rows: tuple[FieldRow, ...] = ()
