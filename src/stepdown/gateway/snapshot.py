"""The figures of one gateway process at one moment, and those of several put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from stepdown.gateway.metric_names import SHARED_BY_ALL

Labels = tuple[str, ...]
Series = list[tuple[Labels, float]]

EARLIEST = frozenset({"process_start_time_seconds"})
LASTING = frozenset({"process_cpu_seconds_total"})
"""Figures of a process that outlive it: its sums."""


class Snapshot(msgspec.Struct, frozen=True):
    """Values by metric and by their labels' values. A histogram's values: each bucket's count, then the sum.

    process: figures that the operating system keeps, by name.
    """

    counters: dict[str, Series] = {}
    histograms: dict[str, list[tuple[Labels, list[float]]]] = {}
    gauges: dict[str, Series] = {}
    process: dict[str, float] = {}


def sums_only(snapshot: Snapshot) -> Snapshot:
    """What counts of a process that has ended: what it did, not what it was doing."""
    return Snapshot(
        counters=snapshot.counters,
        histograms=snapshot.histograms,
        process={name: value for name, value in snapshot.process.items() if name in LASTING},
    )


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """All of them as one process: sums, but for what every process knows alike."""
    histograms: dict[str, dict[Labels, list[float]]] = {}
    for snapshot in snapshots:
        for name, series in snapshot.histograms.items():
            into = histograms.setdefault(name, {})
            for labels, values in series:
                known = into.get(labels)
                into[labels] = (
                    [one + other for one, other in zip(known, values, strict=True)] if known else list(values)
                )
    gauges = {name: dict(series) for name, series in _added(one.gauges for one in snapshots).items()}
    for snapshot in snapshots:
        for name in SHARED_BY_ALL & snapshot.gauges.keys():
            gauges[name] = {}
    for snapshot in snapshots:
        for name in SHARED_BY_ALL & snapshot.gauges.keys():
            for labels, value in snapshot.gauges[name]:
                gauges[name][labels] = max(gauges[name].get(labels, value), value)
    return Snapshot(
        counters=_added(one.counters for one in snapshots),
        histograms={name: list(series.items()) for name, series in histograms.items()},
        gauges={name: list(series.items()) for name, series in gauges.items()},
        process=_processes(snapshots),
    )


def _added(all_of_them: Iterable[Mapping[str, Series]]) -> dict[str, Series]:
    totals: dict[str, dict[Labels, float]] = {}
    for metrics in all_of_them:
        for name, series in metrics.items():
            into = totals.setdefault(name, {})
            for labels, value in series:
                into[labels] = into.get(labels, 0.0) + value
    return {name: list(series.items()) for name, series in totals.items()}


def _processes(snapshots: Sequence[Snapshot]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for snapshot in snapshots:
        for name, value in snapshot.process.items():
            known = figures.get(name)
            if known is None:
                figures[name] = value
            else:
                figures[name] = min(known, value) if name in EARLIEST else known + value
    return figures
