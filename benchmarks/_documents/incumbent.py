"""The large model's answers: gold with the mistakes that such models make, each with its own small chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

Answer = dict[str, Any]


def _swapped_date(answer: Answer, dice: random.Random) -> None:
    """Day and month the wrong way round, where that is a date."""
    day = date.fromisoformat(answer["invoice_date"])
    if day.day <= 12:
        answer["invoice_date"] = day.replace(month=day.day, day=day.month).isoformat()


def _due_a_day_off(answer: Answer, dice: random.Random) -> None:
    due = date.fromisoformat(answer["due_date"])
    answer["due_date"] = (due + timedelta(days=dice.choice((-1, 1, 1, 30)))).isoformat()


def _no_order(answer: Answer, dice: random.Random) -> None:
    answer.pop("order_number", None)


def _net_for_total(answer: Answer, dice: random.Random) -> None:
    answer["total"] = answer["net"]


def _digit_lost(answer: Answer, dice: random.Random) -> None:
    name = dice.choice(("net", "tax", "total"))
    answer[name] = round(float(answer[name]) / 10, 2)


def _tax_miscounted(answer: Answer, dice: random.Random) -> None:
    answer["tax"] = round(float(answer["tax"]) + dice.choice((-0.01, 0.01, 0.1, 1.0)), 2)


MISTAKES: tuple[tuple[float, Callable[[Answer, random.Random], None]], ...] = (
    (0.010, _swapped_date),
    (0.012, _due_a_day_off),
    (0.010, _no_order),
    (0.006, _net_for_total),
    (0.006, _digit_lost),
    (0.010, _tax_miscounted),
)
"""About one answer in twenty has one."""


def said(name: str, gold: Answer) -> Answer:
    """What the large model answers about the document of that name."""
    dice = random.Random(f"incumbent {name}")
    answer = dict(gold)
    for chance, mistake in MISTAKES:
        if dice.random() < chance:
            mistake(answer, dice)
    return answer
