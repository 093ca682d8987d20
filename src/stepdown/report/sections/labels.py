"""One row per label, worst first, beside the incumbent."""

from __future__ import annotations

from typing import Any

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import LabelRow, Quality
from stepdown.core.record import BuildRecord
from stepdown.report.charts.inline import error_bar
from stepdown.report.format import PERCENT, clean, count, plural, quantity, show
from stepdown.report.reading import best_student, incumbent_name, read

SHOWN = 15
MOST = 500


def view(record: BuildRecord) -> dict[str, Any]:
    who, quality = _measured(record)
    rows = sorted(quality.labels, key=lambda row: (-row.error.value, -row.n, row.name)) if quality else []
    most = max(
        (_end(estimate) for row in rows for estimate in (row.error, row.incumbent_error) if estimate), default=1.0
    )
    written = [_row(row, most) for row in rows[:MOST]]
    return {
        "who": who,
        "incumbent": incumbent_name(record),
        "compared": any(row.incumbent_error is not None for row in rows),
        "rows": written[:SHOWN],
        "more": written[SHOWN:],
        "more_in_words": plural(len(written) - SHOWN, "more label") if len(written) > SHOWN else "",
        "left_out": plural(len(rows) - MOST, "label") if len(rows) > MOST else "",
        "better": sum(1 for row in rows if row.incumbent_error and row.error.value <= row.incumbent_error.value),
        "total": plural(len(rows), "label"),
        "read_on": read(record).rows,
        "most": quantity(most, PERCENT, 2),
    }


def _measured(record: BuildRecord) -> tuple[str, Quality | None]:
    reading = read(record)
    if record.cascade is not None:
        quality = reading.of(record.cascade.quality)
        if quality is not None and quality.labels:
            return "the cascade", quality
    student = best_student(record)
    return (f"the student {clean(student.kind)}", reading.of(student.quality)) if student else ("", None)


def _end(estimate: Estimate) -> float:
    return estimate.value


def _row(row: LabelRow, most: float) -> dict[str, Any]:
    error, theirs = show(row.error, PERCENT), show(row.incumbent_error, PERCENT)
    return {
        "name": clean(row.name),
        "n": count(row.n),
        "error": error,
        "theirs": theirs,
        "worse": row.incumbent_error is not None and row.error.low > row.incumbent_error.value,
        "bar": error_bar(row.error, row.incumbent_error, most),
        "precision": quantity(row.precision, PERCENT),
        "recall": quantity(row.recall, PERCENT),
        "f1": f"{row.f1:.3f}",
        "confused": clean(row.most_confused_with),
    }
