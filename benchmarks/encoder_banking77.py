"""banking77 with gold labels: the accuracy, size and speed of the encoder at several depths, as it is served.

    python -m benchmarks.encoder_banking77 [--layers 3 0] [--teacher-epochs 6] [--epochs 6] [--seed 0]

Learns from all 10,003 training rows and is tested once on the 3,080 test rows. Prints a row of JSON per student.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.core.canonical import digest_of
from stepdown.core.inputs import inputs_of
from stepdown.core.students import TrainingContext, TrainingData
from stepdown.runtime.artefact import open_student
from stepdown.students.artefact import size_bytes
from stepdown.students.kinds import encoder, frozen
from stepdown.students.train import train_student

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77"


def read_rows(name: str) -> tuple[list[str], list[str]]:
    """Texts and labels of one split."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def training_data() -> TrainingData:
    texts, labels = read_rows("train")
    return TrainingData(
        task="banking77",
        family="classify",
        inputs=inputs_of(texts),
        targets=list(labels),
        sources=["gold"] * len(texts),
        weights=np.ones(len(texts)),
        labels=tuple(sorted(set(labels))),
        dataset_hash=digest_of([texts, labels]),
    )


def measure(kind: str, options: Any, seed: int, threads: int) -> dict[str, Any]:
    """Train one student and test what is served: accuracy, one-thread latency of single texts, size, seconds."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "student"
        folder.mkdir()
        context = TrainingContext(
            folder=folder,
            home=Path(home),
            seed=seed,
            seconds=3600.0,
            threads=threads,
            progress=lambda what, share: None,
        )
        manifest = train_student(kind, training_data(), options, context)
        student = open_student(folder)
        texts, labels = read_rows("test")
        inputs = inputs_of(texts)
        answers = student.answer_many(inputs).answers
        seconds = []
        for input in inputs[:500]:
            started = time.perf_counter()
            student.answer(input)
            seconds.append(time.perf_counter() - started)
        return {
            "kind": manifest.kind,
            "options": asdict(options),
            "accuracy": float(np.mean([answer == label for answer, label in zip(answers, labels, strict=True)])),
            "n": len(texts),
            "latency_p50_ms": float(np.median(seconds) * 1e3),
            "latency_p95_ms": float(np.quantile(seconds, 0.95) * 1e3),
            "size_mb": size_bytes(folder) / 1e6,
            "trained_s": manifest.trained_s,
            "lineage": [[entry.step, entry.parameters] for entry in manifest.lineage],
        }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--layers", type=int, nargs="*", default=[3, 0], help="0 for all six")
    arguments.add_argument("--teacher-epochs", type=float, default=encoder.Options().teacher_epochs)
    arguments.add_argument("--epochs", type=float, default=encoder.Options().epochs)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--frozen", action="store_true", help="the frozen encoder as well")
    given = arguments.parse_args()
    if given.frozen:
        print(json.dumps(measure("frozen", frozen.Options(), given.seed, given.threads)), flush=True)
    for layers in given.layers:
        options = replace(encoder.Options(), layers=layers, teacher_epochs=given.teacher_epochs, epochs=given.epochs)
        print(json.dumps(measure("encoder", options, given.seed, given.threads)), flush=True)


if __name__ == "__main__":
    main()
