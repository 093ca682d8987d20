"""What every export format must do, for every kind of student that can be exported. Both are found by looking."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.batteries.test_students import ODD_TEXTS
from tests.batteries.trained import trained_folder
from tests.fixture_cache import KeptFolder

import stepdown
from stepdown.core import kinds
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import StepdownError, UsageError
from stepdown.core.exports import ExportedModel
from stepdown.core.inputs import Input, inputs_of
from stepdown.core.students import ArtefactManifest, Student
from stepdown.runtime.artefact import open_student, read_manifest, sha256
from stepdown.students.artefact import seal
from stepdown.students.exported_program import ProgramAnswer, ask
from stepdown.students.exporter import export_student, exporters
from stepdown.students.graphs import graphs
from stepdown.students.kinds import student_kinds

FORMATS = exporters().names()
KINDS = student_kinds().names()
FILLING = [kind for kind in KINDS if "extract" in student_kinds().load(kind).FAMILIES]
PAIRS = [(kind, name) for kind in KINDS for name in FORMATS]


@dataclass(frozen=True)
class Made:
    """One kind in one format, with its parent, and what both say to the same texts."""

    kind: str
    folder: Path
    model: ExportedModel
    parent: Student
    texts: list[str]
    said: ProgramAnswer


def export_one(kind: str, name: str, artefact: Path, folder: Path) -> ExportedModel:
    """An export of one rung that accepts everything."""
    folder.mkdir(parents=True)
    texts = student_kinds().load(kind).examples().texts[::9]
    model = export_student(artefact, name, folder, kind, [*texts, *ODD_TEXTS])
    write_program(folder, {kind: read_manifest(artefact).signal_names})
    return model


def write_program(folder: Path, named: Mapping[str, Sequence[str]]) -> None:
    """The program for rungs of these kinds, given with their signals; the first is its confidence."""
    rungs = []
    for kind, signals in named.items():
        weights = [1.0] + [0.0] * (len(signals) - 1)
        calibrator = {"weights": weights, "bias": 0.0, "squash": False, "knots": [], "levels": []}
        if "abstains" in signals:
            calibrator["abstains"] = signals.index("abstains")
        rungs.append({"folder": kind, "kind": kind, "artefact": "", "threshold": 0.0, "calibrator": calibrator})
    cascade = {"task": "t", "family": "f", "certified_until": None, "rungs": rungs}
    (folder / "cascade.json").write_bytes(canonical_json(cascade))
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    manifest = {"files": {name: sha256(folder / name) for name in names if name != "manifest.json"}}
    (folder / "manifest.json").write_bytes(canonical_json(manifest))


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def made(request: pytest.FixtureRequest, kept_folder: KeptFolder, tmp_path_factory: pytest.TempPathFactory) -> Made:
    kind, name = request.param
    pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
    artefact = trained_folder(kind, kept_folder)
    folder = tmp_path_factory.mktemp("export") / "model"
    model = export_one(kind, name, artefact, folder)
    texts = [*student_kinds().load(kind).examples().texts[::7], *ODD_TEXTS]
    return Made(kind, folder, model, open_student(artefact), texts, ask(folder, model.requires, texts)[0])


def test_it_answers_as_its_parent_does(made: Made) -> None:
    parent = made.parent.answer_many(inputs_of(made.texts))
    assert made.said.answers == parent.answers
    # One by one and in batches are the same code, whose sums may be taken in another order.
    np.testing.assert_allclose(made.said.signals, parent.signals, atol=1e-4)
    assert made.said.signals.tolist() == [list(made.parent.answer(Input(text))[1]) for text in made.texts]


def test_the_manifest_names_what_it_runs_on(made: Made) -> None:
    files = {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*.*") if path.is_file()}
    assert made.model.files.keys() == files - {"cascade.json", "manifest.json"}
    assert all(sha256(made.folder / name) == digest for name, digest in made.model.files.items())
    assert made.model.signal_names == tuple(made.parent.signal_names)
    assert not set(made.model.requires) & {"torch", "onnx", "stepdown", "scipy", "transformers"}


def test_its_code_is_what_serves_here(made: Made) -> None:
    served = Path(stepdown.__file__).parent
    copied = list((made.folder / "stepdown").rglob("*.py"))
    assert copied
    for path in copied:
        assert path.read_bytes() == (served / path.relative_to(made.folder / "stepdown")).read_bytes()
    rooms = {path.relative_to(made.folder / "stepdown").parts[0] for path in copied}
    assert rooms == {"__init__.py", "core", "runtime"}


def test_training_texts_stay(made: Made) -> None:
    assert not (made.folder / made.kind / "probes.json").exists()


def test_the_program_answers_by_itself(made: Made, tmp_path: Path) -> None:
    text = made.texts[0]
    rows = [{"id": 1, "input": text}, {"id": "x", "input": {"slot": "🙂"}}, {"id": 3, "input": " "}, {"nothing": 1}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    one, many = run(made.folder, text), run(made.folder, "--file", str(path))
    said = json.loads(one.stdout)
    answer, signals = made.parent.answer(Input(text))
    assert (said["answer"], said["rung"]) == (answer, made.kind)
    assert said["confidence"] == pytest.approx(signals[0], abs=1e-6)
    lines = [json.loads(line) for line in many.stdout.splitlines()]
    assert (one.returncode, many.returncode) == (0, 1)
    assert [line["id"] for line in lines] == [1, "x", 3]
    assert lines[0] == {"id": 1, **said}
    assert lines[2] == {"id": 3, "escalate": True, "confidence": 0.0}
    assert "line 4 is no row" in many.stderr


@pytest.fixture(scope="module", params=FILLING)
def strict(request: pytest.FixtureRequest, kept_folder: KeptFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact of a kind that fills in forms, whose form states a schema that not all of its answers fit."""
    pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
    folder = tmp_path_factory.mktemp("strict") / "artefact"
    shutil.copytree(trained_folder(request.param, kept_folder), folder)
    said = json.loads((folder / "form.json").read_bytes())
    closed, choice = _closed(request.param)
    said["form"]["schemas"] = {"": {"properties": {closed: {"const": choice}}, "required": [closed]}}
    manifest = read_manifest(folder)
    (folder / "form.json").write_bytes(canonical_json(said))
    seal(folder, msgspec.structs.replace(manifest, files={}))
    return folder


def _closed(kind: str) -> tuple[str, Any]:
    """A field of the kind's examples that has choices, and one of these."""
    form = student_kinds().load(kind).examples().form
    assert form is not None
    return next((field.name, field.choices[0]) for field in form.fields if field.choices)


@pytest.mark.parametrize("name", FORMATS)
def test_it_leaves_what_does_not_fit_its_schema_to_the_incumbent(strict: Path, tmp_path: Path, name: str) -> None:
    parent = open_student(strict)
    place = parent.signal_names.index("abstains")
    model = export_one(read_manifest(strict).kind, name, strict, tmp_path / "model")
    texts = [*student_kinds().load(model.kind).examples().texts[:40], *ODD_TEXTS]
    expected = parent.answer_many(inputs_of(texts))
    said = ask(tmp_path / "model", model.requires, texts)[0]
    assert "jsonschema" in model.requires
    assert said.answers == expected.answers
    np.testing.assert_array_equal(said.signals[:, place], expected.signals[:, place])
    closed, choice = _closed(model.kind)
    others = np.array([answer.get(closed) != choice for answer in expected.answers])
    assert others.sum() > 5
    assert (said.confidences[others] == 0.0).all()
    assert (said.confidences[:40][~others[:40]] > 0.0).any()


@pytest.mark.parametrize("name", FORMATS)
def test_rungs_of_all_kinds_share_a_program(name: str, tmp_path: Path, kept_folder: KeptFolder) -> None:
    pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
    artefacts = {kind: trained_folder(kind, kept_folder) for kind in KINDS}
    models = [export_student(artefact, name, tmp_path, kind, []) for kind, artefact in artefacts.items()]
    write_program(tmp_path, {kind: read_manifest(artefact).signal_names for kind, artefact in artefacts.items()})
    texts = ["can I take out Salt for Ada Moor, it is urgent", "when do you open?"]
    requires = sorted({package for model in models for package in model.requires})
    for artefact, said in zip(artefacts.values(), ask(tmp_path, requires, texts), strict=True):
        assert said.answers == open_student(artefact).answer_many(inputs_of(texts)).answers


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that is installed and names a kind "foreign", whose module needs another of the package."""
    site = tmp_path / "site"
    (site / "foreign-1.0.dist-info").mkdir(parents=True)
    (site / "foreign-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (site / "foreign-1.0.dist-info" / "entry_points.txt").write_text("[stepdown.student]\nforeign = foreign.kind\n")
    (site / "foreign").mkdir()
    (site / "foreign" / "__init__.py").write_text("")
    (site / "foreign" / "words.py").write_text("")
    (site / "foreign" / "kind.py").write_text(
        "from stepdown.core.students import NUMPY\nfrom . import words\nRUNTIME = NUMPY\n"
    )
    monkeypatch.syspath_prepend(site)
    kinds._third_party.cache_clear()
    yield
    kinds._third_party.cache_clear()


@pytest.mark.parametrize("name", FORMATS)
def test_a_kind_of_several_modules_is_refused_by_name(name: str, tmp_path: Path, foreign: None) -> None:
    """An export carries one module of a third party's."""
    artefact = tmp_path / "artefact"
    artefact.mkdir()
    manifest = ArtefactManifest(
        kind="foreign",
        task="t",
        family="classify",
        labels=("a", "b"),
        signal_names=("top",),
        files={},
        seed=1,
        trained_s=0.0,
        learned_from={},
        dataset_hash="",
    )
    seal(artefact, manifest)
    with pytest.raises(UsageError, match="The kind 'foreign' has no export"):
        export_student(artefact, name, tmp_path / "out", "1-foreign", [])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_says_what_it_is(name: str) -> None:
    assert exporters().load(name).FORMAT.endswith(".")


def test_onnx_has_a_graph_where_a_label_is_a_product_of_numbers(made: Made) -> None:
    if made.model.format != "onnx":
        assert "graph" not in made.model.facts
        return
    graph = made.model.facts["graph"]
    assert bool(graph) == (made.kind in graphs().names() or any(name.endswith(".onnx") for name in made.model.files))
    assert graph == "" or graph in made.model.files


@pytest.mark.parametrize("kind", graphs().names())
def test_a_graph_that_answers_otherwise_is_not_written(kind: str, tmp_path: Path, kept_folder: KeptFolder) -> None:
    """The graph is made of the artefact's files: here of one whose labels stand in another order."""
    pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
    folder = tmp_path / "artefact"
    shutil.copytree(trained_folder(kind, kept_folder), folder)
    manifest = read_manifest(folder)
    turned = msgspec.structs.replace(manifest, labels=manifest.labels[::-1])
    texts = student_kinds().load(kind).examples().texts[::9]
    with pytest.raises(StepdownError, match=f"{kind!r} answers row 0 of the comparison differently"):
        exporters().load("onnx").write(folder, turned, tmp_path / "model", texts)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-B", str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
