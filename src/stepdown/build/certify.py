"""The fourth stage: the path on tune, then one walk along it on the evidence, journalled before it is walked.

Evidence is timed once and the timings are kept, so that a repeated build gets no second chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.build.job import Job
from stepdown.build.label_plan import first_plan, label_next
from stepdown.build.measured_students import MeasuredStudents
from stepdown.certificate.candidate import Candidate
from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Basis, Evidence, Terms, gather
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.gold_objection import GoldToCheck, objection
from stepdown.certificate.ledger import Attempt, asked_before, attempt, looks
from stepdown.certificate.observations import CandidateStudent, Observations
from stepdown.certificate.path import choose_candidate
from stepdown.certificate.planning import COMPLETE, whole_units_up_to
from stepdown.certificate.refusal import needed_labels
from stepdown.certificate.split_answers import (
    TIMING_S,
    SplitAnswers,
    content_keys,
    observe_evidence,
    observe_judged,
    time_rows,
)
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.certificate import Certificate, Journalled, Population
from stepdown.core.dataset import Dataset, Example
from stepdown.core.draw import ATTEMPTED, LOOKED, Draw
from stepdown.core.students import Student
from stepdown.evaluation.speed import describe_machine
from stepdown.project.evidence_draws import drawn_at, ledger_events, plan_labels, planned_rows
from stepdown.project.home import write_whole
from stepdown.stats.spending import attempt_error

DEAREST = 2.0
"""So many times the dearest call outside of the evidence is the ceiling on the price of one, where none is stated."""


@dataclass(frozen=True)
class Certified:
    """A certificate or a refusal, with its candidate, evidence and attempt. whole: the evidence of the whole draw, of
    which `evidence` may be the first rows."""

    certificate: Certificate
    candidate: Candidate
    evidence: Evidence
    attempt: Attempt
    whole: Evidence


def certify_cascade(job: Job, dataset: Dataset, measured: MeasuredStudents) -> Certified:
    """Fix the candidate on tune; where the evidence is complete, spend one attempt of it, and test."""
    draw, answered = dataset.draw, measured.answered["certify"]
    if draw is None:
        raise ValueError("Got a dataset without a draw; expected one as `curate` makes it.")
    seen = _certify_rows(job, measured, draw).students(measured.kept)
    error = attempt_error(1.0 - job.contract.confidence, 1)
    forecast = PathForecast(measured.tune.students(measured.kept), job.contract, max(len(set(seen.units)), 1), error)
    candidate = choose_candidate(job.task.name, forecast)
    basis = Basis(
        population=population(job, draw),
        unit=draw.unit,
        drawn=seen.n,
        excluded=dict(dataset.unusable),
        objection=objection(gold_to_check(job, measured), draw.scope),
    )
    whole = gather(candidate, seen, Terms(_ceiling(job, dataset), basis), content_keys(answered.examples))
    plan = first_plan(whole, measured.tune, job.contract)
    evidence, is_ready = rows_to_test(job, draw, whole, plan)
    certificate, spent = _test(job, dataset, evidence, is_ready and not basis.objection)
    while (wider := next_look(job, draw, whole, evidence, certificate)) is not None:
        evidence = wider
        certificate, spent = _test(job, dataset, evidence, True)
    return Certified(certificate, candidate, evidence, spent, whole)


def gold_to_check(job: Job, measured: MeasuredStudents) -> GoldToCheck:
    return GoldToCheck(
        task=job.task.name,
        answered=measured.answered,
        students=measured.candidate_students,
        calibrators=measured.calibrators,
        slice_of=job.family.slice_of,
        checks_relevance=job.contract.against != "agreement" and not job.reading.trusted,
        seed=job.request.seed,
    )


def population(job: Job, draw: Draw) -> Population:
    """The population of a draw, as a certificate states it."""
    assumption = {"traffic": "all" if draw.complete and job.contract.against == "gold" else "", "judged": ""}
    return Population(
        calls=draw.calls,
        units=draw.units,
        first=draw.first,
        last=draw.last,
        draw=draw.digest,
        drawn_at=drawn_at(job.store, draw),
        largest_unit=draw.largest,
        window=draw.window,
        assumption=assumption.get(draw.scope, draw.scope),
        replaces=draw.replaces,
    )


def rows_to_test(job: Job, draw: Draw, whole: Evidence, plan: int) -> tuple[Evidence, bool]:
    """The first rows of the draw, as many as are to be tested, and whether enough of them are labelled.

    All of it where nothing waits for a label. Else as many rows as were planned before anyone labelled; where nothing
    was planned, `plan`, and those labels are waited for.
    """
    if whole.n == 0 or _is_labelled(whole):
        return _upto(job, draw, whole, whole.n), whole.n > 0
    planned = planned_rows(job.store, draw)
    chosen = _upto(job, draw, whole, whole_units_up_to(whole.seen.units, planned or plan))
    return chosen, bool(planned) and _is_labelled(chosen)


def _is_labelled(evidence: Evidence) -> bool:
    differs, unlabelled = needed_labels(evidence)
    return bool(unlabelled.sum() <= (1.0 - COMPLETE) * differs.sum())


def _upto(job: Job, draw: Draw, whole: Evidence, rows: int) -> Evidence:
    """The first rows, as a further look where the same candidate has been looked at with fewer."""
    before = looks(job.store.events(ATTEMPTED), whole.candidate.digest, job.contract, draw.digest)
    ends = tuple(end for end in before if end < rows)
    terms = replace(whole.terms, stages=(*ends, rows), final=rows == whole.n)
    return Evidence(
        whole.candidate,
        whole.seen.rows(np.arange(rows)),
        whole.confidences[:, :rows],
        whole.keys[:rows],
        terms,
    )


def next_look(job: Job, draw: Draw, whole: Evidence, evidence: Evidence, certificate: Certificate) -> Evidence | None:
    """More rows of the draw, where they would help and none of them waits for a label; None where not."""
    rows = label_next(certificate, whole, evidence.n) if certificate.attempt else 0
    if rows <= evidence.n:
        return None
    wider = _upto(job, draw, whole, rows)
    if not _is_labelled(wider):
        return None
    plan_labels(job.store, draw, rows, job.home.clock())
    return wider


def _test(job: Job, dataset: Dataset, evidence: Evidence, is_ready: bool) -> tuple[Certificate, Attempt]:
    spent = attempt(ledger_events(job.store), evidence, job.contract)
    now = job.home.clock()
    issue = Issue(at=now, seed=job.request.seed)
    if is_ready:
        # Journalled first: an attempt whose process dies has still looked at the evidence. The same question asked
        # again is answered as it was, with the date of then: it is as old as its evidence.
        event = asked_before(job.store.events(ATTEMPTED), spent)
        event = event or job.store.append(ATTEMPTED, job.task.name, spent.event, at=now)
        begun = next((one.at for one in job.store.events()), now)
        journal = Journalled(head=event.digest, events=event.sequence, begun_at=begun)
        issue = Issue(at=event.at, seed=job.request.seed, journal=journal)
    else:
        if evidence.seen.reference == "gold" and evidence.n:
            looked = {"candidate": evidence.candidate.digest, "draw": evidence.basis.population.draw}
            job.store.append(LOOKED, job.task.name, looked, at=now)
        # Nothing is tested and nothing spent, whatever was spent on these rows before.
        spent = msgspec.structs.replace(spent, number=0, error_share=attempt_error(1.0 - job.contract.confidence, 1))
    return certify(evidence, job.contract, spent, dataset.manifest, issue), spent


def _certify_rows(job: Job, measured: MeasuredStudents, draw: Draw) -> Observations:
    answered, kind = measured.answered["certify"], job.contract.against
    latency = time_once(job, measured.students, measured.candidate_students, answered.examples, draw)
    if kind == "judged":
        own = SplitAnswers(with_drawn_gold(answered.examples), answered.predictions)
        return observe_judged(own, measured.candidate_students, job.grader, measured.verdicts, latency)
    return observe_evidence(answered, measured.candidate_students, job.grader, kind, latency)


def with_drawn_gold(examples: Sequence[Example]) -> list[Example]:
    """Judged rows with the gold that is a random sample of them: the owner's own sample, else the rows up to the first
    without gold."""
    declared = [
        example for example in examples if example.gold is not None and example.gold_basis in ("random-sample", "all")
    ]
    if declared:
        kept = {example.id for example in declared}
    else:
        bare = next((place for place, example in enumerate(examples) if example.gold is None), len(examples))
        kept = {example.id for example in examples[:bare]}
    return [example if example.id in kept else msgspec.structs.replace(example, gold=None) for example in examples]


def _ceiling(job: Job, dataset: Dataset) -> float | None:
    """The price ceiling of one call: as the contract states it, else from the calls outside of the evidence."""
    if job.contract.dearest_call_usd is not None:
        return job.contract.dearest_call_usd
    costs = [
        example.cost_usd for example in dataset.examples if example.split != "certify" and example.cost_usd is not None
    ]
    return DEAREST * max(costs) if costs else None


def time_once(
    job: Job,
    students: Sequence[Student],
    candidate_students: Sequence[CandidateStudent],
    examples: Sequence[Example],
    draw: Draw,
) -> NDArray[np.float64]:
    """Seconds of one request for a random sample of the rows, by student; NaN where not timed: (students, rows).

    Kept by artefact, machine and draw. Where they are lost and measured anew, the evidence says something else, and the
    ledger counts a further attempt.
    """
    rows = [_timed(job, *pair, examples, draw) for pair in zip(students, candidate_students, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(students), len(examples))


def _timed(
    job: Job, student: Student, candidate_student: CandidateStudent, examples: Sequence[Example], draw: Draw
) -> list[float]:
    key = digest_of((candidate_student.artefact, describe_machine(), draw.digest))
    path = job.home.state / "timings" / f"{key}.json"
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Timings | list[float | None])
        # A plain list is of an earlier version, which kept no digest.
        seconds = kept.seconds if isinstance(kept, _Timings) else kept
        if len(seconds) == len(examples) and (kept is seconds or kept == _sealed(seconds)):
            return [float("nan") if second is None else second for second in seconds]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        pass
    timed: list[float] = time_rows([student], examples, np.random.default_rng(0), job.timing_share * TIMING_S)[
        0
    ].tolist()
    write_whole(path, canonical_json(_sealed([None if math.isnan(one) else one for one in timed])))
    return timed


class _Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Timings as they are stored. digest: of `seconds`; timings that do not match it are measured anew."""

    seconds: list[float | None]
    digest: str


def _sealed(seconds: list[float | None]) -> _Timings:
    return _Timings(seconds, digest_of(seconds))
