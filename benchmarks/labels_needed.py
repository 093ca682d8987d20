"""How many labels a certificate takes, where every drawn call is labelled and where only those are on which a student
differs from the incumbent; and what agreement alone certifies on the answers of DeepSeek.

    python -m benchmarks.labels_needed [--tasks shipped clinc150 deepseek] [--budget 90s] [--agreement-budget 6m]

Each task is built through the command line: students learn from the incumbent's answers alone, and the whole draw is
labelled afterwards. Then its evidence is put in 40 random orders, and for each the least number of calls is sought at
which the certificate offloads at least nine tenths of what the whole draw certifies. On clinc150 the recorded incumbent
is the data's own annotation. The published test calls of banking77 are never imported.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.certificate.certify import Issue, issue_certificate
from stepdown.certificate.evidence import Evidence
from stepdown.certificate.evidence_file import read_evidence
from stepdown.certificate.hashes import read_contract
from stepdown.certificate.ledger import Attempt
from stepdown.certificate.refusal import needed_labels
from stepdown.core.contract import Contract
from stepdown.project.evidence_draws import read_draws
from stepdown.project.home import open_home
from stepdown.stats.spending import attempt_error

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ORDERS = 40
ENOUGH = 0.9
STEPS = (100, 150, 200, 300, 400, 500, 600, 800, 1000, 1250, 1500, 1750, 2000, 2500, 3000)


def main() -> None:
    """One line of JSON per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", default=["shipped", "clinc150", "deepseek", "agreement"])
    parser.add_argument("--budget", default="90s")
    parser.add_argument("--agreement-budget", default="6m")
    parser.add_argument("--margin", type=float, default=0.03)
    chosen = parser.parse_args()
    for name in chosen.tasks:
        if name == "agreement":
            print(json.dumps(agreement(chosen.agreement_budget, chosen.margin)), flush=True)
        else:
            print(json.dumps({"task": name, **labels(name, chosen.budget)}), flush=True)


def labels(name: str, budget: str) -> dict[str, Any]:
    """Build a task whose whole draw is labelled, and count."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = [row for row in ROWS[name]() if row["split"] != "test"]
        write_calls(home / "traffic.jsonl", rows)
        run(home, "import", "traffic.jsonl")
        run(home, "build", "task", "--budget", budget)  # waits for labels
        with open_home(home).store() as store:
            draw = read_draws(store, "task")[-1]
        write_gold(home / "gold.csv", [row for row in rows if draw.place(row["id"]) is not None])
        run(home, "import", "--gold", "gold.csv")
        built = run(home, "build", "task", "--budget", budget)
        evidence = read_evidence(max((home / ".stepdown" / "builds" / "task").glob("0*/evidence.jsonl")))
        found = count(evidence)
    return {"verdict": built["verdict"], "offload": built["offload"], "rungs": built["rungs"], **found}


def count(evidence: Evidence) -> dict[str, Any]:
    """The median number of calls, and of labels, over random orders of the evidence."""
    contract = Contract(margin=0.02)
    goal = ENOUGH * offload(evidence, contract)
    calls, needed = [], []
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(evidence.n)
        for size in (step for step in (*STEPS, evidence.n) if step <= evidence.n):
            part = beginning(evidence, order[:size])
            if offload(part, contract) >= goal:
                calls.append(size)
                needed.append(int(needed_labels(part)[0].sum()))
                break
    return {
        "drawn": evidence.n,
        "whole_offload": round(goal / ENOUGH, 4),
        "labels_every_call": float(np.median(calls)),
        "labels_where_they_differ": float(np.median(needed)),
        "share": round(float(np.median(needed) / np.median(calls)), 3),
        "orders": ORDERS,
    }


def beginning(evidence: Evidence, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Evidence:
    """Evidence of fewer rows, without gold where a student agrees with the incumbent at every point."""
    part = Evidence(
        evidence.candidate,
        evidence.seen.rows(rows),
        evidence.confidences[:, rows],
        tuple(evidence.keys[row] for row in rows),
        replace(evidence.terms, stages=()),
    )
    differs, _ = needed_labels(part)
    seen = part.seen
    bare = replace(
        seen,
        losses=np.where(differs[None, :], seen.losses, np.nan),
        incumbent_loss=np.where(differs, seen.incumbent_loss, np.nan),
    )
    return replace(part, seen=bare)


def offload(evidence: Evidence, contract: Contract) -> float:
    """What a first attempt certifies, 0 where it is refused."""
    spent = Attempt(number=1, error_share=attempt_error(1.0 - contract.confidence, 1))
    certificate = issue_certificate(evidence, contract, spent, "", Issue(at=0.0))
    assert read_contract(certificate.contract) is not None
    return certificate.offload if certificate.verdict == "certified" else 0.0


def agreement(budget: str, margin: float) -> dict[str, Any]:
    """DeepSeek's answers alone: agreement of at least 1 − margin, certified; escalated and agreed on the test calls."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = list(deepseek())
        write_calls(home / "traffic.jsonl", [row for row in rows if row["split"] != "test"])
        (home / "stepdown.toml").write_text(f'[tasks.task.contract]\nmargin = {margin}\nagainst = "agreement"\n')
        run(home, "import", "traffic.jsonl")
        built = run(home, "build", "task", "--budget", budget)
        test = [row for row in rows if row["split"] == "test"]
        lines = [json.dumps({"id": row["id"], "input": row["text"]}) for row in test]
        (home / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        answers = run_lines(home, "answer", "task", "--file", "rows.jsonl")
    said = {one["id"]: one for one in answers}
    escalated = [said[row["id"]]["rung"] == "incumbent" for row in test]
    agrees = [out or said[row["id"]]["answer"] == row["answer"] for out, row in zip(escalated, test, strict=True)]
    return {
        "task": "deepseek, agreement",
        "margin": margin,
        "verdict": built["verdict"],
        "reasons": built["reasons"],
        "evidence": built["evidence"],
        "offload": built["offload"],
        "rungs": built["rungs"],
        "seconds": built["seconds"],
        "test": {"n": len(test), "escalated": round(np.mean(escalated), 4), "agreement": round(np.mean(agrees), 4)},
    }


def shipped() -> Iterator[dict[str, Any]]:
    """The incumbent's answers alone are learned from: gold says who is right."""
    folder = SHARED / "banking77_qwen3"
    for call, gold in with_gold(folder):
        prompt = call["request"]["messages"][0]["content"]
        text = prompt.split("New Question: ", 1)[1].rsplit("\n\n====", 1)[0]
        answer = json.loads(call["response"]["choices"][0]["message"]["content"])["category"]
        yield row_of(call["id"], text, answer, gold)


def deepseek() -> Iterator[dict[str, Any]]:
    for call, gold in with_gold(SHARED / "banking77_deepseek"):
        text = call["request"]["messages"][-1]["content"]
        yield row_of(call["id"], text, call["response"]["choices"][0]["message"]["content"].strip(), gold)


def clinc150() -> Iterator[dict[str, Any]]:
    data = json.loads((SHARED / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    for split in ("train", "val", "oos_train", "oos_val"):
        for number, (text, label) in enumerate(data[split]):
            yield row_of(f"{split}-{number}", text, label, {"gold": label, "split": ""})


ROWS = {"shipped": shipped, "clinc150": clinc150, "deepseek": deepseek}


def with_gold(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    with (folder / "gold.csv").open(newline="", encoding="utf-8") as file:
        gold = {row["id"]: row for row in csv.DictReader(file)}
    with gzip.open(folder / "traffic.jsonl.gz") as lines:
        for line in lines:
            call = json.loads(line)
            yield call, gold[call["id"]]


def row_of(name: str, text: str, answer: str, gold: dict[str, str]) -> dict[str, Any]:
    return {"id": name, "text": text, "answer": answer, "gold": gold["gold"], "split": gold["split"]}


def write_calls(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            request = {"model": "m", "messages": [{"role": "user", "content": f"Sort this message: {row['text']}"}]}
            message = {"role": "assistant", "content": row["answer"]}
            response = {"model": "m", "choices": [{"index": 0, "message": message}]}
            call = {"id": row["id"], "workload_id": "task", "request": request, "response": response}
            file.write(json.dumps(call) + "\n")


def write_gold(path: Path, rows: list[dict[str, Any]]) -> None:
    """Gold for every call, with no split: it is evidence where it is drawn."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "gold"))
        writer.writerows((row["id"], row["gold"]) for row in rows)


def run(home: Path, *arguments: str) -> dict[str, Any]:
    """A command's JSON; a refusal is a result."""
    return dict(json.loads(output(home, *arguments)))


def run_lines(home: Path, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output(home, *arguments).splitlines()]


def output(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "stepdown", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=home, check=False, text=True)
    if not done.stdout:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode} and printed nothing.")
    return done.stdout


if __name__ == "__main__":
    main()
