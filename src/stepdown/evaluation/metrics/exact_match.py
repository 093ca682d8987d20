"""The share of answers that are not exactly the reference: one field wrong, missing or too many is enough."""

from __future__ import annotations

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import mean_loss
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("extract",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """The share with a Clopper-Pearson interval, whatever loss the contract is about. Nothing is resampled.

    Equal as canonical JSON: the order of keys does not matter, that of a list does, and true is not 1.
    """
    pairs = zip(rows.answers, rows.references, strict=True)
    return mean_loss([float(canonical_json(answer) != canonical_json(reference)) for answer, reference in pairs])


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "exact match", complement(loss)


def examples() -> list[MetricExample]:
    answers: tuple[Answer, ...] = ({"city": "Rome", "day": 2}, {"city": "Rome"}, None, {})
    wanted: tuple[Answer, ...] = ({"day": 2, "city": "Rome"}, {"city": "Rome", "day": 2}, {"city": "Rome"}, {})
    return [
        MetricExample(answers, wanted, 0.5, family="extract"),
        MetricExample(({"all": True, "to": ["a", "b"]},), ({"all": True, "to": ["b", "a"]},), 1.0, family="extract"),
    ]
