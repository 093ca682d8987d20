"""The protocol of metrics. Each is one file in `metrics/`, named as the metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stepdown.core.dataset import Answer
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Form
from stepdown.core.kinds import Kinds
from stepdown.evaluation.rows import Rows, grade


@dataclass(frozen=True)
class MetricExample:
    """Rows of a family and the loss that the metric must give for them, worked by hand."""

    answers: tuple[Answer | None, ...]
    references: tuple[Answer, ...]
    expected: float
    confidences: tuple[float, ...] | None = None
    family: str = "classify"
    form: Form | None = None

    def rows(self) -> Rows:
        return grade(self.family, self.answers, self.references, self.confidences, form=self.form)


class Metric(Protocol):
    """The protocol a module in `evaluation/metrics/` keeps. Always a loss in [0, 1], lower is better."""

    EXTRA: str
    FAMILIES: tuple[str, ...]
    """The families whose answers it can read; () for every family, where only the losses are read."""
    REFERENCES: tuple[str, ...]
    """Against what it makes sense: "gold", "incumbent"."""
    NEEDS_CONFIDENCES: bool

    def measure(self, rows: Rows, generator: np.random.Generator) -> Estimate:
        """The loss over the rows with its interval. The same generator state gives the same interval."""

    def shown_as(self, loss: Estimate) -> tuple[str, Estimate]:
        """The name and number people are used to (accuracy, F1 …), which may point the other way."""

    def examples(self) -> list[MetricExample]:
        """Worked cases."""


def metrics() -> Kinds[Metric]:
    """All metrics, by name."""
    return Kinds("stepdown.evaluation.metrics", "metric")


def applicable(family: str, reference: str, has_confidences: bool) -> dict[str, Metric]:
    """The metrics that can be measured of these rows, by name."""
    return {
        name: metric
        for name, metric in metrics().all().items()
        if (not metric.FAMILIES or family in metric.FAMILIES)
        and reference in metric.REFERENCES
        and (has_confidences or not metric.NEEDS_CONFIDENCES)
    }


def complement(loss: Estimate) -> Estimate:
    """1 − loss, as people read it: accuracy for error, F1 for 1 − F1."""
    return Estimate(
        value=1.0 - loss.value,
        low=1.0 - loss.high,
        high=1.0 - loss.low,
        n=loss.n,
        method=loss.method,
        confidence=loss.confidence,
        unit=loss.unit,
        estimated=loss.estimated,
    )
