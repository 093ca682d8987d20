"""near-miss: a wrong team costs 1, the neighbouring team half. A loss, in one file."""

from __future__ import annotations

from stepdown.core.dataset import Answer
from stepdown.core.family import LossExample, Support

FAMILIES = ("classify",)
SUPPORT: Support = "bounded"
TRIANGLE = True
NOUN, MEASURE = "misrouting", False
_NEIGHBOURS = {"refund", "shipping"}


def of(answer: Answer | None, reference: Answer) -> float:
    if answer == reference:
        return 0.0
    return 0.5 if {answer, reference} == _NEIGHBOURS else 1.0


def examples() -> list[LossExample]:
    return [LossExample("refund", "shipping", 0.5), LossExample("praise", "shipping", 1.0)]
