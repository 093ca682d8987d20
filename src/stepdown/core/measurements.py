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
