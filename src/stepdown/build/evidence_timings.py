"""Timings of the evidence: measured once, so that asking for them again gives nobody another chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.observations import CandidateStudent
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.dataset import Example
from stepdown.core.draw import Draw
from stepdown.core.students import Student
from stepdown.evaluation.speed import describe_machine
from stepdown.project.home import write_whole
from stepdown.build.job import Job
from stepdown.certificate.split_answers import TIMING_S, time_rows


def time_once(
    job: Job, students: Sequence[Student], candidate_students: Sequence[CandidateStudent], examples: Sequence[Example], draw: Draw
) -> NDArray[np.float64]:
    """Seconds of one request for a random sample of the rows, by student; NaN where not timed: (students, rows).

    Kept by artefact, machine and draw. Where they are lost and measured anew, the evidence says something else, and the
    ledger counts a further attempt.
    """
    rows = [_timed(job, *pair, examples, draw) for pair in zip(students, candidate_students, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(students), len(examples))


def _timed(job: Job, student: Student, student_of_candidate: CandidateStudent, examples: Sequence[Example], draw: Draw) -> list[float]:
    key = digest_of((student_of_candidate.artefact, describe_machine(), draw.digest))
    path = job.home.state / "timings" / f"{key}.json"
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Timings | list[float | None])
        # A plain list is of an earlier version, which kept no digest.
        seconds = kept.seconds if isinstance(kept, _Timings) else kept
        if len(seconds) == len(examples) and (kept is seconds or kept == _sealed(seconds)):
            return [float("nan") if one is None else one for one in seconds]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        pass
    timed: list[float] = time_rows([student], examples, np.random.default_rng(0), job.timing_share * TIMING_S)[
        0
    ].tolist()
    write_whole(path, canonical_json(_sealed([None if math.isnan(one) else one for one in timed])))
    return timed


class _Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As they are kept. digest: damaged timings are lost ones."""

    seconds: list[float | None]
    digest: str


def _sealed(seconds: list[float | None]) -> _Timings:
    return _Timings(seconds, digest_of(seconds))
