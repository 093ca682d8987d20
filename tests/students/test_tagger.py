from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepdown.core.errors import NotEnoughData, UsageError
from stepdown.core.extraction.form import Field, Form
from stepdown.core.inputs import inputs_of
from stepdown.core.students import TrainingContext, TrainingData
from stepdown.core.training_time import REFERENCE, TrainingSize
from stepdown.runtime.artefact import open_student
from stepdown.students.kinds import tagger
from stepdown.students.tiny_extraction import tiny_extraction
from stepdown.students.train import train_student

pytestmark = pytest.mark.slow

pytest.importorskip("torch", reason="training needs the extra 'train'")


@pytest.fixture
def context(tmp_path: Path) -> TrainingContext:
    folder = tmp_path / "student"
    folder.mkdir()
    return TrainingContext(
        folder=folder, home=tmp_path, seed=3, seconds=600.0, threads=1, progress=lambda what, share: None
    )


@pytest.fixture
def options(tmp_path: Path, write_encoder) -> tagger.Options:
    write_encoder(tmp_path / "base")
    base = str(tmp_path / "base")
    return tagger.Options(base=base, layers=2, teacher_epochs=1.0, epochs=1.0, max_length=32, precision="float32")


def _data(answers: list[dict], texts: list[str], form: Form) -> TrainingData:
    count = len(texts)
    return replace(
        tiny_extraction(),
        inputs=inputs_of(texts),
        targets=list(answers),
        sources=["gold"] * count,
        weights=np.ones(count),
        form=form,
    )


def _train_step(manifest) -> dict:
    return next(entry.parameters for entry in manifest.lineage if entry.step == "train")


def test_every_step_is_in_the_lineage_and_says_what_was_learned(options, context) -> None:
    manifest = train_student("tagger", tiny_extraction(), options, context)
    steps = [entry.step for entry in manifest.lineage]
    assert steps == ["prune", "train", "prune", "distil", "train", "quantise"]
    fields = _train_step(manifest)["fields"]
    assert {name: each["role"] for name, each in fields.items()} == {
        "action": "closed",
        "book.titles": "copied",
        "member": "copied",
        "branch": "closed",
        "urgent": "closed",
    }
    assert _train_step(manifest)["unaligned"] == {}
    assert set(manifest.files) == {"encoder.onnx", "form.json", "tokenizer.json"}


def test_answers_that_stand_nowhere_in_their_text_are_counted_and_the_rest_learned(options, context) -> None:
    data = tiny_extraction()
    wrong = [
        {**answer, "member": "Nobody Known"} if "member" in answer and row % 90 == 0 else answer
        for row, answer in enumerate(data.targets)
    ]
    changed = sum(answer != before for answer, before in zip(wrong, data.targets, strict=True))
    manifest = train_student("tagger", replace(data, targets=wrong), options, context)
    assert _train_step(manifest)["unaligned"] == {"member": changed}


def test_unlabelled_texts_are_learned_from_by_distillation(options, context) -> None:
    data = tiny_extraction()
    half = replace(
        data,
        inputs=data.inputs[::2],
        targets=data.targets[::2],
        sources=data.sources[::2],
        weights=np.ones(len(data.texts[::2])),
        extra_inputs=data.inputs[1::2],
    )
    manifest = train_student("tagger", half, options, context)
    rows = [entry.parameters["rows"] for entry in manifest.lineage if entry.step == "train"]
    assert rows == [180, 360]


@pytest.mark.parametrize("teacher_epochs", [0.0, 1.0])
def test_a_form_of_copied_fields_alone_and_one_of_closed_fields_alone_can_be_learned(
    options, context, tmp_path: Path, teacher_epochs: float
) -> None:
    texts = [f"a book {place} please {row}" for row in range(20) for place in ("north", "south")]
    copied = [{"where": "north" if "north" in text else "south", "row": text.split()[-1]} for text in texts]
    closed = [{"where": answer["where"]} for answer in copied]
    forms = (
        Form(fields=(Field(name="where"), Field(name="row"))),
        Form(fields=(Field(name="where", choices=("north", "south")),)),
    )
    for place, (answers, form) in enumerate(zip((copied, closed), forms, strict=True)):
        folder = tmp_path / str(place)
        folder.mkdir()
        plan = replace(options, teacher_epochs=teacher_epochs)
        train_student("tagger", _data(answers, texts, form), plan, replace(context, folder=folder))
        predicted = open_student(folder).answer_many(inputs_of(texts))
        assert np.isfinite(predicted.signals).all()
        assert predicted.parts is not None
        assert all(set(parts) == {field.name for field in form.fields} for parts in predicted.parts)


def test_free_text_is_refused_by_name_before_any_training() -> None:
    data = tiny_extraction()
    form = Form(fields=(*data.form.fields, Field(name="summary")))
    told = [
        {**answer, "summary": f"{len(text)} letters, item {row}"}
        for row, (text, answer) in enumerate(zip(data.texts, data.targets, strict=True))
    ]
    assert "summary" in tagger.why_not(replace(data, targets=told, form=form))
    assert tagger.why_not(data) == ""


def test_data_without_a_form_and_unknown_units_are_refused(options, context) -> None:
    with pytest.raises(UsageError, match="no fields"):
        train_student("tagger", replace(tiny_extraction(), form=None), options, context)
    with pytest.raises(UsageError, match="letters"):
        train_student("tagger", tiny_extraction(), replace(options, units="letters"), context)
    assert tagger.why_not(replace(tiny_extraction(), form=None))


def test_one_answer_for_all_is_nothing_to_learn(options, context) -> None:
    data = tiny_extraction()
    with pytest.raises(NotEnoughData):
        train_student("tagger", replace(data, targets=[data.targets[0]] * len(data.targets)), options, context)


def test_epochs_grow_with_the_time_there_is() -> None:
    size = TrainingSize(9_000, 7, 120_000)
    planned = [tagger.options_for(size, seconds, REFERENCE) for seconds in (10.0, 100.0, 200.0, 900.0)]
    assert planned[0] is None
    work = [6 * options.teacher_epochs + 3 * options.epochs for options in planned[1:] if options]
    assert work == sorted(work)
    assert work[0] < work[-1]
