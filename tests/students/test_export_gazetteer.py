"""A CRF student that only copies, or only chooses, leaves the house as well; so does one that reads lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.batteries.test_exporters import FORMATS, export_one

from stepdown.core.extraction.answers import flat, nested
from stepdown.core.inputs import Input, inputs_of
from stepdown.core.students import TrainingContext
from stepdown.runtime.artefact import open_student
from stepdown.students.exported_program import ask
from stepdown.students.patterns.options import Options
from stepdown.students.tiny_extraction import tiny_extraction
from stepdown.students.train import train_student

pytestmark = pytest.mark.slow

pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
pytest.importorskip("scipy", reason="training needs the extra 'train'")
FIELDS = {
    "copied": ("book.titles", "member"),
    "chosen": ("action", "branch", "urgent"),
    "both": ("action", "book.titles", "branch", "member"),
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_it_answers_as_its_parent_does(tmp_path: Path, fields: tuple[str, ...]) -> None:
    data = tiny_extraction()
    assert data.form is not None
    form = msgspec.structs.replace(data.form, fields=tuple(each for each in data.form.fields if each.name in fields))
    targets = [
        nested({name: value for name, value in flat(target).items() if name in fields})
        for target in data.targets
        if isinstance(target, dict)
    ]
    # Of several lines, so that words of other lines count too.
    texts = [f"desk {place % 3}\n{text}" for place, text in enumerate(data.texts)]
    folder = tmp_path / "artefact"
    folder.mkdir()
    context = TrainingContext(folder, tmp_path, 7, 60.0, 1, lambda what, share: None)
    train_student(
        "crf",
        replace(data, form=form, targets=targets, inputs=inputs_of(texts)),
        Options(epochs=3, iterations=10),
        context,
    )
    parent = open_student(folder)
    asked = [*texts[::9], *data.texts[::60], "", " \n ", "🙂", "Salt\n\nSalt", "salt " * 600, "ab" * 11_000]
    expected = parent.answer_many(inputs_of(asked))
    assert parent.answer(Input(asked[0]))[0]
    for name in FORMATS:
        model = export_one("crf", name, folder, tmp_path / name)
        said = ask(tmp_path / name, model.requires, asked)[0]
        assert said.answers == expected.answers
        np.testing.assert_allclose(said.signals, expected.signals, atol=1e-6)
