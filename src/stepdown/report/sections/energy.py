"""Energy per thousand requests, of every option that runs here."""

from __future__ import annotations

from typing import Any

from stepdown.core.estimates import Estimate
from stepdown.core.record import BuildRecord
from stepdown.report.charts.inline import share_bar
from stepdown.report.format import JOULES, KILOWATT_HOURS, clean, show


def view(record: BuildRecord) -> dict[str, Any]:
    named: list[tuple[str, Estimate]] = []
    if record.cascade is not None:
        named.append(("Cascade, local answers", record.cascade.speed.energy_j_per_1k))
    named += [(clean(student.kind), student.speed.energy_j_per_1k) for student in record.students]
    most = max((estimate.value for _, estimate in named), default=0.0)
    rows = [
        {"name": name, "energy": show(estimate, JOULES), "bar": share_bar(estimate.value / most if most > 0 else 0.0)}
        for name, estimate in named
    ]
    saved = record.roi.energy_saved_kwh_per_month if record.roi is not None else None
    return {
        "rows": rows,
        "estimated": any(estimate.estimated for _, estimate in named),
        "measured": any(not estimate.estimated for _, estimate in named),
        "saved": show(saved, KILOWATT_HOURS),
    }
