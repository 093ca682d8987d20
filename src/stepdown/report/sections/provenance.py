"""Where the data came from, step by step, and how the build was made: enough to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepdown.core.dataset import SPLITS, Step
from stepdown.core.record import BuildRecord
from stepdown.report.bars import share_bar
from stepdown.report.format import PERCENT, clean, count, duration, moment, plainly, plural, quantity, wording
from stepdown.report.reading import parts_known

_SPLIT_USE = {
    "train": "the students learn from it",
    "tune": "confidences are calibrated, students and thresholds chosen on it; figures, where test is too small",
    "certify": "the evidence: of it there are the certificate's own numbers and no others",
    "test": "figures and examples in this report; nothing is chosen on it",
}


def view(record: BuildRecord) -> dict[str, Any]:
    dataset = record.dataset
    first = max((step.rows_in for step in dataset.steps), default=0)
    excluded = sorted(record.excluded.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "sources": [clean(source) for source in dataset.sources],
        "steps": [_step(step, first) for step in dataset.steps],
        "excluded": [(wording(reason).capitalize(), count(number)) for reason, number in excluded],
        "excluded_total": count(sum(record.excluded.values())),
        "permission": clean(dataset.permission).strip(),
        "splits": _splits(record),
        "parts": plural(parts_known(record), record.part),
        "hash": clean(dataset.content_hash),
        "seed": dataset.seed,
    }


def _step(step: Step, first: int) -> dict[str, Any]:
    gone = step.rows_in - step.rows_out
    return {
        "name": wording(step.name).capitalize(),
        "rows_in": count(step.rows_in),
        "rows_out": count(step.rows_out),
        "gone": f"{count(gone)} left out" if gone > 0 else "",
        "findings": [(wording(name).capitalize(), plainly(value)) for name, value in step.findings.items()],
        "bar": share_bar(step.rows_out / first if first else 0.0),
    }


def _splits(record: BuildRecord) -> list[dict[str, Any]]:
    """The rows of each split and their share of all; the totals that stand beside them in `counts` are no splits."""
    counts, gold = record.dataset.counts, record.dataset.gold_counts
    names = [name for name in SPLITS if name in counts]
    total = sum(counts[name] for name in names)
    return [
        {
            "name": name,
            "use": _SPLIT_USE[name],
            "rows": count(counts[name]),
            "share": quantity(counts[name] / total, PERCENT) if total else "",
            "gold": count(gold.get(name, 0)),
            "bar": share_bar(counts[name] / total if total else 0.0),
        }
        for name in names
    ]


MOST_ITEMS = 40


def making_view(record: BuildRecord) -> dict[str, Any]:
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
