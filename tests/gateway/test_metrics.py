"""The exposition, read by Prometheus's own parser: one process, and several that come, go and come again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stepdown.gateway import metric_names as names
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import outcome_of
from stepdown.gateway.records import Sums, Tally
from stepdown.gateway.run_folder import SILENT_S, RunFolder
from stepdown.wires import anthropic_messages
from tests.gateway.exchanges import exchange, task


def shown(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return shown(metrics).get((name, tuple(sorted(labels.items()))))


def test_a_finished_exchange_is_counted_in_all_its_figures() -> None:
    metrics = Metrics("1.2.3")
    escalated = exchange(served=task(), reason="unsure", latency_s=0.3, upstream_s=0.297)
    local = exchange(served=task(), rung="linear", upstream="", latency_s=0.0004)
    for one in (escalated, local):
        metrics.observe(one)
        sums = Sums()
        sums.add(one, outcome_of(one, lambda call: 0.25))
        metrics.add([sums.row(Tally.of(one))])
    both = {"task": "intent", "rung": "incumbent"}
    assert value(metrics, "stepdown_requests_total", **both, wire="openai", status="2xx") == 1
    assert value(metrics, "stepdown_escalations_total", task="intent", reason="unsure") == 1
    assert value(metrics, "stepdown_tokens_total", **both, direction="prompt") == 100
    assert value(metrics, "stepdown_cost_usd_total", **both) == 0.25
    assert value(metrics, "stepdown_incumbent_cost_usd_total", task="intent", rung="linear") == pytest.approx(0.002)
    assert value(metrics, "stepdown_request_duration_seconds_bucket", **both, le="0.25") == 0
    assert value(metrics, "stepdown_request_duration_seconds_bucket", **both, le="0.5") == 1
    assert value(metrics, "stepdown_request_duration_seconds_sum", **both) == 0.3
    assert value(metrics, "stepdown_added_duration_seconds_sum", **both) == pytest.approx(0.003)
    assert value(metrics, "stepdown_added_duration_seconds_count", task="intent", rung="linear") == 1
    assert value(metrics, "stepdown_build_info", version="1.2.3") == 1
    assert value(metrics, "process_resident_memory_bytes") > 1e6  # type: ignore[operator]


def test_statuses_wires_and_refusals_have_few_labels() -> None:
    metrics = Metrics("1")
    metrics.observe(exchange(status=0, error="the client went away"))
    metrics.observe(exchange({"content": []}, wire=anthropic_messages, status=529))
    for number in range(500):
        metrics.observe(exchange(rung="refused", status=429, reason=f"r{number}", served=task()))
    samples = shown(metrics)
    assert {dict(labels)["status"] for name, labels in samples if name == "stepdown_requests_total"} == {
        "none",
        "5xx",
        "4xx",
    }
    reasons = [labels for name, labels in samples if name == "stepdown_refusals_total"]
    assert len(reasons) <= 65
    assert sum(samples["stepdown_refusals_total", labels] for labels in reasons) == 500


def test_counters_and_gauges_of_the_event_loop() -> None:
    metrics = Metrics("1")
    metrics.count(names.UPSTREAM_RETRIES, "openai")
    metrics.count(names.UPSTREAM_RETRIES, "openai", by=2)
    metrics.read_from(names.QUEUE, lambda: {("rungs",): 3.0})
    metrics.read_from(names.QUEUE, lambda: {("students",): 4.0})
    metrics.read_from(names.CERTIFICATE, lambda: {('in"te\nnt\\',): 5.0})
    assert value(metrics, "stepdown_upstream_retries_total", upstream="openai") == 3
    assert value(metrics, "stepdown_queue_depth", queue="rungs") == 3
    assert value(metrics, "stepdown_queue_depth", queue="students") == 4
    assert value(metrics, "stepdown_certificate_valid_until_seconds", task='in"te\nnt\\') == 5


def test_names_follow_the_conventions() -> None:
    for metric in names.METRICS:
        assert metric.name.startswith("stepdown_")
        assert not metric.name.endswith("_total")
        assert metric.help.endswith(".")
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert (metric.kind == "histogram") == bool(metric.buckets)


@given(st.lists(st.floats(0, 1e4), max_size=50))
def test_a_histogram_adds_up(seconds: list[float]) -> None:
    metrics = Metrics("1")
    for latency in seconds:
        metrics.observe(exchange(latency_s=latency))
    samples = shown(metrics)
    buckets = {
        float(dict(labels)["le"]): count
        for (name, labels), count in samples.items()
        if name == "stepdown_request_duration_seconds_bucket"
    }
    for bound, count in buckets.items():
        assert count == sum(latency <= bound for latency in seconds)
    if seconds:
        labels = (("rung", "incumbent"), ("task", ""))
        assert samples["stepdown_request_duration_seconds_count", labels] == len(seconds)
        assert samples["stepdown_request_duration_seconds_sum", labels] == pytest.approx(sum(seconds))


SIBLING = """
import sys, time
from pathlib import Path
from stepdown.gateway import metric_names as names
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.run_folder import RunFolder

metrics = Metrics("1", RunFolder(Path(sys.argv[1])))
metrics.read_from(names.IN_FLIGHT, lambda: {(): 7.0})
metrics.read_from(names.CERTIFICATE, lambda: {("intent",): 99.0})
metrics.count(names.UPSTREAM_RETRIES, "openai", by=float(sys.argv[2]))
metrics.publish()
print("ready", flush=True)
time.sleep(600)
"""


def sibling(folder: Path, count: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SIBLING, str(folder), str(count)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_what_a_dead_process_did_stays_while_others_live_and_goes_when_all_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    place = RunFolder(folder)
    metrics = Metrics("1", place)
    metrics.read_from(names.IN_FLIGHT, lambda: {(): 1.0})
    metrics.read_from(names.CERTIFICATE, lambda: {("intent",): 99.0})
    metrics.count(names.UPSTREAM_RETRIES, "openai", by=100)
    first, second = sibling(folder, 10), sibling(folder, 1)

    def figures() -> list[float | None]:
        return [
            value(metrics, "stepdown_upstream_retries_total", upstream="openai"),
            value(metrics, "stepdown_requests_in_flight"),
            value(metrics, "stepdown_workers"),
            value(metrics, "stepdown_certificate_valid_until_seconds", task="intent"),
        ]

    assert figures() == [111, 15, 3, 99]
    end(first)
    assert figures() == [111, 8, 2, 99]
    third = sibling(folder, 1000)
    assert figures() == [1111, 15, 3, 99]
    assert len(list(folder.glob("*.lock"))) == 3
    end(second)
    end(third)
    fourth = sibling(folder, 10_000)
    assert figures() == [11_111, 8, 2, 99]
    end(fourth)
    place.leave()
    anew = Metrics("1", RunFolder(folder))
    assert value(anew, "stepdown_upstream_retries_total", upstream="openai") is None
    assert value(anew, "stepdown_workers") == 1


def test_a_process_that_says_nothing_any_more_is_no_worker(tmp_path: Path) -> None:
    place = RunFolder(tmp_path)
    metrics = Metrics("1", place)
    stopped = sibling(tmp_path, 10)
    stopped.send_signal(signal.SIGSTOP)
    assert value(metrics, "stepdown_workers") == 2
    figures = next(path for path in tmp_path.glob("*.figures") if path.stem.startswith(f"{stopped.pid}-"))
    long_ago = time.time() - SILENT_S - 1.0
    os.utime(figures, (long_ago, long_ago))
    assert value(metrics, "stepdown_workers") == 1
    assert value(metrics, "stepdown_upstream_retries_total", upstream="openai") == 10
    end(stopped)
    place.leave()


def test_a_folder_that_was_tampered_with_costs_only_the_figures_in_it(tmp_path: Path) -> None:
    place = RunFolder(tmp_path)
    metrics = Metrics("1", place)
    metrics.publish()
    (tmp_path / "1-x.figures").write_bytes(b"not msgpack")
    (tmp_path / "ended").write_bytes(b"\xc1")
    assert value(metrics, "stepdown_workers") == 1
    place.leave()


def test_publishing_is_bounded_to_once_a_second(tmp_path: Path) -> None:
    place = RunFolder(tmp_path)
    metrics = Metrics("1", place)
    metrics.publish(now=100.0)
    own = next(tmp_path.glob("*.figures"))
    own.unlink()
    metrics.publish(now=100.9)
    assert not own.exists()
    metrics.publish(now=101.0)
    assert own.exists()
    assert time.time() - own.stat().st_mtime < 600
    place.leave()
