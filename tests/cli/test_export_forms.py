"""stepdown export of a build whose answers have fields: JSON objects, and calls of tools."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stepdown.certificate.files import read_certificate
from tests.cli.bookings import TASK, Shape, booking
from tests.cli.conftest import stepdown
from tests.cli.test_export import FORMATS, run

pytestmark = pytest.mark.slow

pytest.importorskip("onnx", reason="exporting needs the extra 'train'")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", ["json", "tools"])
def test_an_export_fills_in_the_form_as_the_build_does(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, shape: Shape
) -> None:
    built = request.getfixturevalue("booked" if shape == "json" else "booked_by_tools")
    home = Path(shutil.copytree(built, tmp_path / "home"))
    out = tmp_path / "out"
    done = stepdown("export", TASK, "--to", str(out), "--format", name, "--home", str(home), "--json")
    assert done.code == 0, done.err
    said = done.json
    assert (said["verdict"], said["differences"], said["rungs"][0]["kind"]) == ("certified", [], "crf")
    assert read_certificate(out / "certificate.json").digest == said["certificate"]
    # The requests state a schema, so that its answers are held against it.
    assert "jsonschema" in json.loads((out / "manifest.json").read_bytes())["requires"]
    texts = [*(booking(number, shape)[0] for number in range(2_000, 2_060)), "", "ؤ 🙂", "Table for two.\nHugo"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(at), "input": text}) + "\n" for at, text in enumerate(texts)))
    asked = stepdown("answer", TASK, "--file", str(rows), "--home", str(home), "--json")
    answered = run(out, "--file", str(rows))
    for parent, exported in zip(map(json.loads, asked.out.splitlines()), answered, strict=True):
        assert exported.get("answer") == parent["answer"]
        assert exported.get("escalate", False) == (parent["rung"] == "incumbent")
        assert exported["confidence"] == pytest.approx(parent["confidence"], abs=1e-4)
    assert sum("answer" in each for each in answered) > 20
