"""Documents through the command line: invoices in four languages, from import to an exported program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.documents import NAME, Document, documents, write

from tests.cli.conftest import stepdown

pytestmark = pytest.mark.slow

EACH = 60
"""Documents of each layout."""


@pytest.fixture(scope="module")
def invoices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Document]]:
    """A project whose invoices were built and certified, and all documents that there are."""
    home = tmp_path_factory.mktemp("invoices")
    found = documents(EACH, 0)
    calls, gold = write(found, home)
    settings = (home / "stepdown.toml").read_text()
    (home / "stepdown.toml").write_text(settings.replace("margin = 0.03", "margin = 0.05"))
    read = stepdown("import", str(calls), "--gold", str(gold), "--gold-is", "random-sample", "--home", str(home))
    assert read.code == 0, read.err
    built = stepdown("build", NAME, "--budget", "90s", "--home", str(home), "--json")
    assert built.code == 0, built.err
    assert built.json["verdict"] == "certified"
    assert built.json["offload"] >= 0.6
    return home, found


def _answers(home: Path, rows: list[Document]) -> list[dict[str, Any]]:
    path = home / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": one.id, "input": one.text}) + "\n" for one in rows))
    said = stepdown("answer", NAME, "--file", str(path), "--home", str(home), "--json")
    return [json.loads(line) for line in said.out.splitlines()]


def test_the_tasks_say_what_could_be_learned_of_each_field(invoices: tuple[Path, list[Document]]) -> None:
    home, _ = invoices
    said = stepdown("tasks", "--home", str(home))
    assert said.code == 0, said.err
    text = " ".join(said.out.split())
    assert "could be learned whole: 9" in text
    assert "else invoice_date and the terms of payment" in text
    assert "else total - net" in text
    (found,) = stepdown("tasks", "--home", str(home), "--json").json
    shares = {field["name"]: field["share"] for field in found["outlook"]["fields"]}
    assert found["outlook"]["share"] > 0.85
    assert min(shares.values()) > 0.9
    assert set(shares) == {field["name"] for field in found["task"]["form"]["fields"]}


def test_seen_layouts_are_answered_and_right(invoices: tuple[Path, list[Document]]) -> None:
    home, found = invoices
    rows = [one for one in found if one.split == "test"]
    given = [
        (each["answer"], row.gold)
        for each, row in zip(_answers(home, rows), rows, strict=True)
        if each["answer"] is not None
    ]
    assert len(given) >= 0.6 * len(rows)
    assert sum(answer == gold for answer, gold in given) >= 0.9 * len(given)


def test_unseen_layouts_are_right_or_left_to_the_large_model(invoices: tuple[Path, list[Document]]) -> None:
    home, found = invoices
    rows = [one for one in found if one.split == "unseen"]
    wrong = [
        row.id
        for each, row in zip(_answers(home, rows), rows, strict=True)
        if each["answer"] is not None and each["answer"] != row.gold
    ]
    assert len(wrong) <= 0.05 * len(rows), wrong


def test_a_document_whose_amounts_contradict_one_another_is_left(invoices: tuple[Path, list[Document]]) -> None:
    home, found = invoices
    rows = [one for one in found if one.split == "test" and one.layout == "swiss"]
    (first, *_) = (row for row, each in zip(rows, _answers(home, rows), strict=True) if each["answer"])
    written = f"{first.gold['total']:,.2f}".replace(",", "'")
    assert written in first.text
    changed = Document(**{**vars(first), "text": first.text.replace(written, "7'777'777.77")})
    assert _answers(home, [changed])[0]["answer"] is None


def test_the_exported_program_answers_alike(invoices: tuple[Path, list[Document]], tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="exporting needs the extra 'train'")
    home, found = invoices
    said = stepdown("export", NAME, "--to", str(tmp_path / "model"), "--format", "onnx", "--home", str(home))
    assert said.code == 0, said.err
    rows = found[::25]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": one.id, "input": one.text}) + "\n" for one in rows))
    program = next((tmp_path / "model").rglob("run.py"))
    ran = subprocess.run(
        [sys.executable, str(program), "--file", str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    exported = {each["id"]: each for each in map(json.loads, ran.stdout.splitlines())}
    for served in _answers(home, rows):
        assert exported[served["id"]].get("answer") == served["answer"]


def test_the_report_says_how_fields_follow(invoices: tuple[Path, list[Document]], tmp_path: Path) -> None:
    home, _ = invoices
    page = tmp_path / "report.html"
    assert stepdown("report", NAME, "--to", str(page), "--home", str(home)).code == 0
    assert "else invoice_date and the terms of payment" in page.read_text(encoding="utf-8")
