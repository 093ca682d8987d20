"""A snapshot as Prometheus text; the format itself is prometheus_client's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from stepdown.gateway.metric_names import METRICS, Metric
from stepdown.gateway.snapshot import Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST

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
