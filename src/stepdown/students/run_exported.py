"""Runs an exported program as its users will, and says what each of its models answers. A script, JSON in and out.

in:  {"folder", "allowed": [packages], "texts": […], "timed": [rows], "seconds"}
out: [{"answers": […], "signals": [[…]], "confidences": […], "seconds": [of a timed row, or null]}, …], one a model

It refuses every package but those that the export says it needs, stepdown's own too: what works here works where
nothing else is installed.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 20


class Refuse:
    """An import hook that knows the standard library, the packages that are allowed, and an export's `run.py`."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = {*sys.stdlib_module_names, *allowed, "run"}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if path is None and name.split(".", maxsplit=1)[0] not in self._allowed:
            raise ImportError(f"{name} is not among what the exported program says it needs")


def main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    sys.meta_path.insert(0, Refuse(asked["allowed"]))
    sys.path.insert(0, asked["folder"])
    run = importlib.import_module("run")
    del sys.path[0]
    cascade = run.load(Path(asked["folder"]), checked=True).cascade  # its manifest is written last
    inputs = importlib.import_module("stepdown.core.inputs").inputs_of(asked["texts"])
    found = []
    for rung in cascade.rungs:
        answered = [rung.student.answer(input) for input in inputs]
        said = {"answers": [answer for answer, _ in answered], "signals": [signals for _, signals in answered]}
        confidences = [rung.confidence(signals) for signals in said["signals"]]
        seconds = timed(rung.student, inputs, asked["timed"], asked["seconds"])
        found.append({**said, "confidences": confidences, "seconds": seconds})
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def timed(student: Any, inputs: list[Any], rows: list[int], most_s: float) -> list[float | None]:
    """Seconds of one answer for the rows in their order, until `most_s` are over."""
    for row in rows[:WARM_UP]:
        student.answer(inputs[row])
    seconds: list[float | None] = [None] * len(inputs)
    deadline = time.perf_counter() + most_s
    for row in rows:
        started = time.perf_counter()
        student.answer(inputs[row])
        ended = time.perf_counter()
        seconds[row] = ended - started
        if ended > deadline:
            break
    return seconds


if __name__ == "__main__":
    main()
