"""How it was made: enough to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepdown.core.record import BuildRecord
from stepdown.report.charts.inline import share_bar
from stepdown.report.format import clean, duration, moment, plainly, wording

MOST_ITEMS = 40


def view(record: BuildRecord) -> dict[str, Any]:
    total = sum(seconds for seconds in record.seconds.values() if seconds > 0)
    stages = [
        (wording(name).capitalize(), duration(seconds), share_bar(seconds / total if total else 0.0))
        for name, seconds in record.seconds.items()
    ]
    return {
        "facts": [
            ("Built", moment(record.created_at)),
            ("stepdown", clean(record.stepdown_version)),
            ("Record", f"version {record.version}"),
            ("Seed", str(record.seed)),
            ("Budget", duration(record.budget_s)),
            ("Took", duration(total)),
        ],
        "stages": stages,
        "environment": [(wording(name).capitalize(), plainly(value)) for name, value in record.environment.items()],
        "plan": [(wording(name).capitalize(), _items(value)) for name, value in record.plan.items()],
    }


def _items(value: Any) -> list[str]:
    """One line for each of several mappings, else one line for all."""
    if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        return [plainly(each) for each in value[:MOST_ITEMS]]
    return [plainly(value)]
