"""A tiny task of documents that a ranker must learn in seconds: delivery notes in two languages."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

from stepdown.core.canonical import digest_of
from stepdown.core.extraction.form import Field, Form
from stepdown.core.inputs import Input
from stepdown.core.students import TrainingData

ROWS = 240
_FORM = Form(
    fields=(
        Field(name="number", required=True),
        Field(name="date", required=True),
        Field(name="due", required=True),
        Field(name="net", types=("number",), required=True),
        Field(name="tax", types=("number",), required=True),
        Field(name="total", types=("number",), required=True),
        Field(name="currency"),
        Field(name="kind", choices=("goods", "service"), required=True),
    )
)
_KINDS = {"goods": ("Parts delivered", "Ware geliefert"), "service": ("Work done on site", "Arbeit vor Ort")}


def tiny_documents() -> TrainingData:
    """240 of them, half in German, with terms or a due date; every fifth answer is the incumbent's."""
    generator = np.random.default_rng(5)
    rows = [_row(position, generator) for position in range(ROWS)]
    return TrainingData(
        task="delivery-notes",
        family="extract",
        inputs=[Input(text) for text, _ in rows],
        targets=[answer for _, answer in rows],
        sources=["incumbent" if position % 5 == 4 else "gold" for position in range(ROWS)],
        weights=np.ones(ROWS),
        labels=("answer",),
        dataset_hash=digest_of(rows),
        form=_FORM,
    )


def _row(position: int, generator: np.random.Generator) -> tuple[str, dict[str, Any]]:
    german = position % 2
    day = date(2025, 1, 1) + timedelta(days=int(generator.integers(700)))
    days = int(generator.choice((10, 14, 30)))
    net = int(generator.integers(10_000, 900_000))
    tax = round(net * 0.2)
    number = f"D-{generator.integers(1000, 9999)}"
    kind = ("goods", "service")[int(generator.integers(2))]
    answer = {
        "number": number,
        "date": day.isoformat(),
        "due": (day + timedelta(days=days)).isoformat(),
        "net": _amount(net),
        "tax": _amount(tax),
        "total": _amount(net + tax),
        "currency": "EUR" if german else "GBP",
        "kind": kind,
    }
    lines = [
        ("Note no. {}", "Beleg Nr. {}")[german].format(number),
        ("Date: {}", "Datum: {}")[german].format(day.strftime("%d.%m.%Y" if german else "%d %b %Y")),
        _KINDS[kind][german],
        ("Customer 4{}", "Kunde 4{}")[german].format(position),
        ("Net £{}", "Netto {} €")[german].format(_written(net, german)),
        ("VAT 20% £{}", "MwSt. 20 % {} €")[german].format(_written(tax, german)),
        ("Total £{}", "Summe {} €")[german].format(_written(net + tax, german)),
        ("Payment within {} days", "Zahlbar in {} Tagen")[german].format(days),
    ]
    return "\n".join(lines), answer


def _amount(cents: int) -> float | int:
    return cents // 100 if cents % 100 == 0 else cents / 100


def _written(cents: int, german: int) -> str:
    text = f"{cents / 100:,.2f}"
    return text.translate(str.maketrans(",.", ".,")) if german else text
