"""Judged evidence, whole: a judge's verdicts on every call, gold on few, a build that says what it rests on."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from tests.cli.conftest import TASK, shipped_gold, stepdown

pytestmark = pytest.mark.slow


def write_verdicts(path: Path, traffic: Path, gold: dict[str, str], judge: random.Random) -> list[str]:
    """A judge that is wrong on a tenth of the incumbent's answers; the ids that it saw."""
    ids = []
    with path.open("w", encoding="utf-8") as file:
        for line in traffic.read_bytes().splitlines():
            call = json.loads(line)
            answer = json.loads(call["response"]["choices"][0]["message"]["content"])["category"]
            wrong = answer != gold[call["id"]]
            said = not wrong if judge.random() < 0.1 else wrong
            file.write(json.dumps({"id": call["id"], "loss": float(said)}) + "\n")
            ids.append(call["id"])
    return ids


def test_a_judge_on_all_and_gold_on_few(traffic: Path, tmp_path: Path) -> None:
    gold = {row["id"]: row["gold"] for row in shipped_gold()}
    draw = random.Random(0)
    ids = write_verdicts(tmp_path / "verdicts.jsonl", traffic, gold, draw)
    with (tmp_path / "gold.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "gold"), *((name, gold[name]) for name in draw.sample(ids, 900))])
    files = (
        "--gold",
        str(tmp_path / "gold.csv"),
        "--gold-is",
        "random-sample",
        "--verdicts",
        str(tmp_path / "verdicts.jsonl"),
    )
    imported = stepdown("import", str(traffic), *files, "--home", str(tmp_path), "--json").json
    assert imported["verdicts"]["new"] == len(ids)
    asked = ("--against", "judged", "--margin", "0.1", "--budget", "15s", "--home", str(tmp_path), "--json")
    built = stepdown("build", TASK, *asked).json
    assert built["excess_loss"]["evidence"] == "judged"
    assert built["excess_loss"]["n"] > 900
    certificate = stepdown("certificate", "show", TASK, "--home", str(tmp_path), "--json").json
    assert certificate["verdict"] == "certified"
    assert not certificate["claims"][0]["asymptotic"]
    assert certificate["claims"][0]["method"].startswith("betting on rectified verdicts")
    assert stepdown("certificate", "verify", TASK, "--home", str(tmp_path), "--json").json["verified"]
