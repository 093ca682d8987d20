"""stepdown export of a cascade with more than one rung: a folder for each, one program for all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stepdown.build.measured_students import MeasuredStudents
from stepdown.certificate import path
from stepdown.certificate.files import read_certificate
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.observations import outcome
from tests.cli.conftest import stepdown
from tests.cli.test_export import FORMATS, attempts, export, run
from tests.cli.tickets import PHRASES, TASK, ticket
from tests.fixture_cache import KeptFolder
from tests.gateway.serving import puzzle

pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
KINDS = ["linear", "token_cnn"]
FOLDERS = [f"{place}-{kind}" for place, kind in enumerate(KINDS, start=1)]


@pytest.fixture(scope="module")
def two_rungs(certified: Path, kept_folder: KeptFolder) -> Path:
    """The tickets built again from the same students, both of them in the cascade though it does not pay."""
    return kept_folder("two-rungs", build_two_rungs, certified)


def build_two_rungs(home: Path, certified: Path) -> None:
    shutil.copytree(certified, home, dirs_exist_ok=True)

    def both(walk: path.Walk, tuning: path.Tuning, prospects: PathForecast) -> tuple[path.Walk, list[str]]:
        """The first rung keeps what it is surest of, about half; the path goes down the second one's confidences."""
        seen, sure = tuning.seen.students((0, 1)), tuning.confidences[[0, 1]]
        half = round(float(np.median(sure[0])), 6)
        at = tuple((half, level) for level in path._levels(sure[1]))
        found = tuple(outcome(seen, sure, each) for each in at)
        savings = np.array([prospects.saving(each) for each in found])
        chances = np.array([prospects.chance(each) for each in found])
        return path.Walk((0, 1), at, found, savings, chances), ["Both were asked for."]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MeasuredStudents, "kept", property(lambda measured: [0, 1]))
        patched.setattr(path, "_more_rungs", both)
        built = stepdown(
            "build", TASK, "--kinds", "linear,token_cnn", "--budget", "240s", "--home", str(home), "--json"
        )
    assert built.code == 0, built.err


@pytest.mark.parametrize("name", FORMATS)
def test_every_rung_has_a_folder_and_is_asked_in_turn(two_rungs: Path, tmp_path: Path, name: str) -> None:
    home = Path(shutil.copytree(two_rungs, tmp_path / "home"))
    before, out = attempts(home), tmp_path / "out"
    done = export(home, out, name)
    assert done.code == 0, done.err
    said = done.json
    assert (said["verdict"], said["differences"]) == ("certified", [])
    assert [rung["kind"] for rung in said["rungs"]] == KINDS
    assert sorted(each.name for each in out.iterdir() if each.is_dir()) == [*FOLDERS, "stepdown"]
    assert all((out / folder / "manifest.json").is_file() for folder in FOLDERS)
    assert all((out / f"{folder}.onnx").is_file() == (name == "onnx") for folder in FOLDERS)
    assert {f"stepdown/runtime/kinds/{kind}.py" for kind in KINDS} <= set(said["files"])
    certificate = read_certificate(out / "certificate.json")
    assert (certificate.digest, attempts(home)) == (said["certificate"], before)
    puzzles = [puzzle(number) for number in range(20)]
    texts = [
        *puzzles,
        *(ticket(number)["request"]["messages"][1]["content"] for number in range(60)),
        *sorted(PHRASES),
        "",
        "ؤ 🙂",
    ]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(at), "input": text}) + "\n" for at, text in enumerate(texts)))
    asked = stepdown("answer", TASK, "--file", str(rows), "--home", str(home), "--json")
    answered = run(out, "--file", str(rows))
    for parent, exported in zip(map(json.loads, asked.out.splitlines()), answered, strict=True):
        assert exported.get("answer") == parent["answer"]
        assert exported.get("rung", "incumbent") == parent["rung"]
        assert exported["confidence"] == pytest.approx(parent["confidence"], abs=1e-4)
    assert {one.get("rung") for one in answered} == {*KINDS, None}


def test_a_rung_that_is_missing_is_said(two_rungs: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(two_rungs, tmp_path / "home"))
    record = json.loads(max(home.glob(f".stepdown/builds/{TASK}/0*/record.json")).read_bytes())
    static = next(one["artefact"] for one in record["students"] if one["kind"] == "token_cnn")
    shutil.rmtree(home / ".stepdown" / "artefacts" / static)
    refused = export(home, tmp_path / "out", "onnx")
    assert refused.code != 0
    assert static[:12] in refused.err
    assert not (tmp_path / "out").exists()
