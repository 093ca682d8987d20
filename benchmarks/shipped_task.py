"""The shipped task through the command line, as a user runs it: import, scan, build, answer; figures on untouched rows.

Three stories. "evidence": students learn from the incumbent's answers alone, and 2,000 gold labels, declared to be a
random sample, are evidence. "drawn": the same, but stepdown draws the calls and asks for labels where a student
differs. "learning": gold may be learned from. In both the published test calls (3,080) are never imported as traffic.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

DATA = Path(str(files("stepdown") / "demo_data"))
TASK = "banking-intent"


def main() -> None:
    """Print one line of JSON per story and budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", nargs="*", default=["evidence", "learning"])
    parser.add_argument("--budgets", nargs="*", default=["90s", "6m"])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for story in chosen.stories:
        for budget in chosen.budgets:
            print(json.dumps(run(story, budget, chosen.seed)), flush=True)


def run(story: str, budget: str, seed: int) -> dict[str, Any]:
    """One story in a fresh project folder."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        gold = read_gold()
        test = [row for row in gold if row["split"] == "test"]
        traffic, labels = home / "traffic.jsonl", home / "gold.csv"
        calls = write_traffic(traffic, {row["id"] for row in test})
        write_labels(labels, story, [row for row in gold if row["split"] != "test"], seed)
        declared = ["--gold-is", "random-sample"] if story == "evidence" else []
        seconds = {"import": timed(home, "import", str(traffic), "--gold", str(labels), *declared)[0]}
        seconds["scan"], scanned = timed(home, "scan", TASK)
        seconds["build"], built = timed(home, "build", TASK, "--budget", budget, "--seed", str(seed))
        if story == "drawn":
            answer_labels(home, {row["id"]: row["gold"] for row in gold})
            seconds["build again"], built = timed(home, "build", TASK, "--budget", budget, "--seed", str(seed))
        answers = answer_all(home, [(row["id"], calls[row["id"]]["text"]) for row in test])
        figures = judge(answers, calls, test)
    kept = (
        "verdict",
        "evidence",
        "offload",
        "excess_loss",
        "cost_per_1k",
        "incumbent_cost_per_1k",
        "latency_p50_ms",
        "rungs",
    )
    return {
        "story": story,
        "budget": budget,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "scan": scanned["verdict"],
        **{name: built[name] for name in kept},
        "students": [{**one, "error": one["error"] and round(one["error"], 4)} for one in built["students"]],
        "test": figures,
    }


def read_gold() -> list[dict[str, str]]:
    with gzip.open(DATA / "gold.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_traffic(path: Path, held_out: set[str]) -> dict[str, dict[str, Any]]:
    """The calls that are not held out go to `path`; every call's text and incumbent answer is returned by id."""
    seen: dict[str, dict[str, Any]] = {}
    with gzip.open(DATA / "traffic.jsonl.gz", "rb") as file, path.open("wb") as out:
        for line in file:
            call = json.loads(line)
            prompt = call["request"]["messages"][0]["content"]
            text = prompt.split("New Question: ", 1)[1].rsplit("\n\n====", 1)[0]
            content = json.loads(call["response"]["choices"][0]["message"]["content"])
            seen[call["id"]] = {"text": text, "answer": content["category"]}
            if call["id"] not in held_out:
                out.write(line)
    return seen


def write_labels(path: Path, story: str, rows: list[dict[str, str]], seed: int) -> None:
    """All labels with their splits to learn from, or 2,000 at random that are evidence and nothing else."""
    if story == "drawn":
        rows = []
    if story == "evidence":
        rows = [{**row, "split": "certify"} for row in random.Random(seed).sample(rows, 2000)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("id", "gold", "split"))
        writer.writeheader()
        writer.writerows(rows)


def answer_labels(home: Path, gold: dict[str, str]) -> None:
    """Fill in the file of the build that waits for labels, as a person would, and import it."""
    asked = max(home.glob(".stepdown/builds/*/*/labels-to-fill-in.csv"))
    with asked.open(newline="", encoding="utf-8") as file:
        rows = [{"id": row["id"], "gold": gold[row["id"]]} for row in csv.DictReader(file)]
    with (home / "labelled.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ("id", "gold"))
        writer.writeheader()
        writer.writerows(rows)
    timed(home, "import", "--gold", str(home / "labelled.csv"))


def timed(home: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
    """Seconds of one command with its start, and the JSON it printed."""
    started = time.monotonic()
    command = [sys.executable, "-m", "stepdown", *arguments, "--home", str(home), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=arguments[0] != "build")
    return time.monotonic() - started, json.loads(done.stdout)


def answer_all(home: Path, rows: list[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    path = home / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": name, "input": text}) + "\n" for name, text in rows), encoding="utf-8")
    command = [sys.executable, "-m", "stepdown", "answer", TASK, "--file", str(path), "--home", str(home), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}


def judge(
    answers: dict[str, dict[str, Any]], calls: dict[str, dict[str, Any]], test: list[dict[str, str]]
) -> dict[str, float]:
    """What a client gets on the test calls, against gold, beside the incumbent."""
    right = incumbent = local = 0
    for row in test:
        given, theirs = answers[row["id"]], calls[row["id"]]["answer"]
        escalated = given["rung"] == "incumbent"
        local += not escalated
        right += (theirs if escalated else given["answer"]) == row["gold"]
        incumbent += theirs == row["gold"]
    n = len(test)
    return {
        "n": n,
        "accuracy": round(right / n, 4),
        "incumbent_accuracy": round(incumbent / n, 4),
        "excess_loss": round((incumbent - right) / n, 4),
        "offload": round(local / n, 4),
    }


if __name__ == "__main__":
    main()
