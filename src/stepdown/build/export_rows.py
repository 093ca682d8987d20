"""An export beside its parent, row by row, on all rows that the build did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import confidences
from stepdown.certificate.evidence import Evidence
from stepdown.certificate.split_answers import TIMED_ROWS
from stepdown.core.dataset import Answer, Dataset, Example
from stepdown.core.errors import StepdownError
from stepdown.core.exports import Comparison, Difference, Why
from stepdown.core.students import Predictions
from stepdown.project.home import Home
from stepdown.runtime.artefact import open_student
from stepdown.runtime.cascade import CascadeSpec, Rung
from stepdown.students.exported_program import ProgramAnswer, ask

SPLITS = ("tune", "certify")
MOST_DRIFT = 0.01
"""A confidence that moves by more than this is another confidence, wherever the threshold is."""


@dataclass(frozen=True)
class Rows:
    """The rows that are compared, and which of them is the evidence's n-th: (evidence rows,)."""

    examples: list[Example]
    evidence: NDArray[np.int64]

    @property
    def texts(self) -> list[str]:
        return [example.text for example in self.examples]


@dataclass(frozen=True)
class Compared:
    """Rows, what the exported program said to them, and how that compares with the parent."""

    rows: Rows
    said: list[ProgramAnswer]
    found: Comparison


def rows_of(dataset: Dataset, evidence: Evidence) -> Rows:
    """Tune and certify. Raises StepdownError where the evidence has rows that the dataset lacks."""
    examples = [example for example in dataset.examples if example.split in SPLITS]
    place = {example.id: row for row, example in enumerate(examples)}
    missing = [each for each in evidence.seen.ids if each not in place]
    if missing:
        raise StepdownError(
            f"Row {missing[0]!r} of the evidence is not in the build's dataset.",
            "Evidence and dataset are of one build.",
            "Build the task again.",
        )
    return Rows(examples, np.array([place[each] for each in evidence.seen.ids], dtype=np.int64))


def ask_parents(home: Home, spec: CascadeSpec, rows: Rows, evidence: Evidence) -> list[Predictions]:
    """What the students of the build say to all rows. Raises StepdownError where that is not what was certified."""
    said = []
    inputs, device = [example.student_input for example in rows.examples], home.settings.machine.device
    for place, rung in enumerate(spec.rungs):
        predictions = open_student(home.artefacts / rung.artefact, device=device).answer_many(inputs)
        said.append(predictions)
        now = confidences(rung.calibrator, predictions.signals)[rows.evidence] if len(rows.evidence) else np.zeros(0)
        then = evidence.confidences[place]
        moved = (np.abs(now - then) > MOST_DRIFT) | (_accepted(now, rung) != _accepted(then, rung))
        if moved.any():
            raise StepdownError(
                f"On this machine the student {rung.kind!r} itself is another than was certified: row "
                f"{evidence.seen.ids[int(np.flatnonzero(moved)[0])]!r} has another confidence.",
                "An export is compared with what was certified.",
                "Export on the machine that built it, or build again here.",
            )
    return said


def ask_export(
    folder: Path, requires: Sequence[str], rows: Rows, generator: np.random.Generator
) -> list[ProgramAnswer]:
    """What the exported program says to all rows; a random sample of the evidence's, or of all, is timed."""
    own = rows.evidence if len(rows.evidence) else np.arange(len(rows.examples))
    return ask(folder, requires, rows.texts, generator.permutation(own)[:TIMED_ROWS].tolist())


def compare(spec: CascadeSpec, rows: Rows, parents: Sequence[Predictions], said: Sequence[ProgramAnswer]) -> Comparison:
    """Every rung on every row, whether or not the cascade asks it there."""
    found: list[Difference] = []
    drift = 0.0
    for rung, parent, export in zip(spec.rungs, parents, said, strict=True):
        before = confidences(rung.calibrator, parent.signals)
        after = export.confidences
        drift = max(drift, float(np.abs(before - after).max(initial=0.0)))
        crossed = _accepted(before, rung) != _accepted(after, rung)
        for row, example in enumerate(rows.examples):
            pair = parent.answers[row], export.answers[row]
            why = _why(pair, bool(crossed[row]), float(abs(before[row] - after[row])))
            if why:
                # Nobody sees a row of the evidence beside an answer to it: a further attempt may rest on it.
                shown = example.split != "certify"
                found.append(
                    Difference(
                        id=example.id if shown else f"row {row} of the comparison, in the evidence",
                        split=example.split,
                        kind=rung.kind,
                        parent=pair[0] if shown else None,
                        exported=pair[1] if shown else None,
                        parent_confidence=float(before[row]),
                        exported_confidence=float(after[row]),
                        why=why,
                    )
                )
    return Comparison(rows=len(rows.examples), drift=drift, differences=tuple(found))


def said_different(found: Comparison) -> str:
    """How many rows differ, and the first of them, in words."""
    shown = "; ".join(
        f"{one.id!r} ({one.why}: {str(one.parent)[:60]!r} at {one.parent_confidence:.6f}, "
        f"exported {str(one.exported)[:60]!r} at {one.exported_confidence:.6f})"
        if one.split != "certify"
        else f"{one.id} ({one.why})"
        for one in found.differences[:3]
    )
    rows = len({one.id for one in found.differences})
    return f"the exported model differs from its parent on {rows:,} of {found.rows:,} rows: {shown}"


def _why(answers: tuple[Answer, Answer], crossed: bool, moved: float) -> Why | None:
    if answers[0] != answers[1]:
        return "another answer"
    if crossed:
        return "across its threshold"
    return None if moved <= MOST_DRIFT else "another confidence"


def _accepted(sure: NDArray[np.float64], rung: Rung) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (sure > 0.0) & (sure >= rung.threshold)
    return found
