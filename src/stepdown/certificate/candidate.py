"""A candidate: rungs and a path of thresholds, fixed on tune before the evidence is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from stepdown.certificate.calibrate import confidences, fit_confidence
from stepdown.certificate.observations import CandidateStudent, Floats, Observations
from stepdown.core.canonical import digest_of, without_younger
from stepdown.core.certificate import PathPoint
from stepdown.runtime.cascade import CascadeSpec, Rung

_YOUNGER = ("hopeful",)

NEVER = 2.0
"""A threshold that no confidence reaches."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What will be tested: each rung's student and calibrator, and the path of threshold vectors in testing order.

    why: the reason for these rungs and not others. tune_reference: what tune's losses were against; tune_n: its rows.
    slices: each (name, value) of the contract's slices that tune has. examples: ids of tune rows on which the rungs
    were surest and wrong where the incumbent was right. hopeful: the last point that has a fair chance to pass, so that
    labels are asked for up to there.
    """

    version: int = 1
    task: str
    candidate_students: tuple[CandidateStudent, ...] = msgspec.field(name="entrants")
    calibrators: tuple[dict[str, Any], ...]
    points: tuple[PathPoint, ...]
    tune_reference: str
    tune_n: int
    why: str = ""
    slices: tuple[tuple[str, str], ...] = ()
    examples: tuple[str, ...] = ()
    hopeful: int | None = None

    @property
    def table(self) -> dict[str, Any]:
        """As it is hashed and written."""
        return without_younger(self, _YOUNGER)

    @property
    def digest(self) -> str:
        return digest_of(self.table)

    def cascade(self, point: int | None) -> CascadeSpec:
        """The cascade at one point of the path; the one that always escalates for None."""
        chosen = (NEVER,) * len(self.candidate_students) if point is None else self.points[point].thresholds
        rungs = tuple(
            Rung(
                kind=candidate_student.kind,
                artefact=candidate_student.artefact,
                calibrator=calibrator,
                threshold=threshold,
            )
            for candidate_student, calibrator, threshold in zip(
                self.candidate_students, self.calibrators, chosen, strict=True
            )
        )
        return CascadeSpec(task=self.task, rungs=rungs)

    def confidences(self, seen: Observations) -> Floats:
        """Calibrated confidences (rungs, n). Raises ValueError when `seen` is of other students."""
        if [candidate_student.artefact for candidate_student in seen.candidate_students] != [
            candidate_student.artefact for candidate_student in self.candidate_students
        ]:
            raise ValueError("Got observations of other students; expected those of the candidate's rungs, in order.")
        return all_confidences(self.calibrators, seen)


def fit_all(seen: Observations) -> tuple[dict[str, Any], ...]:
    """A calibrator for every student of tune's observations."""
    rows = zip(seen.signals, seen.losses, seen.candidate_students, strict=True)
    return tuple(
        fit_confidence(signals, loss, seen.reference, candidate_student.signal_names)
        for signals, loss, candidate_student in rows
    )


def all_confidences(calibrators: Sequence[Mapping[str, Any]], seen: Observations) -> Floats:
    """Confidences (s, n) of every student on the rows seen."""
    rows = [confidences(calibrator, signals) for calibrator, signals in zip(calibrators, seen.signals, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, seen.n))
