"""stepdown export: what leaves the house answers alike, or does not leave."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepdown.certificate.files import read_certificate
from stepdown.cli.commands import export as export_command
from stepdown.core import kinds
from stepdown.project.home import Home, open_home
from tests.cli import shaken_exporter
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import PHRASES, TASK

pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
FORMATS = ("onnx", "safetensors")


@pytest.fixture
def home(certified: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(certified, tmp_path / "home"))


@pytest.fixture
def shaken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A third party's format "shaken", found through its entry point."""
    point = importlib.metadata.EntryPoint("shaken", shaken_exporter.__name__, "stepdown.exporter")
    found = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [point] if group == point.group else found(group=group)
    )
    kinds._third_party.cache_clear()
    yield
    kinds._third_party.cache_clear()


def export(home: Path, to: Path, name: str, *more: str) -> Said:
    return stepdown("export", TASK, "--to", str(to), "--format", name, "--home", str(home), "--json", *more)


def attempts(home: Path) -> int:
    with sqlite3.connect(home / ".stepdown" / "store.sqlite") as database:
        query = "SELECT count(*) FROM events WHERE kind = 'certificate-attempted'"
        return int(database.execute(query).fetchone()[0])


def run(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), *arguments], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_answers_as_the_build_does_and_is_certified(home: Path, tmp_path: Path, name: str) -> None:
    before = attempts(home)
    done = export(home, tmp_path / "out", name)
    assert done.code == 0, done.err
    said = done.json
    assert (said["verdict"], said["differences"], said["format"]) == ("certified", [], name)
    assert said["rows"] > 300
    assert said["size_mb"] > 0
    assert said["rungs"][0]["latency_p50_ms"] > 0
    own = {"1-linear/weights.safetensors"} | ({"1-linear.onnx"} if name == "onnx" else set())
    assert {*own, "run.py", "cascade.json", "certificate.json", "model-card.md"} <= set(said["files"])
    assert ("1-linear.onnx" in said["files"]) == (name == "onnx")
    texts = [*(f"hello {phrase[1]} order 7" for phrase in PHRASES.values()), "ؤ 🙂", "", "what is this puzzle about?"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(at), "input": text}) + "\n" for at, text in enumerate(texts)))
    asked = stepdown("answer", TASK, "--file", str(rows), "--home", str(home), "--json")
    for parent, exported in zip(asked.out.splitlines(), run(tmp_path / "out", "--file", str(rows)), strict=True):
        expected = json.loads(parent)
        assert exported.get("answer") == expected["answer"]
        assert exported.get("escalate", False) == (expected["rung"] == "incumbent")
        assert exported["confidence"] == pytest.approx(expected["confidence"], abs=1e-4)
    certificate = read_certificate(tmp_path / "out" / "certificate.json")
    assert (certificate.verdict, certificate.attempt, attempts(home)) == ("certified", 1, before)
    assert certificate.digest == said["certificate"]
    assert stepdown("certificate", "verify", TASK, "--home", str(home), "--json").json["verified"]
    card = (tmp_path / "out" / "model-card.md").read_text(encoding="utf-8")
    assert f"exported to {name}" in card
    assert "**Certified.** In place of the incumbent, the cascade's excess loss" in card
    assert not list(tmp_path.glob(".*"))


def test_only_an_earlier_export_is_replaced_and_only_when_asked(home: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    to.mkdir()
    assert export(home, to, "onnx").code == 0
    again = export(home, to, "safetensors")
    assert (again.code, (to / "1-linear.onnx").exists()) == (2, True)
    assert "--force" in again.err
    assert export(home, to, "safetensors", "--force").code == 0
    assert not list(to.rglob("*.onnx"))
    (to / "mine.txt").write_text("keep")
    refused = export(home, to, "onnx", "--force")
    assert (refused.code, (to / "mine.txt").read_text()) == (2, "keep")
    assert "mine.txt" in refused.err


def test_an_export_that_answers_otherwise_is_refused_with_its_rows(
    home: Path, tmp_path: Path, shaken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shaken_exporter, "moved_by", 2.0)
    done = export(home, tmp_path / "out", "shaken", "--uncertified")
    assert done.code == 1
    said = done.json
    assert (said["verdict"], said["files"], said["folder"]) == ("refused", [], None)
    first = said["differences"][0]
    assert first["why"] in ("another answer", "across its threshold", "another confidence")
    assert first["id"] in done.err
    assert f"of {said['rows']} rows" in done.err
    kept = next(home.glob(f".stepdown/builds/{TASK}/0*/exports/differences.jsonl")).read_text(encoding="utf-8")
    assert [json.loads(line)["id"] for line in kept.splitlines()] == [each["id"] for each in said["differences"]]
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_another_function_that_decides_alike_spends_one_attempt_once(
    home: Path, tmp_path: Path, shaken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shaken_exporter, "moved_by", 1e-4)
    before = attempts(home)
    done = export(home, tmp_path / "out", "shaken")
    assert done.code == 0, done.err
    assert done.json["drift"] > 1e-5
    certificate = read_certificate(tmp_path / "out" / "certificate.json")
    assert (certificate.attempt, attempts(home)) == (before + 1, before + 1)
    assert certificate.error_share < 0.01
    assert export(home, tmp_path / "out", "shaken", "--force").code == 0
    assert read_certificate(tmp_path / "out" / "certificate.json").attempt == before + 1


def test_what_is_not_certified_leaves_only_when_that_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_two_months(folder: Path) -> Home:
        return replace(open_home(folder), clock=lambda: time.time() + 60 * 86400)

    monkeypatch.setattr(export_command, "open_home", in_two_months)
    refused = export(home, tmp_path / "out", "onnx")
    assert (refused.code, (tmp_path / "out").exists()) == (1, False)
    assert "lapsed" in refused.err
    assert "--uncertified" in refused.err
    done = export(home, tmp_path / "out", "onnx", "--uncertified")
    assert (done.code, done.json["verdict"]) == (0, "uncertified")
    assert not (tmp_path / "out" / "certificate.json").exists()
    assert "No certificate speaks of these files" in (tmp_path / "out" / "model-card.md").read_text(encoding="utf-8")


def test_wrong_usage_is_said_before_anything_is_made(home: Path, tmp_path: Path) -> None:
    unknown = export(home, tmp_path / "out", "onxx")
    assert (unknown.code, unknown.json["error"]["kind"]) == (2, "UnknownKind")
    assert "Did you mean 'onnx'?" in unknown.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert export(home, tmp_path / "full", "onnx").code == 2
    missing = stepdown(
        "export", "tickts", "--to", str(tmp_path / "o"), "--format", "onnx", "--home", str(home), "--json"
    )
    assert (missing.code, "Did you mean 'tickets'?" in missing.err) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "home"]
