"""field-f1: 1 − F1 over an answer's pairs of field and value, the mean over answers."""

from __future__ import annotations

from typing import Any

from stepdown.core.dataset import Answer
from stepdown.core.families.extract import parts
from stepdown.core.family import LossExample, Support

FAMILIES = ("extract",)
SUPPORT: Support = "bounded"
TRIANGLE = False
NOUN, MEASURE = "mean field F1", True


def of(answer: Answer | None, reference: Answer) -> float:
    """In [0, 1]; an answer without any field is right where the reference has none."""
    if answer is None:
        return 1.0
    given, wanted = parts(answer), parts(reference)
    if not given and not wanted:
        return 0.0
    shared = sum(name in wanted and _typed(value) == _typed(wanted[name]) for name, value in given.items())
    return 1.0 - 2.0 * shared / (len(given) + len(wanted))


def examples() -> list[LossExample]:
    """Worked cases."""
    return [
        LossExample({"a": 1, "b": 2}, {"a": 1, "b": 3}, 0.5),
        LossExample({}, {}, 0.0),
        LossExample({}, {"a": 1}, 1.0),
    ]


def _typed(value: Any) -> tuple[Any, bool]:
    """Told apart where Python does not: true and 1."""
    return value, isinstance(value, bool)
