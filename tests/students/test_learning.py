from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepdown.core.inputs import Input
from stepdown.core.pace import Clock, Deadline
from stepdown.core.students import ArtefactManifest, TrainingContext, TrainingData
from stepdown.core.training_time import REFERENCE, TrainingSize
from stepdown.runtime.artefact import open_student
from stepdown.students.kinds import encoder, frozen, linear
from stepdown.students.tiny_task import tiny_task

pytest.importorskip("torch", reason="training needs the extra 'train'")
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


class SlowClock:
    """A clock that only training moves: so many seconds for each step that is told as progress."""

    def __init__(self, step_s: float) -> None:
        self._step_s, self._now = step_s, 0.0

    def __call__(self) -> float:
        return self._now

    def tick(self, what: str, share: float) -> None:
        self._now += self._step_s


def _folder(context: TrainingContext, name: str) -> Path:
    folder = context.home / name
    folder.mkdir()
    return folder


def _steps(manifest: ArtefactManifest) -> list[str]:
    return [entry.step for entry in manifest.lineage]


def _short(base: str) -> encoder.Options:
    return encoder.Options(
        base=base,
        layers=2,
        teacher_epochs=1.0,
        epochs=1.0,
        max_length=32,
        learning_rate=1e-3,
        frozen=1,
        teacher_frozen=1,
    )


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


def test_a_plan_that_takes_too_long_ends_early_and_can_be_replayed(base: str, context: TrainingContext) -> None:
    options = replace(_short(base), teacher_epochs=4.0, epochs=4.0)
    slow = SlowClock(step_s=1.0)
    clock = Clock(Deadline(30.0, slow))
    manifest = train_student("encoder", tiny_task(), options, replace(context, clock=clock, progress=slow.tick))
    trained = [entry.parameters for entry in manifest.lineage if entry.step == "train"]
    assert clock.cuts
    assert sum(parameters["steps"] for parameters in trained) <= 31
    assert all(parameters["steps"] < parameters["steps_planned"] for parameters in trained)
    again = replace(context, folder=_folder(context, "again"), clock=Clock(replayed=clock.cuts))
    assert train_student("encoder", tiny_task(), options, again).digest == manifest.digest


def test_a_teacher_that_had_no_time_to_learn_teaches_nobody(base: str, context: TrainingContext) -> None:
    options = replace(_short(base), teacher_epochs=15.0, epochs=2.0)
    slow = SlowClock(step_s=1.0)
    manifest = train_student(
        "encoder", tiny_task(), options, replace(context, clock=Clock(Deadline(10.0, slow)), progress=slow.tick)
    )
    assert "distil" not in _steps(manifest)
    open_student(context.folder)


def test_a_clock_that_leaves_enough_time_changes_nothing(base: str, context: TrainingContext) -> None:
    plain = train_student("encoder", tiny_task(), _short(base), context)
    slow = SlowClock(step_s=1.0)
    watched = replace(
        context, folder=_folder(context, "watched"), clock=Clock(Deadline(600.0, slow)), progress=slow.tick
    )
    assert train_student("encoder", tiny_task(), _short(base), watched).digest == plain.digest
    assert not watched.clock.cuts


@pytest.mark.parametrize("phase", ["fine-tuning all layers", "distilling"])
def test_what_was_stopped_goes_on_from_its_checkpoint_to_the_same_artefact(
    phase: str, base: str, context: TrainingContext
) -> None:
    options = replace(_short(base), teacher_epochs=3.0, epochs=3.0)
    whole = train_student("encoder", tiny_task(), options, context)
    kept = context.home / "checkpoints"
    heard: list[str] = []

    def stop(what: str, share: float) -> None:
        heard.append(what)
        if what.startswith(phase) and sum(each.startswith(phase) for each in heard) == 8:
            raise KeyboardInterrupt

    stopped = replace(context, folder=_folder(context, "stopped"), checkpoints=kept, checkpoint_s=0.0, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        train_student("encoder", tiny_task(), options, stopped)
    steps: list[str] = []
    resumed = replace(
        context,
        folder=_folder(context, "resumed"),
        checkpoints=kept,
        progress=lambda what, share: steps.append(what),
    )
    assert train_student("encoder", tiny_task(), options, resumed).digest == whole.digest
    assert len(steps) < len(heard) + 40
    assert sum(each.startswith(phase) for each in steps) < 18


def test_a_damaged_checkpoint_is_as_if_it_were_not_there(base: str, context: TrainingContext) -> None:
    whole = train_student("encoder", tiny_task(), _short(base), context)
    kept = context.home / "checkpoints"
    kept.mkdir()
    (kept / "teacher.safetensors").write_bytes(b"half of what should stand here")
    again = replace(context, folder=_folder(context, "again"), checkpoints=kept)
    assert train_student("encoder", tiny_task(), _short(base), again).digest == whole.digest


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
    size = TrainingSize(9_000, 58, 145_000)
    planned = [encoder.options_for(size, seconds, REFERENCE) for seconds in (10.0, 60.0, 110.0, 230.0)]
    assert planned[0] is None
    work = [6 * options.teacher_epochs + 3 * options.epochs for options in planned[1:] if options]
    assert work == sorted(work)
    assert work[0] < work[-1]
