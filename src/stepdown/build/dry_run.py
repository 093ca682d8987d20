"""A dry run: what a build would choose, and its expected result, from *tune* alone. No evidence is read or spent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepdown.build.curate import curate_for_build
from stepdown.build.job import BuildRequest, Job
from stepdown.build.measure import measure_students
from stepdown.build.measured_students import MeasuredStudents
from stepdown.build.prepare import prepared
from stepdown.build.summary import dropped_sentences, to_be_tried
from stepdown.build.train import fit_students
from stepdown.certificate.candidate import Candidate
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.ledger import attempts_so_far
from stepdown.certificate.observations import outcome
from stepdown.certificate.path import choose_candidate
from stepdown.certificate.planning import expect, rows_to_test
from stepdown.certificate.split_answers import content_keys
from stepdown.core.dataset import Dataset
from stepdown.core.measurements import StudentMeasurement
from stepdown.core.record import Dropped
from stepdown.core.shown_rows import SHOWN_SPLITS
from stepdown.core.students import Progress
from stepdown.project.evidence_draws import ledger_events
from stepdown.project.home import Home
from stepdown.stats.spending import attempt_error

LIKELY = 0.5


@dataclass(frozen=True)
class BuildForecast:
    """The forecast from tune. students: as measured there. offload, excess_loss: at the last point of the path that is
    more likely than not to pass, chance: that it does; None where no student could be tried or no point is likely.

    asked: the kinds that the user named. dropped: those to be tried that were not trained, with the reason.
    drawn: calls in the draw. rows, labels: about how many of them would be tested and labelled, None where no number
    would do. attempt, error_share: of the next build on this evidence.
    """

    task: str
    students: tuple[StudentMeasurement, ...]
    rungs: tuple[str, ...]
    why: str
    against: str
    offload: float | None
    excess_loss: float | None
    chance: float | None
    drawn: int
    rows: int | None
    labels: int | None
    attempt: int
    error_share: float
    asked: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()


def forecast_build(home: Home, request: BuildRequest, progress: Progress) -> BuildForecast:
    """Train and measure as `build` would, and stop before the evidence. The students stay for the next build.

    Raises what `build` raises. The draw is entered in the journal, as by every build; no attempt is.
    """
    with prepared(home, request, progress) as job:
        with job.stage("curating"):
            curated = curate_for_build(job)
        with job.stage("fitting"):
            learned = fit_students(job, curated.dataset)
        with job.stage("measuring"):
            measured = measure_students(job, curated, learned, splits=SHOWN_SPLITS)
        tried = _tried(job, curated.dataset, measured)
        asked, trained = job.choice.kinds, [student.kind for student in tried.students]
        return replace(tried, asked=asked, dropped=tuple(to_be_tried(learned.dropped, asked, trained)))


def _tried(job: Job, dataset: Dataset, measured: MeasuredStudents) -> BuildForecast:
    rows = dataset.split("certify")
    units = len({row.unit for row in rows})
    number = 1 + _attempts(job, dataset)
    error = attempt_error(1.0 - job.contract.confidence, number)
    forecast = PathForecast(measured.tune.students(measured.kept), job.contract, max(units, 1), error)
    candidate = choose_candidate(job.task.name, forecast)
    likely = _likely(candidate, measured, forecast)
    needed = labels = None
    if candidate.points and job.contract.against == "gold":
        expected = expect(candidate, measured.tune)
        needed = rows_to_test(expected, job.contract, error, measured.tune.support == "bounded")
        labels = None if needed is None else round(min(needed, len(rows)) * expected.differs)
    return BuildForecast(
        task=job.task.name,
        students=measured.measurements,
        rungs=tuple(candidate_student.kind for candidate_student in candidate.candidate_students),
        why=candidate.why,
        against=job.contract.against,
        offload=likely[0],
        excess_loss=likely[1],
        chance=likely[2],
        drawn=len(rows),
        rows=needed,
        labels=labels,
        attempt=number,
        error_share=error,
    )


def _attempts(job: Job, dataset: Dataset) -> int:
    """The number of attempts made on this evidence, by any task."""
    rows, draw = dataset.split("certify"), dataset.draw
    draws = (draw.digest, draw.replaces) if draw else ()
    names = [row.id for row in rows], content_keys(rows)
    return attempts_so_far(ledger_events(job.store), *names, draws, job.contract.against == "agreement")


def _likely(
    candidate: Candidate, measured: MeasuredStudents, forecast: PathForecast
) -> tuple[float | None, float | None, float | None]:
    own = measured.tune.students(measured.kept)
    places = [
        [candidate_student.artefact for candidate_student in own.candidate_students].index(candidate_student.artefact)
        for candidate_student in candidate.candidate_students
    ]
    rows = own.students(places).rows(np.flatnonzero(own.labelled))
    likely: tuple[float | None, float | None, float | None] = (None, None, None)
    for point in candidate.points:
        seen = outcome(rows, candidate.confidences(rows), point.thresholds)
        chance = forecast.chance(seen)
        if chance >= LIKELY:
            likely = seen.offload, float(seen.excess.mean()), chance
    return likely


def as_json(tried: BuildForecast) -> dict[str, Any]:
    """What `stepdown build --dry-run --json` prints."""
    return {
        "task": tried.task,
        "dry_run": True,
        "rungs": list(tried.rungs),
        "why": tried.why,
        "expected": {"offload": tried.offload, "excess_loss": tried.excess_loss, "chance": tried.chance},
        "evidence": {
            "kind": tried.against,
            "n_drawn": tried.drawn,
            "rows_to_test": tried.rows,
            "labels_needed": tried.labels,
            "attempt": tried.attempt,
            "error_share": tried.error_share,
        },
        "students": [student.kind for student in tried.students],
        "dropped": [{"kind": one.kind, "why": one.why} for one in tried.dropped],
    }


def sentences(tried: BuildForecast) -> list[str]:
    """The forecast in words, one paragraph each."""
    dropped = dropped_sentences(tried.dropped, tried.asked)
    if not tried.rungs:
        why = tried.why or "no student could be tried."
        return [f"A dry run: {why} Nothing of the evidence was looked at.", *dropped]
    rungs = " then ".join(tried.rungs)
    if tried.offload is None or tried.excess_loss is None or tried.chance is None:
        forecast = f"On tune no point of {rungs} is more likely than not to be certified."
    else:
        forecast = (
            f"On tune {rungs} would answer {tried.offload:.1%} of calls without the incumbent, at an excess loss of "
            f"{tried.excess_loss:+.1%}; such a point passes with chance {tried.chance:.0%}."
        )
    evidence = f"Of {tried.drawn:,} calls drawn, none was looked at."
    if tried.rows is not None and tried.labels is not None:
        evidence += f" A test takes about {min(tried.rows, tried.drawn):,} of them, and {tried.labels:,} labels."
    spend = (
        f"A build now would be attempt {tried.attempt} on this evidence, tested at {tried.error_share:.2%}. "
        "What is forecast here was chosen on the same rows, and is no evidence."
    )
    return [f"A dry run: nothing was tested or spent. {forecast}", *dropped, evidence, spend]
