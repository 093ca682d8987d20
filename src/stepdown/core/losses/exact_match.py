"""exact-match: an answer is right where every field is the reference's, and no field is missing or too many."""

from __future__ import annotations

from stepdown.core.dataset import Answer
from stepdown.core.extraction.answers import same
from stepdown.core.family import LossExample, Support

FAMILIES = ("extract",)
SUPPORT: Support = "zero_one"
TRIANGLE = True
NOUN, MEASURE = "exact match", True


def of(answer: Answer | None, reference: Answer) -> float:
    """1 for another object, 0 for the same."""
    return float(answer is None or not same(answer, reference))


def examples() -> list[LossExample]:
    """Worked cases."""
    return [LossExample({"a": 1, "b": "x"}, {"b": "x", "a": 1}, 0.0), LossExample({"a": True}, {"a": 1}, 1.0)]
