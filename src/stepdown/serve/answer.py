"""Answering with a task's certified cascade."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from stepdown.certificate.field_confidence import confidences_of, open_fields
from stepdown.core.errors import DifferentAnswersError, StepdownError
from stepdown.core.family import families
from stepdown.core.inputs import Input
from stepdown.core.served import INCUMBENT
from stepdown.core.tasks import SlotValues, input_text
from stepdown.curation.personal_data import mask
from stepdown.project.builds import BuildFolder
from stepdown.project.home import Home, open_home
from stepdown.project.in_force import open_cascade, standing_now
from stepdown.runtime.cascade import Cascade, Decision, text_of
from stepdown.runtime.rows import Row


def open_build(folder: Path) -> Cascade:
    """The cascade of a build's folder, HOME/.stepdown/builds/TASK/BUILD, whatever its certificate says."""
    return open_cascade(open_home(folder.parents[3]), BuildFolder(folder).read_cascade())


class Answerer:
    """A task's cascade while it is in force; without one every answer is the incumbent's to give. slots: the names of
    the task's inputs."""

    def __init__(self, home: Home, name: str, threads: int = 1) -> None:
        found = standing_now(home, name, partial(open_cascade, threads=threads))
        if isinstance(found.error, StepdownError) and not isinstance(found.error, DifferentAnswersError):
            raise found.error
        # What cannot be opened here says why at length; nobody but who runs the project reads it.
        self.why_not = found.detail if found.why_not else ""
        self.cascade = Cascade(rungs=()) if found.why_not or found.cascade is None else found.cascade
        folder, certificate = found.folder, found.folder.read_certificate()
        spec = folder.read_cascade()
        self._redacts = certificate.contract.get("privacy") == "redact"
        task = folder.read_task()
        self.slots = task.template.slots if task.template is not None else ()
        self._parts = families().load(task.family).parts
        fields = folder.read_fields()
        self._fields = {rung.kind: open_fields(fields[rung.artefact]) for rung in spec.rungs if rung.artefact in fields}

    def answer(self, value: SlotValues) -> Decision:
        """The cascade's decision on one input. What curation leaves out no certificate speaks of: inputs that are
        empty or too long are the incumbent's, whole."""
        text = text_of(value)
        if text is None:
            return Decision(answer=None, confidence=0.0, rung=INCUMBENT)
        return self.cascade.decide(self._shown(text))

    def field_confidences(self, value: SlotValues, decision: Decision) -> dict[str, float]:
        """How sure the student is of each field of an answer that it gave, calibrated; {} where it cannot say.

        The student is asked again: what serves has no use for it, and does not pay for it.
        """
        calibrators = self._fields.get(decision.rung)
        student = next((rung.student for rung in self.cascade.rungs if rung.student.kind == decision.rung), None)
        if not calibrators or student is None:
            return {}
        chances = student.answer_many([self._shown(input_text(value))]).parts
        return confidences_of(decision.answer, chances[0], self._parts, calibrators) if chances else {}

    def _shown(self, text: str) -> Input:
        # The students learned from masked texts and were certified on them, so they are shown none other.
        return Input(mask(text) if self._redacts else text)


def answer_rows(answerer: Answerer, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Rows `{id, answer, confidence, rung}` in the order of the input; `fields`, by name how sure, where known."""
    for row in rows:
        decision = answerer.answer(row.input)
        answer = None if decision.rung == INCUMBENT else decision.answer
        said = {"id": row.id, "answer": answer, "confidence": round(decision.confidence, 6), "rung": decision.rung}
        fields = answerer.field_confidences(row.input, decision)
        yield said | ({"fields": {name: round(sure, 6) for name, sure in fields.items()}} if fields else {})
