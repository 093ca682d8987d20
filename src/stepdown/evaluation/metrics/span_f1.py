"""1 − micro-F1 over pieces: what stands in the text, as span F1 counts it, apart from what is chosen from a closed set.

A piece is one text or number of an answer with its field. It differs from field_f1 in two ways. A list's items count
one by one, in any order, and so do the values of objects in a list, so that a list of which one item is missed is not
lost whole. And what no text is copied for does not count: booleans, the tool, fields whose form lists their choices,
and the value that names the answer's slice (its intent). Values stand for places: two places of the same text are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.answers import flat, join, split
from stepdown.core.extraction.form import TOOL, Field, Form
from stepdown.core.family import families
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.pairs import Cut, Pair, count_pairs, micro_loss
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("extract",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """1 − micro-F1 with a bootstrap interval over rows."""
    counts = count_pairs(rows.answers, rows.references, pieces_of(rows.family, rows.form))
    return resampled(micro_loss(counts), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "span F1", complement(loss)


def examples() -> list[MetricExample]:
    listed = Form(fields=(Field(name="room", choices=("small", "large")), Field(name="guests", many=True)))
    return [
        # Pieces said: Ann, Bo, 2; wanted: Bo, Cy, Di, 2; in both: Bo, 2. The room is of a closed set, "now" a boolean.
        MetricExample(
            ({"guests": ["Ann", "Bo"], "nights": 2, "room": "small", "now": True},),
            ({"guests": ["Bo", "Cy", "Di"], "nights": 2, "room": "large"},),
            1 - 4 / 7,
            family="extract",
            form=listed,
        ),
        # Of a list of objects every value counts; an answer that could not be had has no pieces.
        MetricExample(
            ({"lines": [{"item": "tea", "count": 2}]}, None),
            ({"lines": [{"item": "tea", "count": 3}]}, {"city": "Rome"}),
            1 - 2 / 5,
            family="extract",
        ),
        MetricExample(
            ({"tool": "book", "arguments": {}},), ({"tool": "find", "arguments": {}},), 0.0, family="extract"
        ),
    ]


def pieces_of(family: str, form: Form | None) -> Cut:
    """How answers are cut into pieces. form: says which fields are chosen from a closed set."""
    slice_of = families().load(family).slice_of
    closed = {TOOL, *(field.name for field in (form.fields if form else ()) if field.choices)}

    def cut(answer: Answer) -> Iterator[Pair]:
        for name, value in flat(answer).items():
            if name not in closed and not (name in answer and value == slice_of(answer)):
                yield from ((where, canonical_json(piece)) for where, piece in _leaves(name, value))

    return cut


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(name, item)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(join((*split(name), key)), each)
    elif not isinstance(value, bool):
        yield name, value
