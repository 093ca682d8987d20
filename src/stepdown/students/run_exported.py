"""Runs an exported program as its users will, and says what each of its models answers. A script, JSON in and out.

in:  {"folder", "allowed": [packages], "texts": [[texts of the first model], …], "timed": [rows], "seconds"}
out: [{"answers": […], "signals": [[…]], "confidences": […], "seconds": [of a timed row, or null]}, …], one a model

It imports nothing of stepdown, and refuses every package but those that the export says it needs: what works here works
where nothing else is installed.
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
    """An import hook that knows the standard library, the packages that are allowed, and an export's own modules."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = {*sys.stdlib_module_names, *allowed, "run", "models"}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if path is None and name.split(".", maxsplit=1)[0] not in self._allowed:
            raise ImportError(f"{name} is not among what the exported program says it needs")


def main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    sys.meta_path.insert(0, Refuse(asked["allowed"]))
    sys.path.insert(0, asked["folder"])
    program = importlib.import_module("run")
    cascade, models = program.load(Path(asked["folder"]), checked=True)  # its manifest is written last
    found = []
    for rung, model, texts in zip(cascade["rungs"], models, asked["texts"], strict=True):
        answered = [model.answer(text) for text in texts]
        found.append(
            {
                "answers": [answer for answer, _ in answered],
                "signals": [signals for _, signals in answered],
                "confidences": [program.confidence(rung["calibrator"], signals) for _, signals in answered],
                "seconds": timed(model, texts, asked["timed"], asked["seconds"]),
            }
        )
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def timed(model: Any, texts: list[str], rows: list[int], most_s: float) -> list[float | None]:
    """Seconds of one answer for the rows in their order, until `most_s` are over."""
    for row in rows[:WARM_UP]:
        model.answer(texts[row])
    seconds: list[float | None] = [None] * len(texts)
    deadline = time.perf_counter() + most_s
    for row in rows:
        started = time.perf_counter()
        model.answer(texts[row])
        ended = time.perf_counter()
        seconds[row] = ended - started
        if ended > deadline:
            break
    return seconds


if __name__ == "__main__":
    main()
