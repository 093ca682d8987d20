from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepdown.core.inputs import Input
from stepdown.core.students import ArtefactManifest, TrainingContext, TrainingData
from stepdown.runtime.artefact import open_student
from stepdown.students.kinds import encoder, frozen, linear
from stepdown.students.tiny_task import tiny_task

pytest.importorskip("torch", reason="training needs the extra 'train'")
from stepdown.students.encoders import training
from stepdown.students.train import train_student

pytestmark = pytest.mark.slow


@pytest.fixture
def base(tmp_path: Path, write_encoder) -> str:
    write_encoder(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def context(tmp_path: Path) -> TrainingContext:
    folder = tmp_path / "student"
    folder.mkdir()
    return TrainingContext(
        folder=folder, home=tmp_path, seed=3, seconds=600.0, threads=1, progress=lambda what, share: None
    )


def _steps(manifest: ArtefactManifest) -> list[str]:
    return [entry.step for entry in manifest.lineage]


def _short(base: str) -> encoder.Options:
    return encoder.Options(base=base, layers=2, teacher_epochs=1.0, epochs=1.0, max_length=32, learning_rate=1e-3)


def test_every_step_is_in_the_lineage(base: str, context: TrainingContext) -> None:
    manifest = train_student("encoder", tiny_task(), _short(base), context)
    assert _steps(manifest) == ["prune", "train", "prune", "distil", "train", "quantise"]
    assert manifest.options["pretrained"]["source"] == "path"
    student = open_student(context.folder)
    assert student.answer_many([Input("can I borrow two comics")]).probabilities.shape == (1, 4)


def test_without_a_teacher_of_its_own_it_listens_to_another(
    base: str, context: TrainingContext, tmp_path: Path
) -> None:
    data = tiny_task()
    other = replace(context, folder=tmp_path / "linear")
    other.folder.mkdir()
    train_student("linear", data, linear.Options(), other)
    taught = replace(context, teacher=open_student(other.folder), teacher_hash="a" * 64)
    manifest = train_student("encoder", data, replace(_short(base), teacher_epochs=0.0), taught)
    assert _steps(manifest) == ["prune", "prune", "distil", "train", "quantise"]
    assert manifest.lineage[2].parents == ("a" * 64,)


def test_unlabelled_texts_are_learned_from_by_distillation(base: str, context: TrainingContext) -> None:
    data = tiny_task()
    held: TrainingData = replace(
        data,
        inputs=data.inputs[::2],
        targets=data.targets[::2],
        sources=data.sources[::2],
        weights=np.ones(len(data.texts[::2])),
        extra_inputs=data.inputs[1::2],
    )
    manifest = train_student("encoder", held, _short(base), context)
    rows = [entry.parameters["rows"] for entry in manifest.lineage if entry.step == "train"]
    assert rows == [len(held.texts), len(data.texts)]


def test_a_plan_that_takes_far_too_long_here_is_cut(base: str, context: TrainingContext) -> None:
    options = replace(_short(base), teacher_epochs=50.0, epochs=50.0)
    manifest = train_student("encoder", tiny_task(), options, replace(context, seconds=0.01))
    trained = [entry.parameters for entry in manifest.lineage if entry.step == "train"]
    assert [parameters["epochs"] for parameters in trained] == [2.0, 2.0]
    assert [parameters["epochs_planned"] for parameters in trained] == [50.0, 50.0]


def test_a_plan_that_is_short_already_is_not_made_longer(base: str, context: TrainingContext) -> None:
    manifest = train_student("encoder", tiny_task(), _short(base), replace(context, seconds=0.001))
    trained = [entry.parameters for entry in manifest.lineage if entry.step == "train"]
    assert [parameters["epochs"] for parameters in trained] == [1.0, 1.0]


def test_what_else_runs_on_the_machine_does_not_cut_a_plan(
    base: str, context: TrainingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, waits = training._loss, iter([0.25] * 8)

    def kept_waiting(*arguments: Any) -> Any:
        time.sleep(next(waits, 0.0))
        return compute(*arguments)

    monkeypatch.setattr(training, "_loss", kept_waiting)
    options = replace(_short(base), teacher_epochs=3.0, epochs=3.0)
    manifest = train_student("encoder", tiny_task(), options, replace(context, seconds=0.5))
    trained = [entry.parameters for entry in manifest.lineage if entry.step == "train"]
    assert next(waits, None) is None
    assert [parameters["epochs"] for parameters in trained] == [3.0, 3.0]
    assert not any("epochs_planned" in parameters for parameters in trained)


def test_an_interrupt_stops_it_and_leaves_no_artefact(base: str, context: TrainingContext) -> None:
    def interrupt(what: str, share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_student("encoder", tiny_task(), _short(base), replace(context, progress=interrupt))
    assert list(context.folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["encoder", "frozen"])
def test_progress_rises_from_nothing_towards_one(kind: str, base: str, context: TrainingContext) -> None:
    heard: list[float] = []
    options = _short(base) if kind == "encoder" else frozen.Options(base=base, max_length=32)
    train_student(kind, tiny_task(), options, replace(context, progress=lambda what, share: heard.append(share)))
    assert heard[0] == 0.0
    assert heard == sorted(heard)
    assert heard[-1] <= 1.0


def test_epochs_grow_with_the_time_there_is() -> None:
    planned = [encoder.options_for(9_000, 58, seconds) for seconds in (10.0, 40.0, 100.0, 230.0)]
    assert planned[0] is None
    work = [6 * options.teacher_epochs + 3 * options.epochs for options in planned[1:] if options]
    assert work == sorted(work)
    assert work[0] < work[-1]
