"""An exported folder as a program: `run.py` in it checks every file, then opens it here and answers."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from stepdown.core.errors import InputError, StepdownError
from stepdown.core.inputs import Input
from stepdown.core.served import INCUMBENT
from stepdown.core.tasks import SlotValues
from stepdown.runtime.artefact import open_cascade
from stepdown.runtime.cascade import Decision, Rung, text_of
from stepdown.runtime.rows import Row, input_of, read_rows

CASCADE = "cascade.json"


class FolderRung(Rung, frozen=True, kw_only=True):
    """A rung as `cascade.json` has it. folder: where its student lies."""

    folder: str


class FolderCascade(msgspec.Struct, frozen=True, kw_only=True):
    """What `cascade.json` holds. certified_until: seconds since 1970; None where nothing is certified. slots: the names
    of the task's inputs; () where they are not known."""

    task: str
    family: str
    certified_until: float | None = None
    slots: tuple[str, ...] = ()
    rungs: tuple[FolderRung, ...]


class Program:
    """An opened folder. Raises StepdownError for a student that is not as it was sealed, ImportError where a package is
    not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            self.stated = msgspec.json.decode((folder / CASCADE).read_bytes(), type=FolderCascade)
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            raise InputError(f"{folder / CASCADE} cannot be read: {error}.", "", "Export it again.") from None
        self.cascade = open_cascade((rung, folder / rung.folder) for rung in self.stated.rungs)

    def answer(self, value: SlotValues, insist: bool = False) -> dict[str, Any]:
        """{"answer", "confidence", "rung"}, or {"escalate": True, "confidence"} where no rung is sure enough.

        insist: the surest rung answers then all the same.
        """
        text = text_of(value)
        decision = Decision(answer=None, confidence=0.0, rung=INCUMBENT)
        if text is not None:
            decision = self.cascade.decide(Input(text))
            if insist and decision.rung == INCUMBENT:
                decision = self.cascade.insist(Input(text))
        confidence = round(decision.confidence, 6)
        if decision.rung == INCUMBENT:
            return {"escalate": True, "confidence": confidence}
        return {"answer": decision.answer, "confidence": confidence, "rung": decision.rung}

    def main(self, arguments: Sequence[str]) -> int:
        """Answer what the command line asks; returns the exit code."""
        parser = argparse.ArgumentParser("run.py", description="Answer texts with the models beside this program.")
        several = f"; here a JSON object with a text for each of {', '.join(self.stated.slots)}"
        shown = (several if len(self.stated.slots) > 1 else "").replace("%", "%%")
        parser.add_argument("text", nargs="?", help=f"the input{shown}")
        parser.add_argument("--file", type=Path, help='rows {"id": …, "input": …}, one JSON object on each line')
        parser.add_argument("--insist", action="store_true", help="answer even where no model is sure enough")
        asked = parser.parse_args(arguments)
        if (asked.text is None) == (asked.file is None):
            parser.error("give one text, or --file")
        if not (self.stated.certified_until or 0) > time.time():
            print("note: no certificate of these models is in force; see manifest.json", file=sys.stderr)
        try:
            if asked.text is None:
                return self._answer_file(asked.file, asked.insist)
            text = asked.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            print(json.dumps(self.answer(input_of(text, self.stated.slots), asked.insist), ensure_ascii=False))
        except StepdownError as error:
            print(f"run.py: {error}", file=sys.stderr)
            return error.exit_code
        return 0

    def _answer_file(self, path: Path, insist: bool) -> int:
        failed = 0
        for row in read_rows(path):
            if isinstance(row, Row):
                print(json.dumps({"id": row.id, **self.answer(row.input, insist)}, ensure_ascii=False))
            else:
                print(f"line {row.line} is no row: {row.reason}", file=sys.stderr)
                failed = 1
        return failed
