"""What leaving single fields to the incumbent would save, where students are sure of some fields and not of others."""

from __future__ import annotations

from typing import Any

from stepdown.core.measurements import FieldEscalation, FieldRow
from stepdown.core.record import BuildRecord
from stepdown.report.charts.inline import share_bar
from stepdown.report.format import PERCENT, SCORE, clean, count, points, quantity, sample, show, signed_points
from stepdown.report.reading import best_student, incumbent_name, rows_in_words

SHOWN = 15
MOST = 500


def view(record: BuildRecord) -> dict[str, Any] | None:
    """None where no student says how sure it is of single fields."""
    found = [each for each in record.field_escalation if each.split != "certify"]
    if not found:
        return None
    best = best_student(record)
    chosen = next((each for each in found if best is not None and each.artefact == best.artefact), found[-1])
    rows = [_row(row) for row in chosen.rows[:MOST]]
    return {
        "incumbent": incumbent_name(record),
        "kind": clean(chosen.kind),
        "margin": points(chosen.margin),
        "whole": _share(chosen.answers_whole.value),
        "fields_whole": _share(chosen.fields_whole),
        "fields_single": _share(chosen.fields_single),
        "complete": _share(chosen.answers_complete.value),
        "lacking": [
            (f"{clean(number)} left" if number != "0" else "none left", _share(share), share_bar(share))
            for number, share in list(chosen.lacking.items())[:10]
        ],
        "options": [_option(each) for each in found],
        "rows": rows[:SHOWN],
        "more": rows[SHOWN:],
        "read_on": rows_in_words(chosen.split, chosen.reference, 0),
        "n": sample(chosen.n),
    }


def _option(each: FieldEscalation) -> dict[str, Any]:
    return {
        "kind": clean(each.kind),
        "whole": show(each.answers_whole, PERCENT),
        "complete": show(each.answers_complete, PERCENT),
        "fields_whole": _share(each.fields_whole),
        "fields_single": _share(each.fields_single),
        "excess_whole": signed_points(each.excess_whole.value),
        "excess_single": signed_points(each.excess_single.value),
    }


def _row(row: FieldRow) -> dict[str, Any]:
    return {
        "name": clean(row.name),
        "n": count(row.n),
        "error": show(row.error, PERCENT),
        "accepted": _share(row.accepted),
        "bar": share_bar(row.accepted),
        "calibration": quantity(row.calibration_error, SCORE, 2),
    }


def _share(value: float) -> str:
    return quantity(value, PERCENT)
