"""error: an answer that is not the reference is wrong."""

from __future__ import annotations

from stepdown.core.dataset import Answer
from stepdown.core.family import LossExample, Support

FAMILIES = ("classify",)
SUPPORT: Support = "zero_one"
TRIANGLE = True
NOUN, MEASURE = "error", False


def of(answer: Answer | None, reference: Answer) -> float:
    """1 for another label, 0 for the same."""
    return float(answer != reference)


def examples() -> list[LossExample]:
    """Worked cases."""
    return [LossExample("a", "a", 0.0), LossExample("b", "a", 1.0)]
