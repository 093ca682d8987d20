from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stepdown.core.errors import ResourceError
from stepdown.core.inputs import Input, inputs_of
from stepdown.core.measurements import Speed
from stepdown.evaluation.cost import MachinePrice
from stepdown.evaluation.resident import measure_memory, resident_bytes
from stepdown.evaluation.speed import (
    Served,
    SpeedOptions,
    incumbent_latency,
    measure_speed,
    size_on_disk,
    time_requests,
)

OPENER = """
from pathlib import Path

class Student:
    def __init__(self, folder):
        self.kept = bytearray((folder / "weights").stat().st_size)
        self.kept[::4096] = b"x" * len(self.kept[::4096])
    def answer(self, input):
        return input.text, (1.0,)

class Cascade(Student):
    answer = None
    def decide(self, input):
        return input.text

def open_student(folder):
    return Student(folder)

def open_cascade(folder):
    return Cascade(folder)

def open_nothing(folder):
    raise OSError("no such artefact")
"""

QUICK = SpeedOptions(latency_s=0.5, throughput_s=0.05, repeats=300)


@pytest.fixture
def artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 30 MB of weights, and a module on the path that opens it."""
    (tmp_path / "opening_for_tests.py").write_text(OPENER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    folder = tmp_path / "artefact"
    folder.mkdir()
    (folder / "weights").write_bytes(bytes(30_000_000))
    return folder


def answer(input: Input) -> int:
    return len(input.text)


def answer_many(inputs: Sequence[Input]) -> list[int]:
    return [len(input.text) for input in inputs]


def test_all_figures_have_n_an_interval_and_a_unit(artefact: Path) -> None:
    served = Served(answer, answer_many, artefact, "opening_for_tests:open_student")
    speed = measure_speed(served, inputs_of(["one", "two"]), MachinePrice(), QUICK)
    for name, unit in (("latency_p50", "s"), ("latency_p95", "s"), ("throughput", "requests/s"), ("memory_mb", "MB")):
        found = getattr(speed, name)
        assert 0.0 < found.low <= found.value <= found.high
        assert (found.unit, found.estimated) == (unit, False)
        assert found.n >= 1
    assert speed.latency_p50.value <= speed.latency_p95.value
    assert speed.latency_p50.n == len(speed.latencies)
    assert QUICK.least <= speed.latency_p50.n <= QUICK.repeats
    assert speed.size_mb == pytest.approx(30.0)
    assert speed.cost_per_1k.estimated
    assert speed.cost_per_1k.low < speed.cost_per_1k.value < speed.cost_per_1k.high
    assert "one thread" in speed.machine
    assert MachinePrice().name in speed.machine
    assert msgspec.json.decode(msgspec.json.encode(speed), type=Speed) == speed


def test_memory_is_that_of_a_fresh_process_and_holds_the_weights(artefact: Path) -> None:
    for opener in ("opening_for_tests:open_student", "opening_for_tests:open_cascade"):
        found = measure_memory(opener, artefact, inputs_of(["a", "b"]))
        assert 30.0 < found.value < 200.0, "an interpreter and 30 MB of weights"
        assert found.n == 3


def test_a_process_that_cannot_open_says_why(artefact: Path) -> None:
    with pytest.raises(ResourceError, match="no such artefact"):
        measure_memory("opening_for_tests:open_nothing", artefact, inputs_of(["a"]))


@pytest.mark.slow
def test_without_an_opener_memory_is_an_upper_bound(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(5))
    assert size_on_disk(tmp_path) == 15
    speed = measure_speed(Served(answer, answer_many, tmp_path), inputs_of(["x"]), MachinePrice(), QUICK)
    assert "upper bound" in speed.memory_mb.method
    assert speed.memory_mb.low == 0.0
    assert resident_bytes() > 10_000_000


@pytest.mark.slow
def test_timing_is_bounded_by_time_and_by_repeats() -> None:
    asked: list[Input] = []
    taken = time_requests(asked.append, inputs_of("abc"), SpeedOptions(latency_s=5.0, repeats=7))
    assert (taken.size, asked) == (7, inputs_of("abcabca"))
    assert (taken >= 0.0).all()
    assert time_requests(answer, inputs_of("a"), SpeedOptions(latency_s=0.0, least=1)).size == 1
    with pytest.raises(ValueError, match="no inputs"):
        measure_speed(Served(answer, answer_many, Path()), [], MachinePrice())


def test_the_incumbents_latency_is_what_was_recorded() -> None:
    recorded = np.random.default_rng(0).lognormal(-1, 0.5, 400)
    found = incumbent_latency([None, *recorded, None])
    assert found is not None
    assert found[0].value == pytest.approx(np.median(recorded))
    assert found[1].low <= np.quantile(recorded, 0.95) <= found[1].high
    assert found[1].n == 400
    assert incumbent_latency([None, None]) is None
