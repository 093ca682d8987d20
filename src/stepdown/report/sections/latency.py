"""How long one request takes: the whole distribution, not one figure of it."""

from __future__ import annotations

from typing import Any

from stepdown.core.measurements import Speed
from stepdown.core.record import BuildRecord
from stepdown.report import svg
from stepdown.report.charts import histogram
from stepdown.report.format import SECONDS, clean, count, quantity, show
from stepdown.report.reading import incumbent_name, shown_speed
from stepdown.report.sections.verdict import Tile


def view(record: BuildRecord) -> dict[str, Any]:
    found = shown_speed(record)
    if found is None:
        return {"who": ""}
    who, speed = found
    rules = [
        histogram.Rule("p50", speed.latency_p50.value, "cascade"),
        histogram.Rule("p95", speed.latency_p95.value, "cascade"),
    ]
    bound = record.contract.latency_p95_ms
    if bound is not None:
        rules.append(histogram.Rule("contract p95", bound / 1000, "margin"))
    if record.incumbent.latency_p50 is not None:
        rules.append(histogram.Rule("incumbent p50", record.incumbent.latency_p50.value, "incumbent"))
    # One request is no distribution.
    drawn = len(speed.latencies) > 1
    return {
        "who": who,
        "chart": svg.both(lambda size: histogram.draw(speed.latencies, rules, size)) if drawn else None,
        "n": count(len(speed.latencies)),
        "machine": clean(speed.machine),
        "method": clean(speed.latency_p50.method),
        "tiles": _tiles(record, speed),
        "recorded": record.incumbent.latency_p50 is not None,
    }


def _tiles(record: BuildRecord, speed: Speed) -> list[Tile]:
    incumbent, bound = incumbent_name(record), record.contract.latency_p95_ms
    allowed = f"the contract allows {quantity(bound / 1000, SECONDS)}" if bound is not None else ""
    wanted = [
        ("Half answered within (p50)", speed.latency_p50, ""),
        ("95 in 100 within (p95)", speed.latency_p95, allowed),
        (f"{incumbent}, p50", record.incumbent.latency_p50, "as recorded in the traffic"),
        (f"{incumbent}, p95", record.incumbent.latency_p95, "as recorded in the traffic"),
    ]
    shown = [(name, show(estimate, SECONDS), beside) for name, estimate, beside in wanted]
    return [Tile(name, each.value, beside, each.note, each.estimated) for name, each, beside in shown if each]
