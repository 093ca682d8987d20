"""The machine's speed: measured once and kept, or measured anew where what is kept is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepdown.core.training_time import REFERENCE, training_size
from stepdown.students.machine_speed import machine_speed

pytest.importorskip("torch", reason="training needs the extra 'train'")


def test_it_is_measured_once_and_read_from_then_on(tmp_path: Path) -> None:
    first = machine_speed(tmp_path, "a processor", 1)
    assert first.layer_s > 0
    assert first.slowness > 0
    assert first.arithmetic in first.token_layer_s
    assert machine_speed(tmp_path, "a processor", 1) == first
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_another_processor_and_a_damaged_file_are_measured(tmp_path: Path) -> None:
    machine_speed(tmp_path, "a processor", 1)
    machine_speed(tmp_path, "another", 1)
    kept = list(tmp_path.rglob("*.json"))
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(b"{")
    assert machine_speed(tmp_path, "another", 1).cpu == "another"


def test_sizes_count_tokens_and_no_text_counts_without_end() -> None:
    short, long = training_size(["a word"] * 10, 2), training_size(["many words " * 2_000] * 10, 2)
    assert short.tokens < long.tokens == 10 * 256
    assert long.read(64) == 640
    assert REFERENCE.layer_s > 0
