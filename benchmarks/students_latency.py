"""How long one answer takes, and how good it is: every asked kind of student on banking77, one thread.

    python -m benchmarks.students_latency [--kind linear --kind token_cnn] [--data ../shared/data/banking77]

Prints one row per kind: accuracy on the test split, seconds of training, size, and the p50 and p95 of single answers,
featurisation included, after a warm-up, over the whole test split.
"""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from stepdown.core.canonical import digest_of
from stepdown.core.inputs import inputs_of
from stepdown.core.students import TrainingContext, TrainingData
from stepdown.core.training_time import REFERENCE
from stepdown.runtime.artefact import open_student
from stepdown.students.artefact import size_bytes
from stepdown.students.kinds import student_kinds
from stepdown.students.train import train_student

WARM_UP = 500
ROOT = Path(__file__).resolve().parents[1]


def read_split(path: Path) -> tuple[list[str], list[str]]:
    """Texts and gold labels of one CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def training_data(texts: list[str], gold: list[str]) -> TrainingData:
    """Gold alone."""
    return TrainingData(
        task="banking77",
        family="classify",
        inputs=inputs_of(texts),
        targets=list(gold),
        sources=["gold"] * len(texts),
        weights=np.ones(len(texts)),
        labels=tuple(sorted(set(gold))),
        dataset_hash=digest_of(texts),
    )


def measure(kind: str, data: TrainingData, test: tuple[list[str], list[str]], home: Path, seconds: float) -> str:
    """Train one kind, open its artefact, and time single answers. Returns a table row."""
    module = student_kinds().load(kind)
    options = module.options_for(data.size, seconds, REFERENCE)
    if options is None:
        return f"{kind:8} needs more than {seconds:.0f} s"
    folder = home / kind
    folder.mkdir()
    context = TrainingContext(
        folder=folder, home=home, seed=0, seconds=seconds, threads=2, progress=lambda what, share: None
    )
    manifest = train_student(kind, data, options, context)
    student = open_student(folder)
    inputs, gold = inputs_of(test[0]), test[1]
    answers = student.answer_many(inputs).answers
    right = np.mean([answer == wanted for answer, wanted in zip(answers, gold, strict=True)])
    taken = []
    for input in [*inputs[:WARM_UP], *inputs]:
        started = time.perf_counter()
        student.answer(input)
        taken.append(time.perf_counter() - started)
    p50, p95 = np.percentile(np.array(taken[WARM_UP:]) * 1e6, [50, 95])
    size = size_bytes(folder) / 1e6
    return f"{kind:8} {right:9.4f} {len(gold):6d} {manifest.trained_s:10.1f} {size:8.2f} {p50:8.0f} {p95:8.0f}"


@click.command()
@click.option("--kind", "kinds", multiple=True, help="Kinds to measure; all unless given.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=ROOT.parent / "shared/data/banking77")
@click.option("--seconds", default=120.0, help="What each kind may plan for its training.")
def main(kinds: tuple[str, ...], data: Path, seconds: float) -> None:
    """Print accuracy, training time, size and latency of students."""
    train, test = read_split(data / "train.csv"), read_split(data / "test.csv")
    click.echo("kind      accuracy      n  trained_s  size_MB   p50_us   p95_us")
    with tempfile.TemporaryDirectory() as home:
        for kind in kinds or student_kinds().names():
            click.echo(measure(kind, training_data(*train), test, Path(home), seconds))


if __name__ == "__main__":
    main()
