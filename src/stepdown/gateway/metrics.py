"""Counters of one gateway process: cheap to add to, read as a snapshot, shown as Prometheus text."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from stepdown.core.served import INCUMBENT
from stepdown.core.store import ServedHour
from stepdown.gateway import metric_names as names
from stepdown.gateway.exchange import REFUSED, Exchange
from stepdown.gateway.metric_names import METRICS, Metric
from stepdown.gateway.snapshot import Labels, Snapshot, merged

Reading = Callable[[], Mapping[Labels, float]]
"""A gauge's values by their labels' values, read when the metrics are shown."""

OTHER = "other"
_MOST_REASONS = 64
_PUBLISH_S = 1.0


class Siblings(Protocol):
    """What is known of the other processes of this gateway."""

    def publish(self, snapshot: Snapshot) -> None: ...
    def others(self) -> list[Snapshot]: ...


_DURATION, _ADDED = names.DURATION.buckets, names.ADDED.buckets


class _Series:
    """Where the exchanges of one task, rung, wire and status are counted."""

    __slots__ = ("added", "duration", "labels")

    def __init__(self, labels: Labels, duration: list[float]) -> None:
        self.labels, self.duration = labels, duration
        self.added: list[float] | None = None


class Metrics:
    """For one thread: a gateway's event loop, which counts exchanges, or the mover, which counts what they used.

    siblings: where several processes serve together, their common folder (`RunFolder`).
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str, siblings: Siblings | None = None, answers: bool = True) -> None:
        """answers: whether this process answers requests, and is not one that only records."""
        self._siblings = siblings
        self._counters: dict[str, dict[Labels, float]] = {
            metric.name: {} for metric in names.METRICS if metric.kind == "counter"
        }
        self._histograms: dict[str, dict[Labels, list[float]]] = {
            metric.name: {} for metric in names.METRICS if metric.kind == "histogram"
        }
        self._readings: list[tuple[str, Reading]] = []
        self._requests = self._counters[names.REQUESTS.name]
        self._series: dict[tuple[str, str, str, int], _Series] = {}
        self._published = float("-inf")
        self.read_from(names.BUILD, lambda: {(version,): 1.0})
        self.read_from(names.WORKERS, lambda: {(): float(answers)})

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Add to a counter. The values of its labels are few and not the client's to choose."""
        series = self._counters[metric.name]
        series[labels] = series.get(labels, 0.0) + by

    def drop(self, reason: str, count: int = 1) -> None:
        """Count calls that are not kept."""
        self.count(names.DROPPED, reason, by=count)

    def read_from(self, metric: Metric, reading: Reading) -> None:
        """Show a gauge, whose values are asked for when it is."""
        self._readings.append((metric.name, reading))

    def observe(self, exchange: Exchange) -> None:
        """Count a finished exchange. On the event loop; about a microsecond."""
        task, rung, latency_s = exchange.task.name if exchange.task else "", exchange.rung, exchange.latency_s
        asked = (task, rung, exchange.wire.NAME, exchange.status)
        series = self._series.get(asked) or self._series_of(asked)
        self._requests[series.labels] = self._requests.get(series.labels, 0.0) + 1.0
        duration, upstream_s = series.duration, exchange.upstream_s
        duration[bisect_left(_DURATION, latency_s)] += 1.0
        duration[-1] += latency_s
        if upstream_s is not None or rung != INCUMBENT:
            own_s = max(latency_s - (upstream_s or 0.0), 0.0)
            if (added := series.added) is None:
                added = series.added = self._values(names.ADDED, (task, rung))
            added[bisect_left(_ADDED, own_s)] += 1.0
            added[-1] += own_s
        if rung == INCUMBENT and task:
            self._count_reason(names.ESCALATIONS, task, exchange.reason)
        elif rung == REFUSED:
            self._count_reason(names.REFUSALS, task, exchange.reason)

    def add(self, rows: Iterable[ServedHour]) -> None:
        """Count what exchanges used, told in sums."""
        for row in rows:
            both = (row.task, row.rung)
            if row.prompt_tokens or row.completion_tokens:
                self.count(names.TOKENS, *both, "prompt", by=row.prompt_tokens)
                self.count(names.TOKENS, *both, "completion", by=row.completion_tokens)
            if row.cost_usd:
                self.count(names.COST, *both, by=row.cost_usd)
            if row.cost_usd + row.saved_usd > 0.0:
                self.count(names.ALONE, *both, by=row.cost_usd + row.saved_usd)

    def publish(self, now: float | None = None, at_once: bool = False) -> None:
        """Tell the siblings, at most once a second unless at once. now: monotonic seconds."""
        now = time.monotonic() if now is None else now
        if self._siblings is not None and (at_once or now - self._published >= _PUBLISH_S):
            self._published = now
            self._siblings.publish(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Every figure of this process as it is now."""
        gauges: dict[str, dict[Labels, float]] = {}
        for name, reading in self._readings:
            gauges.setdefault(name, {}).update(reading())
        # One call in C each: no other thread adds a series half-way through.
        return Snapshot(
            counters={name: list(series.copy().items()) for name, series in self._counters.items()},
            histograms={
                name: [(labels, list(values)) for labels, values in series.copy().items()]
                for name, series in self._histograms.items()
            },
            gauges={name: list(series.items()) for name, series in gauges.items()},
            process=process_figures(),
        )

    def render(self) -> bytes:
        """The figures of all processes together, in the Prometheus text format."""
        others = self._siblings.others() if self._siblings is not None else []
        return rendered(merged([self.snapshot(), *others]))

    def _series_of(self, asked: tuple[str, str, str, int]) -> _Series:
        labels = (*asked[:3], _class(asked[3]))
        series = self._series[asked] = _Series(labels, self._values(names.DURATION, asked[:2]))
        return series

    def _values(self, metric: Metric, labels: Labels) -> list[float]:
        """A histogram's series: the count of each bucket, one for what is above all, then the sum."""
        return self._histograms[metric.name].setdefault(labels, [0.0] * (len(metric.buckets) + 2))

    def _count_reason(self, metric: Metric, task: str, reason: str) -> None:
        known = self._counters[metric.name]
        if (task, reason) not in known and len(known) >= _MOST_REASONS:
            reason = OTHER
        self.count(metric, task, reason)


def _class(status: int) -> str:
    """ "2xx"; "none" where no answer was begun."""
    return f"{status // 100}xx" if status else "none"


_process = ProcessCollector(registry=None)
_PROCESS_HELP = {
    "process_virtual_memory_bytes": "Virtual memory of all gateway processes.",
    "process_resident_memory_bytes": "Resident memory of all gateway processes.",
    "process_start_time_seconds": "When the oldest gateway process started, in seconds since the epoch.",
    "process_cpu_seconds_total": "CPU time that the gateway's processes used.",
    "process_open_fds": "Open files and connections of all gateway processes.",
    "process_max_fds": "How many files and connections all gateway processes may have open.",
}


def process_figures() -> dict[str, float]:
    """What the operating system says of this process, by the names that Prometheus uses; empty where it is silent."""
    return {sample.name: float(sample.value) for family in _process.collect() for sample in family.samples}


def rendered(snapshot: Snapshot) -> bytes:
    """A snapshot in the text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(snapshot))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            family = _FAMILIES[metric.kind](metric, self._snapshot)
            if family.samples:
                yield family
        for name, value in self._snapshot.process.items():
            said = _PROCESS_HELP.get(name, "As the operating system says.")
            if name.endswith("_total"):
                yield CounterMetricFamily(name, said, value=value)
            else:
                yield GaugeMetricFamily(name, said, value=value)


def _counter(metric: Metric, snapshot: Snapshot) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in snapshot.counters.get(metric.name, ()):
        family.add_metric(labels, value)
    return family


def _gauge(metric: Metric, snapshot: Snapshot) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in snapshot.gauges.get(metric.name, ()):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, snapshot: Snapshot) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
    for labels, values in snapshot.histograms.get(metric.name, ()):
        *counts, total = values
        below, buckets = 0.0, []
        for bound, count in zip(bounds, counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets=buckets, sum_value=total)
    return family


_FAMILIES = {"counter": _counter, "gauge": _gauge, "histogram": _histogram}
