"""What an invoice says, before it is written down: numbers, dates, lines, amounts. The same for the same name."""

from __future__ import annotations

import calendar
import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

RATES = {"en-US": (7.25, 8.875, 6.0), "en-GB": (20.0, 5.0), "de-DE": (19.0, 7.0), "de-CH": (8.1, 2.6)} | {
    "fr-FR": (20.0, 10.0, 5.5),
    "es-ES": (21.0, 10.0),
}
CURRENCIES = {"en-US": "USD", "en-GB": "GBP", "de-DE": "EUR", "de-CH": "CHF", "fr-FR": "EUR", "es-ES": "EUR"}
DAYS = (0, 7, 10, 14, 30, 30, 30, 45, 60, 90)


@dataclass(frozen=True)
class Line:
    """What was sold: quantity × price. Amounts are in cents."""

    name: int
    quantity: int
    price: int

    @property
    def amount(self) -> int:
        return self.quantity * self.price


@dataclass(frozen=True)
class Invoice:
    """order: "" for none. rate: of tax, in percent. days, end_of_month: the terms. dice: of the layout."""

    locale: str
    number: str
    order: str
    day: date
    days: int
    end_of_month: bool
    lines: tuple[Line, ...]
    rate: float
    dice: random.Random

    @property
    def net(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def tax(self) -> int:
        return round(self.net * self.rate / 100.0)

    @property
    def total(self) -> int:
        return self.net + self.tax

    @property
    def due(self) -> date:
        due = self.day + timedelta(days=self.days)
        if self.end_of_month:
            due = due.replace(day=calendar.monthrange(due.year, due.month)[1])
        return due

    @property
    def currency(self) -> str:
        return CURRENCIES[self.locale]

    def answer(self) -> dict[str, Any]:
        """Gold: the eight fields, as the task asks for them."""
        return {
            "invoice_number": self.number,
            **({"order_number": self.order} if self.order else {}),
            "invoice_date": self.day.isoformat(),
            "due_date": self.due.isoformat(),
            "currency": self.currency,
            "net": _amount(self.net),
            "tax": _amount(self.tax),
            "total": _amount(self.total),
        }


def _amount(cents: int) -> float | int:
    return cents // 100 if cents % 100 == 0 else cents / 100


def invoice(name: str, locale: str, days: tuple[int, ...] = DAYS, end_of_month: float = 0.0) -> Invoice:
    """The invoice of that name."""
    dice = random.Random(f"invoice {name}")
    number = dice.choice(
        (
            f"{dice.choice(('INV', 'RE', 'F', 'R', 'FA'))}-{dice.randrange(2023, 2027)}-{dice.randrange(1, 9999):04d}",
            f"{dice.randrange(10_000, 9_999_999)}",
            f"{dice.choice('ABCDEFGHKLMNPRSTVW')}{dice.randrange(1000, 99_999)}/{dice.randrange(22, 27)}",
        )
    )
    order = dice.choice(
        (
            "",
            f"PO-{dice.randrange(1000, 99_999)}",
            f"4500{dice.randrange(100_000, 999_999)}",
            f"{dice.choice('ABKMTX')}{dice.choice('CDEFZ')}-{dice.randrange(100, 9999)}",
        )
    )
    lines = tuple(
        Line(dice.randrange(24), dice.choice((1, 1, 1, 2, 3, 5, 10, 12)), _price(dice))
        for _ in range(dice.choice((2, 3, 4, 5, 6, 8, 10, 12, 16)))
    )
    return Invoice(
        locale=locale,
        number=number,
        order=order,
        day=date(2023, 1, 1) + timedelta(days=dice.randrange(1_200)),
        days=dice.choice(days),
        end_of_month=dice.random() < end_of_month,
        lines=lines,
        rate=dice.choice(RATES[locale]),
        dice=random.Random(f"layout {name}"),
    )


def _price(dice: random.Random) -> int:
    """From cents to some thousands; a fifth are whole."""
    cents = int(10 ** dice.uniform(2.3, 5.4))
    return cents - cents % 100 if dice.random() < 0.2 else cents
