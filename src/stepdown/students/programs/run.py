"""Answers texts with the models beside this file: the first model that is sure enough answers, else nobody does.

    python run.py "a text"               prints {"answer", "confidence", "rung"}, or {"escalate": true, "confidence"}
    python run.py --file rows.jsonl      the same for every row {"id", "input"}, with its id
    python run.py --insist "a text"      the surest model's answer where none is sure enough

It needs what manifest.json lists under "requires", and nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load(folder: Path = HERE) -> tuple[dict[str, Any], list[Any]]:
    """The cascade's description, and its models in the same order as its rungs."""
    cascade = json.loads((folder / "cascade.json").read_text(encoding="utf-8"))
    sys.path.insert(0, str(folder))
    models = []
    for rung in cascade["rungs"]:
        settings = json.loads((folder / rung["folder"] / "model.json").read_text(encoding="utf-8"))
        program = importlib.import_module(f"models.{settings['program']}")
        models.append(program.Model(folder / rung["folder"], settings))
    return cascade, models


def confidence(calibrator: dict[str, Any], signals: tuple[float, ...]) -> float:
    """The calibrated probability that an answer with these signals is right; 0 where the model itself abstains."""
    if "abstains" in calibrator and signals[calibrator["abstains"]] >= 0.5:
        return 0.0
    score: float = calibrator["bias"] + 0.0
    for weight, signal in zip(calibrator["weights"], signals, strict=True):
        score += weight * signal
    knots, levels = calibrator["knots"], calibrator["levels"]
    if knots:
        above = bisect_right(knots, score)
        if above in (0, len(knots)):
            return float(levels[min(above, len(knots) - 1)])
        share = (score - knots[above - 1]) / (knots[above] - knots[above - 1])
        return float(levels[above - 1] + share * (levels[above] - levels[above - 1]))
    if not calibrator["squash"]:
        return min(max(score, 0.0), 1.0)
    small = math.exp(-abs(score)) if abs(score) < 745.0 else 0.0
    return 1.0 / (1.0 + small) if score >= 0.0 else small / (1.0 + small)


def decide(cascade: dict[str, Any], models: list[Any], given: str | dict[str, str], insist: bool) -> dict[str, Any]:
    """The cascade's answer to one input: a text, or texts by the name of their slot."""
    text = given if isinstance(given, str) else "\n".join(f"{name}: {given[name]}" for name in sorted(given))
    empty = not (text if isinstance(given, str) else "".join(given.values())).strip()
    # Empty and endless inputs were left out of the evidence: nothing is certified of them.
    if empty or len(text) > cascade["most_characters"]:
        return {"escalate": True, "confidence": 0.0}
    surest: dict[str, Any] = {"escalate": True, "confidence": 0.0}
    for rung, model in zip(cascade["rungs"], models, strict=True):
        answer, signals = model.answer(text)
        sure = confidence(rung["calibrator"], signals)
        found = {"answer": answer, "confidence": round(sure, 6), "rung": rung["kind"]}
        if 0.0 < sure >= rung["threshold"]:
            return found
        if sure > surest["confidence"]:
            surest = found
    return surest if insist else {"escalate": True, "confidence": surest["confidence"]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer texts with the exported models beside this program.")
    parser.add_argument("text", nargs="?")
    parser.add_argument("--file", type=Path, help='rows {"id": …, "input": …}, one JSON object on each line')
    parser.add_argument("--insist", action="store_true", help="answer even where no model is sure enough")
    asked = parser.parse_args()
    if (asked.text is None) == (asked.file is None):
        parser.error("give one text, or --file")
    cascade, models = load()
    if not (cascade["certified_until"] or 0) > time.time():
        print("note: no certificate of these models is in force; see manifest.json", file=sys.stderr)
    if asked.text is not None:
        text = asked.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        print(json.dumps(decide(cascade, models, text, asked.insist), ensure_ascii=False))
        return 0
    failed = 0
    for number, line in enumerate(asked.file.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            answered = decide(cascade, models, row["input"], asked.insist)
            print(json.dumps({"id": row["id"], **answered}, ensure_ascii=False))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"line {number} is no row: {type(error).__name__}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main())
