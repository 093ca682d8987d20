"""A dry run: what a build would choose and may expect, read off *tune* alone. No evidence is asked or spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.ledger import attempts_so_far
from stepdown.certificate.observations import outcome
from stepdown.certificate.path import choose_candidate
from stepdown.certificate.planning import expect, rows_to_test
from stepdown.certificate.prospects import Prospects
from stepdown.core.dataset import Dataset
from stepdown.core.measurements import StudentMeasurement
from stepdown.core.shown_rows import SHOWN_SPLITS
from stepdown.core.students import Progress
from stepdown.build.pipeline import prepared
from stepdown.build.curate import curate_task
from stepdown.project.evidence_draws import ledger_events
from stepdown.project.home import Home
from stepdown.build.job import BuildRequest, Job
from stepdown.build.train import fit_students
from stepdown.build.measure import Measured, measure_students
from stepdown.certificate.split_answers import content_keys
from stepdown.stats.spending import attempt_error

LIKELY = 0.5


@dataclass(frozen=True)
class Tried:
    """What tune says. students: as measured there. offload, excess_loss: at the last point of the path that is more
    likely than not to pass, chance: that it does; None where no student could be tried or no point is likely.

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


def try_build(home: Home, request: BuildRequest, progress: Progress) -> Tried:
    """Train and measure as `build` would, and stop before the evidence. The students stay for the next build.

    Raises what `build` raises. The draw is entered in the journal, as by every build; no attempt is.
    """
    with prepared(home, request, progress) as job:
        with job.stage("curating"):
            curated = curate_task(job)
        with job.stage("fitting"):
            learned = fit_students(job, curated.dataset)
        with job.stage("measuring"):
            measured = measure_students(job, curated, learned, splits=SHOWN_SPLITS)
        return _tried(job, curated.dataset, measured)


def _tried(job: Job, dataset: Dataset, measured: Measured) -> Tried:
    rows = dataset.split("certify")
    units = len({one.unit for one in rows})
    number = 1 + _attempts(job, dataset)
    error = attempt_error(1.0 - job.contract.confidence, number)
    prospects = Prospects(measured.tune.students(measured.kept), job.contract, max(units, 1), error)
    candidate = choose_candidate(job.task.name, prospects)
    likely = _likely(candidate, measured, prospects)
    needed = labels = None
    if candidate.points and job.contract.against == "gold":
        expected = expect(candidate, measured.tune)
        needed = rows_to_test(expected, job.contract, error, measured.tune.support == "bounded")
        labels = None if needed is None else round(min(needed, len(rows)) * expected.differs)
    return Tried(
        task=job.task.name,
        students=measured.measurements,
        rungs=tuple(one.kind for one in candidate.candidate_students),
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
    """How many attempts were made on this evidence, in whatever task."""
    rows, draw = dataset.split("certify"), dataset.draw
    draws = (draw.digest, draw.replaces) if draw else ()
    names = [one.id for one in rows], content_keys(rows)
    return attempts_so_far(ledger_events(job.store), *names, draws, job.contract.against == "agreement")


def _likely(
    candidate: Candidate, measured: Measured, prospects: Prospects
) -> tuple[float | None, float | None, float | None]:
    own = measured.tune.students(measured.kept)
    places = [[each.artefact for each in own.candidate_students].index(one.artefact) for one in candidate.candidate_students]
    rows = own.students(places).rows(np.flatnonzero(own.labelled))
    found: tuple[float | None, float | None, float | None] = (None, None, None)
    for point in candidate.points:
        seen = outcome(rows, candidate.confidences(rows), point.thresholds)
        chance = prospects.chance(seen)
        if chance >= LIKELY:
            found = seen.offload, float(seen.excess.mean()), chance
    return found


def as_json(tried: Tried) -> dict[str, Any]:
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
        "students": [one.kind for one in tried.students],
    }


def sentences(tried: Tried) -> list[str]:
    """The same for people, a paragraph each."""
    if not tried.rungs:
        return [f"A dry run: {tried.why or 'no student could be tried.'} Nothing of the evidence was looked at."]
    rungs = " then ".join(tried.rungs)
    if tried.offload is None or tried.excess_loss is None or tried.chance is None:
        found = f"On tune no point of {rungs} is more likely than not to be certified."
    else:
        found = (
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
    return [f"A dry run: nothing was tested or spent. {found}", evidence, spend]
