"""The share of answers that do not fit their schema: 1 − the valid-schema rate. What is right or wrong does not matter.

The schema is the one that the task's requests state, of the answer or of the called tool's arguments. A field that is
not there is held against the schema as the incumbent would write it. Calls of a tool that is not offered do not fit.
Where no schema is known, any object fits; an answer that could not be had never does.
"""

from __future__ import annotations

import numpy as np

from stepdown.core.dataset import Answer
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Form
from stepdown.core.extraction.writing import is_valid
from stepdown.evaluation.intervals import mean_loss
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("extract",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """The share with a Clopper-Pearson interval. Nothing is resampled."""
    return mean_loss([float(not fits(answer, rows.form)) for answer in rows.answers])


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "valid schema", complement(loss)


def examples() -> list[MetricExample]:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    plain, tools = Form(schemas={"": city}), Form(tools=("find",), schemas={"find": city})
    answers = ({"city": "Rome"}, {"city": 3}, {"day": 1}, None)
    rome = {"city": "Rome"}
    called: tuple[Answer, ...] = ({"tool": "find", "arguments": rome}, {"tool": "book", "arguments": rome}, {})
    return [
        MetricExample(answers, ({"city": "Bonn"},) * 4, 3 / 4, family="extract", form=plain),
        MetricExample(called, ({},) * 3, 1 / 3, family="extract", form=tools),
        MetricExample(({"day": 1}, None), ({}, {}), 1 / 2, family="extract"),
    ]


def fits(answer: Answer | None, form: Form | None) -> bool:
    """Whether a canonical answer fits the form's schema; of several calls, whether each does."""
    return isinstance(answer, dict) and (form is None or is_valid(form, answer))
