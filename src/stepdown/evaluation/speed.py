"""Latency, throughput, memory, size, energy and cost of one artefact, measured as it will be served."""

from __future__ import annotations

import gc
import itertools
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.core.estimates import Estimate
from stepdown.core.inputs import Input
from stepdown.core.measurements import Speed
from stepdown.evaluation.cost import MachinePrice, own_cost_per_1k
from stepdown.evaluation.energy import joules_between, read_counters
from stepdown.evaluation.intervals import quantile, resampled_mean
from stepdown.evaluation.resident import measure_memory, resident_bytes

_KEPT_LATENCIES = 500
_MEMORY_INPUTS = 20


@dataclass(frozen=True)
class Served:
    """What is measured: the callables of an opened student or cascade, where it lies, and how to open it anew.

    opener: "package.module:function" from a folder to a student or cascade; "" where no fresh process can open it, and
    memory is then that of this process.
    """

    one: Callable[[Input], object]
    many: Callable[[Sequence[Input]], object]
    folder: Path
    opener: str = ""


@dataclass(frozen=True)
class SpeedOptions:
    """Bounds on the measuring itself. latency_s and throughput_s are wall time; repeats bounds quick students.

    least: requests that a slow student, or a stalled machine, may take up to three times latency_s for; the interval of
    a p95 needs 72.
    """

    latency_s: float = 1.0
    throughput_s: float = 0.4
    warm_up: int = 20
    repeats: int = 4000
    least: int = 80
    batch: int = 64
    seed: int = 0


def measure_speed(
    served: Served, inputs: Sequence[Input], machine: MachinePrice, options: SpeedOptions | None = None
) -> Speed:
    """Everything measured of how an artefact answers. inputs: real ones, one or more; they are gone round in order.

    Raises ValueError without inputs, ResourceError when the process that measures memory fails.
    """
    if not inputs:
        raise ValueError("Got no inputs to time; expected one or more.")
    options = options or SpeedOptions()
    generator = np.random.default_rng(options.seed)
    _warm_up(served.one, inputs, options)
    before = read_counters()
    latencies = time_requests(served.one, inputs, options)
    after = read_counters()
    return Speed(
        latency_p50=quantile(latencies, 0.5, "s"),
        latency_p95=quantile(latencies, 0.95, "s"),
        throughput=_throughput(served.many, inputs, options, generator),
        memory_mb=_memory(served, inputs),
        size_mb=size_on_disk(served.folder) / 1e6,
        energy_j_per_1k=joules_between(before, after, latencies.size),
        cost_per_1k=own_cost_per_1k(resampled_mean(latencies, generator, "s"), machine),
        machine=f"measured on {describe_machine()}; priced as {machine.name}",
        latencies=tuple(float(each) for each in _thinned(latencies)),
    )


def time_requests(
    one: Callable[[Input], object], inputs: Sequence[Input], options: SpeedOptions
) -> NDArray[np.float64]:
    """Seconds of single requests, one after the other on one thread, the collector held. Inputs are gone round."""
    taken: list[int] = []
    with _collector_held():
        deadline = time.perf_counter_ns() + int(options.latency_s * 1e9)
        for input in itertools.islice(itertools.cycle(inputs), options.repeats):
            started = time.perf_counter_ns()
            one(input)
            ended = time.perf_counter_ns()
            taken.append(ended - started)
            if ended > deadline and (len(taken) >= options.least or ended > deadline + options.latency_s * 2e9):
                break
    return np.array(taken, dtype=np.float64) / 1e9


def incumbent_latency(latencies_s: Iterable[float | None]) -> tuple[Estimate, Estimate] | None:
    """p50 and p95 of the recorded latencies in seconds; None where the traffic has none."""
    known = [latency for latency in latencies_s if latency is not None]
    return (quantile(known, 0.5, "s"), quantile(known, 0.95, "s")) if known else None


def size_on_disk(folder: Path) -> int:
    """Bytes of every file under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def describe_machine() -> str:
    """The CPU's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{named or platform.processor() or platform.machine()}, one thread"


def _warm_up(one: Callable[[Input], object], inputs: Sequence[Input], options: SpeedOptions) -> None:
    """First answers are slow (lazy allocation, cold caches) and say nothing of a served student."""
    deadline = time.perf_counter_ns() + int(options.latency_s * 0.2e9)
    for input in itertools.islice(itertools.cycle(inputs), options.warm_up):
        one(input)
        if time.perf_counter_ns() > deadline:
            return


def _throughput(
    many: Callable[[Sequence[Input]], object],
    inputs: Sequence[Input],
    options: SpeedOptions,
    generator: np.random.Generator,
) -> Estimate:
    """Requests per second in batches, by the mean time of a batch."""
    batch = [inputs[index % len(inputs)] for index in range(options.batch)]
    many(batch)
    deadline = time.perf_counter_ns() + int(options.throughput_s * 1e9)
    taken: list[float] = []
    with _collector_held():
        while not taken or time.perf_counter_ns() < deadline:
            started = time.perf_counter_ns()
            many(batch)
            taken.append((time.perf_counter_ns() - started) / 1e9)
    seconds = resampled_mean(taken, generator)
    return Estimate(
        value=len(batch) / seconds.value,
        low=len(batch) / seconds.high,
        high=len(batch) / seconds.low,
        n=seconds.n,
        method=f"batches of {len(batch)}; {seconds.method}",
        unit="requests/s",
    )


def _memory(served: Served, inputs: Sequence[Input]) -> Estimate:
    if served.opener:
        return measure_memory(served.opener, served.folder, inputs[:_MEMORY_INPUTS])
    used = resident_bytes() / 1e6
    return Estimate(value=used, low=0.0, high=used, n=1, method="this whole process, an upper bound", unit="MB")


@contextmanager
def _collector_held() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _thinned(latencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evenly spaced quantiles, ends kept: a sample for a chart that looks like the whole."""
    ordered = np.sort(latencies)
    if ordered.size <= _KEPT_LATENCIES:
        return ordered
    return ordered[np.linspace(0, ordered.size - 1, _KEPT_LATENCIES).round().astype(np.int64)]
