"""The main job through the command line, on real traffic, with real students."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.errors import TamperedError
from tests.cli.conftest import ROWS, TASK, shipped_gold, stepdown

pytestmark = pytest.mark.slow

Built = tuple[Path, dict[str, Any]]

BUILD_KEYS = {
    "verdict",
    "reasons",
    "offload",
    "excess_loss",
    "cost_per_1k",
    "incumbent_cost_per_1k",
    "latency_p50_ms",
    "latency_p95_ms",
    "rungs",
    "students",
    "labels_needed",
    "evidence",
}


def test_a_build_says_everything_that_scripts_rely_on(built: Built) -> None:
    _, said = built
    assert said.keys() >= BUILD_KEYS
    assert said["excess_loss"].keys() == {"estimate", "bound", "margin", "confidence", "evidence", "n"}
    assert all(rung.keys() == {"kind", "threshold", "size_mb"} for rung in said["rungs"])
    keys = {"kind", "error", "agreement", "latency_p50_ms", "size_mb", "trained_s"}
    assert said["students"]
    assert all(student.keys() >= keys for student in said["students"])


def test_a_student_taught_by_gold_beats_the_incumbent_and_is_certified(built: Built) -> None:
    _, said = built
    assert said["verdict"] == "certified"
    assert said["offload"] > 0.5
    assert said["excess_loss"]["estimate"] <= said["excess_loss"]["bound"] <= said["excess_loss"]["margin"]
    assert 0 < said["cost_per_1k"] < said["incumbent_cost_per_1k"]


def test_answers_come_in_order_and_are_mostly_right(built: Built, tmp_path: Path) -> None:
    home, _ = built
    gold = {row["id"]: row["gold"] for row in shipped_gold()}
    rows = [("b77-12000-test", "Where is my new card?"), ("x", ""), (7, "ما هذا؟ 🏦"), ("y", "pin " * 3000)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": name, "input": text}) + "\n" for name, text in rows))
    said = stepdown("answer", TASK, "--file", str(path), "--home", str(home), "--json")
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [row["id"] for row in answers] == [name for name, _ in rows]
    assert all(row.keys() == {"id", "answer", "confidence", "rung"} for row in answers)
    assert all((row["answer"] is None) == (row["rung"] == "incumbent") for row in answers)
    assert all(row["answer"] is None or row["answer"] in gold.values() for row in answers)


def test_one_text_is_answered(built: Built) -> None:
    home, _ = built
    said = stepdown("answer", TASK, "How do I activate my card?", "--home", str(home), "--json")
    assert said.code == 0
    assert said.json["answer"] in (None, "activate_my_card")


def test_tasks_cut_the_query_out_of_the_prompt(built: Built) -> None:
    home, _ = built
    found = stepdown("tasks", "--home", str(home), "--json").json
    assert [one["task"]["name"] for one in found] == [TASK]
    assert found[0]["calls"] == ROWS
    assert found[0]["task"]["answer"] == "$.category"
    slots = [part for message in found[0]["task"]["template"]["messages"] for part in message["parts"] if part["slot"]]
    assert len(slots) == 1


def test_the_certificate_verifies_until_something_changes(built: Built, tmp_path: Path) -> None:
    home = tmp_path / "copy"
    shutil.copytree(built[0], home)
    assert stepdown("certificate", "verify", TASK, "--home", str(home), "--json").json["verified"]
    shown = stepdown("certificate", "show", TASK, "--home", str(home))
    assert "95" in shown.out
    evidence = next(home.glob(".stepdown/builds/*/0*/evidence.jsonl"))
    evidence.write_bytes(evidence.read_bytes().replace(b'"losses":[0.0', b'"losses":[1.0', 1))
    said = stepdown("certificate", "verify", TASK, "--home", str(home))
    assert said.code == TamperedError.exit_code
    assert "evidence" in said.err


@pytest.mark.parametrize("victim", ["artefact", "cascade.json", "certificate.json"])
def test_tampering_is_refused_by_name(built: Built, tmp_path: Path, victim: str) -> None:
    home = tmp_path / "copy"
    shutil.copytree(built[0], home)
    if victim == "artefact":
        rung = json.loads(next(home.glob(".stepdown/builds/*/0*/cascade.json")).read_bytes())["rungs"][0]["artefact"]
        folder = home / ".stepdown" / "artefacts" / rung
        path = max((each for each in folder.iterdir() if each.name != "manifest.json"), key=lambda p: p.stat().st_size)
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        name = path.name
    else:
        path = next(home.glob(f".stepdown/builds/*/0*/{victim}"))
        path.write_bytes(path.read_bytes().replace(b'"threshold":', b'"threshold":0.000', 1))
        name = victim.split(".", maxsplit=1)[0]
    said = stepdown("answer", TASK, "hello", "--home", str(home))
    assert said.code == 1
    assert name in said.err
    assert "Traceback" not in said.err


def test_building_again_reuses_the_students_and_spends_no_evidence(built: Built) -> None:
    home, first = built
    again = stepdown(
        "build", TASK, "--kinds", "linear,token_cnn", "--budget", "60s", "--home", str(home), "--json"
    ).json
    assert [one["trained_s"] for one in again["students"]] == [one["trained_s"] for one in first["students"]]
    assert again["rungs"] == first["rungs"]
    shown = stepdown("certificate", "show", TASK, "--home", str(home), "--json").json
    assert shown["attempt"] == 1


def test_another_contract_on_the_same_evidence_is_another_attempt(built: Built, tmp_path: Path) -> None:
    home = tmp_path / "copy"
    shutil.copytree(built[0], home)
    said = stepdown(
        "build",
        TASK,
        "--kinds",
        "linear,token_cnn",
        "--budget",
        "60s",
        "--margin",
        "0.01",
        "--home",
        str(home),
        "--json",
    ).json
    assert said["excess_loss"]["margin"] == 0.01
    assert stepdown("certificate", "show", TASK, "--home", str(home), "--json").json["attempt"] == 2


def test_without_gold_agreement_is_refused_or_certified_with_reasons(traffic: Path, tmp_path: Path) -> None:
    stepdown("import", str(traffic), "--home", str(tmp_path))
    asked = ("build", TASK, "--budget", "15s", "--home", str(tmp_path), "--json")
    said = stepdown(*asked).json
    assert said["verdict"] == "refused"
    assert said["evidence"]["attempt"] == 0
    assert said["offload"] == 0.0
    assert said["labels_needed"] > 0
    labels = next(tmp_path.glob(".stepdown/builds/*/0*/labels-to-fill-in.csv"))
    assert labels.read_text(encoding="utf-8").startswith("id,input,gold")
    agreed = stepdown(*asked, "--against", "agreement").json
    assert agreed["excess_loss"]["evidence"] == "agreement"
    assert agreed["reasons"]


def test_the_report_status_and_scan(built: Built, tmp_path: Path) -> None:
    home, _ = built
    page = tmp_path / "report.html"
    assert stepdown("report", TASK, "--to", str(page), "--home", str(home)).code == 0
    assert "<h1" in page.read_text(encoding="utf-8")
    status = stepdown("status", "--home", str(home), "--json").json
    assert status["calls"] == ROWS
    assert [(one["task"], one["stands"]) for one in status["tasks"]] == [(TASK, "")]
    scanned = stepdown("scan", TASK, "--home", str(home), "--json").json
    assert scanned["verdict"] in ("step down", "look closer", "use an SLM for these labels only")
    assert scanned["dimensions"]
