"""Answers texts with the models beside this file: the first model that is sure enough answers, else nobody does.

    python run.py "a text"               prints {"answer", "confidence", "rung"}, or {"escalate": true, "confidence"}
    python run.py --file rows.jsonl      the same for every row {"id", "input"}, with its id
    python run.py --insist "a text"      the surest model's answer where none is sure enough

It needs what requirements.txt lists, and nothing else. Before anything is loaded it is held against manifest.json.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
    del sys.path[0]  # What lies beside this file is not loaded before it is checked, whatever it is called.

import argparse
import hashlib
import importlib
import json
import math
import os
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CODE = (".py", ".pyc", ".pyd", ".so")


class Unusable(Exception):
    """An export that is not as it was written, or that cannot run here. Says what is wrong and what to do."""


def check(folder: Path = HERE) -> None:
    """Hold every file against the hash that manifest.json has for it. Raises Unusable, which names the file."""
    again = "Copy the whole folder again, or export it again."
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = {str(name): str(known) for name, known in manifest["files"].items()}
    except FileNotFoundError:
        raise Unusable(f"manifest.json is missing from {folder}, so that nothing can be checked. {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(f"manifest.json in {folder} cannot be read ({type(error).__name__}). {again}") from None
    for name in ("run.py", "cascade.json", *sorted(files)):
        path = folder / name
        if name not in files or Path(name).is_absolute() or ".." in Path(name).parts:
            raise Unusable(f"manifest.json in {folder} does not list {name} as it should. {again}")
        if not path.is_file():
            raise Unusable(f"{name} is missing from {folder}. {again}")
        with path.open("rb") as file:
            found = hashlib.sha256()
            while block := file.read(1 << 20):
                found.update(block)
        if found.hexdigest() != files[name]:
            raise Unusable(f"{name} in {folder} is not what was exported: its hash is another. {again}")
    code = (path for place in (folder, folder / "models") for path in place.iterdir())
    packages = {path / "__init__.py" for path in folder.iterdir() if (path / "__init__.py").exists()}
    for path in sorted({path for path in code if path.suffix in CODE} | packages):
        if path.relative_to(folder).as_posix() not in files:
            raise Unusable(
                f"{path} is no part of this export, and would be loaded. Remove it, or copy the folder again."
            )


def load(folder: Path = HERE, checked: bool = False) -> tuple[dict[str, Any], list[Any]]:
    """The cascade's description, and its models in the same order as its rungs. checked: whether the files were held
    against their hashes already. Raises Unusable."""
    if not checked:
        check(folder)
    cascade = json.loads((folder / "cascade.json").read_text(encoding="utf-8"))
    sys.path.insert(0, str(folder))
    # Bytecode that lies beside the models is not theirs for sure: it is neither read nor written.
    sys.pycache_prefix, sys.dont_write_bytecode = os.devnull, True
    models = []
    for rung in cascade["rungs"]:
        settings = json.loads((folder / rung["folder"] / "model.json").read_text(encoding="utf-8"))
        try:
            program = importlib.import_module(f"models.{settings['program']}")
        except ImportError as error:
            install = f"{sys.executable} -m pip install -r {folder / 'requirements.txt'}"
            what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
            raise Unusable(f"The package {error.name or '?'} {what}; this program needs it. Run: {install}") from None
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
    try:
        lines = [] if asked.file is None else asked.file.read_bytes().splitlines()
        cascade, models = load()
    except (Unusable, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    if not (cascade["certified_until"] or 0) > time.time():
        print("note: no certificate of these models is in force; see manifest.json", file=sys.stderr)
    if asked.text is not None:
        text = asked.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        print(json.dumps(decide(cascade, models, text, asked.insist), ensure_ascii=False))
        return 0
    failed = 0
    for number, line in enumerate(lines, start=1):
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
