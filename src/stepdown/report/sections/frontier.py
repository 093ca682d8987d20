"""Cost against quality: every option that was built, and the incumbent."""

from __future__ import annotations

from typing import Any

from stepdown.core.record import BuildRecord
from stepdown.report import svg
from stepdown.report.charts import frontier
from stepdown.report.format import clean
from stepdown.report.reading import incumbent_name, read


def view(record: BuildRecord) -> dict[str, Any]:
    marks = _marks(record)
    reading = read(record)
    chart = svg.both(lambda size: frontier.draw(marks, reading.loss_name, size)) if marks else None
    return {
        "chart": chart,
        "rows": reading.rows,
        "priced": record.incumbent.cost_per_1k is not None,
        "price_source": clean(record.incumbent.price_source),
        "dominated": any(mark.role == "dominated" for mark in marks),
        "agreement": reading.reference != "gold",
    }


def _marks(record: BuildRecord) -> list[frontier.Mark]:
    reading = read(record)
    marks = []
    incumbent_error = reading.error(record.incumbent.quality)
    if incumbent_error is not None and reading.reference == "gold":
        marks.append(frontier.Mark(incumbent_name(record), "incumbent", incumbent_error, record.incumbent.cost_per_1k))
    if record.cascade is not None and (error := reading.error(record.cascade.quality)) is not None:
        marks.append(frontier.Mark("cascade", "cascade", error, record.cascade.cost_per_1k))
    for student in record.students:
        error = reading.error(student.quality)
        role = "dominated" if student.dominated_by else "student"
        if error is not None:
            marks.append(frontier.Mark(clean(student.kind), role, error, student.speed.cost_per_1k))
    return marks
