"""The fourth stage: the path on tune, then one walk along it on the evidence, journalled before it is walked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Evidence, gather
from stepdown.certificate.ledger import ATTEMPTED, Attempt, attempt
from stepdown.certificate.observations import Observations
from stepdown.certificate.path import choose_candidate
from stepdown.certificate.prospects import Prospects
from stepdown.core.certificate import Certificate
from stepdown.core.dataset import Dataset
from stepdown.loop.job import Job
from stepdown.loop.measuring import Measured
from stepdown.loop.observing import observe, observe_judged, time_rows
from stepdown.stats.spending import attempt_error


@dataclass(frozen=True)
class Certified:
    """A certificate or a refusal, and all that it rests on."""

    certificate: Certificate
    candidate: Candidate
    evidence: Evidence
    attempt: Attempt


def certify_cascade(job: Job, dataset: Dataset, measured: Measured) -> Certified:
    """Fix the candidate on tune, spend one attempt of the evidence, and test."""
    seen = _certify_rows(job, measured).students(measured.kept)
    error = attempt_error(1.0 - job.contract.confidence, 1)
    prospects = Prospects(measured.tune.students(measured.kept), job.contract, max(seen.n, 1), error)
    candidate = choose_candidate(job.task.name, prospects)
    evidence = gather(candidate, seen)
    # Journalled first: an attempt whose process dies has still looked at the evidence.
    spent = attempt(job.store.events(ATTEMPTED, job.task.name), evidence, job.contract)
    job.store.append(ATTEMPTED, job.task.name, spent.event, at=job.home.clock())
    issue = Issue(at=job.home.clock(), seed=job.request.seed)
    certificate = certify(evidence, job.contract, spent, dataset.manifest, issue)
    return Certified(certificate, candidate, evidence, spent)


def _certify_rows(job: Job, measured: Measured) -> Observations:
    answered, kind = measured.answered["certify"], job.contract.against
    generator = np.random.default_rng(job.request.seed)
    latency = time_rows(measured.students, answered.examples, generator)
    if kind == "judged":
        return observe_judged(answered, measured.entrants, job.yardstick, measured.curated.verdicts, latency)
    return observe(answered, measured.entrants, job.yardstick, kind, latency)
