"""Inputs on which student and incumbent differ, side by side."""

from __future__ import annotations

from typing import Any

from stepdown.core.measurements import Disagreement
from stepdown.core.record import BuildRecord
from stepdown.report.format import PERCENT, clean, count, quantity, shorten
from stepdown.report.reading import best_student, incumbent_name

SHOWN = 12
MOST = 60
MOST_CHARACTERS = 600


def view(record: BuildRecord) -> dict[str, Any]:
    found = list(record.disagreements)
    student = best_student(record)
    if not found and student is not None:
        found = list(student.disagreements)
    rows = [_row(each) for each in found[:MOST]]
    return {
        "rows": rows[:SHOWN],
        "more": rows[SHOWN:],
        "more_in_words": f"{count(len(rows) - SHOWN)} more",
        "gold": any(each.gold is not None for each in found),
        "incumbent": incumbent_name(record),
    }


def _row(each: Disagreement) -> dict[str, Any]:
    right = ""
    if each.gold is not None:
        right = "student" if each.student == each.gold else "incumbent" if each.incumbent == each.gold else "neither"
    return {
        "id": clean(each.id),
        "text": shorten(clean(each.text), MOST_CHARACTERS),
        "student": clean(each.student),
        "incumbent": clean(each.incumbent),
        "gold": None if each.gold is None else clean(each.gold),
        "right": right,
        "confidence": quantity(each.confidence, PERCENT),
    }
