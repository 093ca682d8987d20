"""The linear student: on real traffic, in threads, with ten thousand labels, and taught by another."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepdown.core.inputs import Input, inputs_of
from stepdown.core.students import Predictions, TrainingContext, TrainingData
from stepdown.runtime.artefact import open_student
from stepdown.students.artefact import size_bytes
from stepdown.students.kinds import linear
from stepdown.students.tiny_task import tiny_task
from stepdown.students.train import train_student

pytestmark = pytest.mark.slow

pytest.importorskip("scipy", reason="training needs the extra 'train'")


def _context(folder: Path) -> TrainingContext:
    return TrainingContext(folder=folder, home=folder, seed=0, seconds=60, threads=2, progress=lambda what, share: None)


def _data(texts: list[str], targets: list[str], source: str = "gold") -> TrainingData:
    return replace(
        tiny_task(),
        inputs=inputs_of(texts),
        targets=list(targets),
        sources=[source] * len(texts),
        weights=np.ones(len(texts)),
        labels=tuple(sorted(set(targets))),
    )


def test_it_learns_real_questions_of_seventy_seven_kinds(shared_data: Path, tmp_path: Path) -> None:
    splits = {}
    for name in ("train", "test"):
        with (shared_data / "banking77" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        splits[name] = [row["text"] for row in rows], [row["category"] for row in rows]
    texts, targets = splits["train"]
    manifest = train_student(
        "linear", _data(texts[::3], targets[::3]), linear.Options(iterations=20), _context(tmp_path)
    )
    student = open_student(tmp_path)
    questions, gold = splits["test"]
    predictions = student.answer_many(inputs_of(questions[::5]))
    right = np.array([answer == wanted for answer, wanted in zip(predictions.answers, gold[::5], strict=True)])
    assert right.mean() > 0.82
    top = predictions.signals[:, manifest.signal_names.index("top")]
    assert top[right].mean() > top[~right].mean() + 0.1
    assert size_bytes(tmp_path) < 4_000_000


def test_ten_thousand_labels_stay_small_and_are_learned(tmp_path: Path) -> None:
    names = [f"item{place:05d}" for place in range(10_000)]
    texts = [f"{prefix} {name} now" for name in names for prefix in ("order", "send me")]
    data = _data(texts, [name for name in names for _ in range(2)])
    train_student("linear", data, linear.Options(longest=3), _context(tmp_path))
    student = open_student(tmp_path)
    assert size_bytes(tmp_path) < 40_000_000
    assert np.isfinite(student.answer(Input("order item00042 now"))[1]).all()


def test_threads_get_the_same_answers_while_new_words_are_learned(tmp_path: Path) -> None:
    train_student("linear", tiny_task(), linear.Options(), _context(tmp_path))
    inputs = [Input(f"may I borrow unseen{place % 700} of volume{place % 300}") for place in range(4_000)]
    expected = open_student(tmp_path).answer_many(inputs).signals
    student = open_student(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        signals = list(pool.map(lambda input: student.answer(input)[1], inputs))
    np.testing.assert_allclose(signals, expected, atol=1e-6)


def test_a_table_without_room_answers_the_same(tmp_path: Path) -> None:
    train_student("linear", tiny_task(), linear.Options(), _context(tmp_path))
    crowded, fresh = open_student(tmp_path), open_student(tmp_path)
    crowded.answer_many([Input(f"word{place}") for place in range(25_000)])
    input = Input("may I borrow an unheardof atlas and an unheardof globe")
    assert crowded.answer(input) == fresh.answer(input)


def test_words_that_were_never_seen_lower_the_known_share(tmp_path: Path) -> None:
    train_student("linear", tiny_task(), linear.Options(), _context(tmp_path))
    student = open_student(tmp_path)
    known = student.signal_names.index("known")
    assert student.answer(Input("can I borrow this novel please"))[1][known] == 1.0
    assert student.answer(Input("quantum xylophones vibrate"))[1][known] == 0.0


class _Oracle:
    """A teacher that knows the answer of every text, the unlabelled ones too."""

    kind = "oracle"
    signal_names = ("top",)

    def __init__(self, data: TrainingData, truth: dict[str, str]) -> None:
        self._labels, self._truth = data.labels, truth

    def answer(self, input: Input) -> tuple[str, tuple[float, ...]]:
        return self._truth[input.text], (1.0,)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        answers = [self._truth[input.text] for input in inputs]
        probabilities = np.array([[0.97 if label == answer else 0.01 for label in self._labels] for answer in answers])
        return Predictions(answers, np.ones((len(inputs), 1)), probabilities)


def test_a_teacher_mends_what_noisy_answers_spoil(tmp_path: Path, rng: np.random.Generator) -> None:
    task = tiny_task()
    truth = dict(zip(task.texts, map(str, task.targets), strict=True))
    order = rng.permutation(len(task.texts))
    rows, rest = order[:60], order[60:]
    noisy = [str(rng.choice(task.labels)) if rng.random() < 0.6 else truth[task.texts[row]] for row in rows]
    data = replace(_data([task.texts[row] for row in rows], noisy, "incumbent"), labels=task.labels)
    data = replace(data, extra_inputs=[task.inputs[row] for row in rest[:200]])
    held_out = [task.inputs[row] for row in rest[200:]]
    right = []
    for name, teacher in (("alone", None), ("taught", _Oracle(task, truth))):
        (tmp_path / name).mkdir()
        context = replace(_context(tmp_path / name), teacher=teacher, teacher_hash="f" * 64 if teacher else "")
        manifest = train_student("linear", data, linear.Options(), context)
        answers = open_student(tmp_path / name).answer_many(held_out).answers
        right.append(np.mean([answer == truth[input.text] for answer, input in zip(answers, held_out, strict=True)]))
    assert manifest.lineage[0].step == "distil"
    assert manifest.lineage[0].parents == ("f" * 64,)
    assert right[1] > right[0] + 0.1
