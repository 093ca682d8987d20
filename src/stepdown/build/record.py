"""The fifth stage: one record of all that was decided and measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown import __version__
from stepdown.build.certify import Certified
from stepdown.build.curate import Curated
from stepdown.build.field_escalation import escalate_all
from stepdown.build.job import Job
from stepdown.build.measured_students import MeasuredStudents, references_in, rows_to_show, sample_inputs
from stepdown.build.roi_inputs import task_roi
from stepdown.build.train import Learned
from stepdown.certificate.calibrate import confidences
from stepdown.certificate.split_answers import references_of
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import Answer, SplitName
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Role, Span
from stepdown.core.extraction.spans import align
from stepdown.core.measurements import Disagreement, Quality, ShownMetric
from stepdown.core.record import (
    BuildRecord,
    CascadeMeasurement,
    CurvePoint,
    IncumbentMeasurement,
)
from stepdown.core.served import INCUMBENT
from stepdown.core.shown_rows import SHOWN_SPLITS, Rows
from stepdown.evaluation.cost import cascade_cost_per_1k, incumbent_cost_per_1k
from stepdown.evaluation.disagreements import pick_disagreements
from stepdown.evaluation.dominance import explain_dominated
from stepdown.evaluation.metric import metrics
from stepdown.evaluation.quality import cascade_curve, measure_incumbent, measure_quality, risk_coverage_curve
from stepdown.evaluation.speed import Served, incumbent_latency, measure_speed, size_on_disk
from stepdown.evaluation.trivial import trivial_answer
from stepdown.project.builds import BuildFolder
from stepdown.project.in_force import open_cascade
from stepdown.runtime.cascade import choose_rungs
from stepdown.students.choice import StudentChoice
from stepdown.students.kinds import student_kinds

SHOWN_DISAGREEMENTS = 24
OPENER = "stepdown.serve.answer:open_build"


def record_build(
    job: Job, curated: Curated, learned: Learned, measured: MeasuredStudents, certified: Certified
) -> BuildRecord:
    """The record of a build, from which the report is drawn, without the seconds of this stage and the next.

    Of the evidence it has the certificate's own numbers and no others: what else is measured or shown is read on the
    rows that `core.shown_rows` allows.
    """
    incumbent = _incumbent(job, curated)
    shown = rows_to_show(measured)
    cascade = _cascade(job, measured, certified, incumbent.cost_per_1k, shown)
    return BuildRecord(
        task=job.task.name,
        family=job.task.family,
        created_at=job.home.clock(),
        stepdown_version=__version__,
        seed=job.request.seed,
        budget_s=job.request.budget_s,
        seconds=dict(job.seconds),
        contract=job.contract,
        dataset=curated.dataset.manifest,
        excluded=dict(Counter(one.reason for one in curated.dataset.excluded)),
        incumbent=incumbent,
        students=measured.measurements,
        dropped=(*learned.dropped, *explain_dominated(measured.measurements)),
        cascade=cascade,
        risk_coverage=_curve(job, measured, certified, shown),
        certificate=certified.certificate,
        roi=task_roi(job, curated, incumbent, cascade),
        disagreements=_disagreements(job, learned.data.roles, measured, certified, shown),
        environment=describe_environment(),
        plan={**learned.plan, "cascade": certified.candidate.why, **_asked(job)},
        loss=job.loss.name,
        shown=_shown_metrics(),
        roles=learned.data.roles,
        refused=dict(job.task.form.refused) if job.task.form else {},
        field_escalation=escalate_all(job, measured, shown),
        kinds={one["kind"]: student_kinds().describe(one["kind"]) for one in learned.plan["students"]},
        trivial=trivial_answer(curated.dataset, job.task.family, job.contract),
    )


def _shown_metrics() -> dict[str, ShownMetric]:
    """The display name of each metric, and whether it is shown as 1 − loss, which a loss of 0.25 reveals."""
    quarter = Estimate(value=0.25, low=0.25, high=0.25, n=1, method="")
    displays = {name: metric.shown_as(quarter) for name, metric in metrics().all().items()}
    return {name: ShownMetric(name=shown, complement=value.value > 0.5) for name, (shown, value) in displays.items()}


def _incumbent(job: Job, curated: Curated) -> IncumbentMeasurement:
    dataset, summary = curated.dataset, curated.summary
    generator = np.random.default_rng(job.request.seed)
    latency = incumbent_latency(example.latency_s for example in dataset.examples)
    splits = {split: dataset.split(split) for split in SHOWN_SPLITS}
    return IncumbentMeasurement(
        model=max(summary.models, key=lambda name: summary.models[name], default="the incumbent"),
        quality=tuple(
            measure_incumbent(examples, job.task.family, split, job.grading)
            for split, examples in splits.items()
            if any(example.gold is not None for example in examples)
        ),
        cost_per_1k=incumbent_cost_per_1k((example.cost_usd for example in dataset.examples), generator),
        latency_p50=latency[0] if latency else None,
        latency_p95=latency[1] if latency else None,
        calls_per_month=summary.calls_per_month,
        price_source=curated.price_source,
    )


def _holdback(contract: Contract) -> float:
    """The share of requests held back for the incumbent; 0 for a local-only task."""
    return 0.0 if contract.privacy == "local-only" else contract.holdback


def _asked(job: Job) -> dict[str, Any]:
    """What the user chose of students and their options, where anything was chosen."""
    return {"asked": job.choice.as_dict()} if job.choice != StudentChoice() else {}


def _cascade(
    job: Job, measured: MeasuredStudents, certified: Certified, incumbent_cost: Estimate | None, shown: Rows | None
) -> CascadeMeasurement | None:
    """The certified cascade as it would be served; None for a refusal."""
    certificate = certified.certificate
    if certificate.verdict != "certified" or certificate.chosen is None:
        return None
    spec = certified.candidate.cascade(certificate.chosen)
    opened = open_cascade(job.home, spec)
    work = BuildFolder(job.home.builds(job.task.name) / "work")
    work.write(work.cascade, spec)  # for the fresh process that measures memory
    split: SplitName = shown[0] if shown else "tune"
    inputs = sample_inputs(measured.answered[split].examples)
    served = Served(
        one=opened.decide,
        many=lambda batch: [opened.decide(input) for input in batch],
        folder=work.path,
        opener=OPENER,
    )
    folders = [job.home.artefacts / rung.artefact for rung in spec.rungs]
    size = sum(size_on_disk(folder) for folder in folders) / 1e6
    speed = msgspec.structs.replace(measure_speed(served, inputs, job.machine, job.timing), size_mb=size)
    offload = _offload(certificate)
    return CascadeMeasurement(
        offload=offload,
        quality=_cascade_quality(job, measured, certified),
        speed=speed,
        cost_per_1k=cascade_cost_per_1k(speed.cost_per_1k, incumbent_cost, offload, _holdback(job.contract)),
        shares=_shares(measured, certified, split),
    )


def _offload(certificate: Certificate) -> Estimate:
    """The certificate's own figure and interval."""
    low, high = certificate.offload_interval or (certificate.offload, certificate.offload)
    return Estimate(
        value=certificate.offload,
        low=low,
        high=high,
        n=certificate.n_drawn or certificate.n,
        method="the certificate's, on the evidence",
        confidence=1.0 - certificate.error_share,
    )


def _shares(measured: MeasuredStudents, certified: Certified, split: SplitName) -> dict[str, float]:
    """The share of the rows of a split that each rung, and the incumbent, would answer."""
    chosen = certified.certificate.chosen
    spec = certified.candidate.cascade(chosen)
    sure, _ = _sure(measured, certified, split)
    rung = choose_rungs(sure, [one.threshold for one in spec.rungs])
    shares = {one.kind: float((rung == place).mean()) for place, one in enumerate(spec.rungs)}
    return {**shares, INCUMBENT: float((rung < 0).mean())}


def _cascade_quality(job: Job, measured: MeasuredStudents, certified: Certified) -> tuple[Quality, ...]:
    found = []
    for split in SHOWN_SPLITS:
        answered = measured.answered[split]
        answers, sure = cascade_answers(measured, certified, split)
        for reference in references_in(answered.examples):
            family = job.task.family
            found.append(measure_quality(answers, sure, answered.examples, family, split, reference, job.grading))
    return tuple(found)


def cascade_answers(
    measured: MeasuredStudents, certified: Certified, split: SplitName
) -> tuple[list[Answer | None], Sequence[float]]:
    """The cascade's answers on a split, the incumbent's where it escalates; and the confidences."""
    candidate, chosen = certified.candidate, certified.certificate.chosen
    answered = measured.answered[split]
    if not answered.examples or not candidate.candidate_students:
        return [example.incumbent for example in answered.examples], [0.0] * len(answered.examples)
    sure, places = _sure(measured, certified, split)
    thresholds = candidate.points[-1 if chosen is None else chosen].thresholds
    rungs = choose_rungs(sure, thresholds)
    answers = [
        example.incumbent if rung < 0 else answered.predictions[places[rung]].answers[row]
        for row, (example, rung) in enumerate(zip(answered.examples, rungs, strict=True))
    ]
    return answers, sure.max(axis=0).tolist()


def _sure(measured: MeasuredStudents, certified: Certified, split: SplitName) -> tuple[NDArray[np.float64], list[int]]:
    """Calibrated confidences (rungs, rows) of the candidate's students, and their places among those measured."""
    candidate, predictions = certified.candidate, measured.answered[split].predictions
    artefacts = [candidate_student.artefact for candidate_student in measured.candidate_students]
    places = [artefacts.index(candidate_student.artefact) for candidate_student in candidate.candidate_students]
    pairs = zip(candidate.calibrators, places, strict=True)
    return np.stack([confidences(each, predictions[place].signals) for each, place in pairs]), places


def _curve(job: Job, measured: MeasuredStudents, certified: Certified, shown: Rows | None) -> tuple[CurvePoint, ...]:
    """Risk against coverage along the path, on the rows that may be shown."""
    candidate, chosen = certified.candidate, certified.certificate.chosen
    if shown is None or not candidate.points:
        return ()
    answered = measured.answered[shown[0]]
    wanted = references_of(answered.examples, "gold" if shown[1] == "gold" else "agreement")
    known = np.array([row for row, reference in enumerate(wanted) if reference is not None], dtype=np.int64)
    sure, places = _sure(measured, certified, shown[0])
    rung_answers = [answered.predictions[place].answers for place in places]
    losses = np.array([[job.loss.of(answers[row], wanted[row]) for row in known] for answers in rung_answers])
    theirs = np.array([job.loss.of(answered.examples[row].incumbent, wanted[row]) for row in known])
    if len(places) == 1:
        # With one rung the whole curve can be drawn, also where the path has few points to test.
        threshold = None if chosen is None else candidate.points[chosen].thresholds[0]
        return risk_coverage_curve(losses[0], theirs, sure[0][known], threshold=threshold)
    rungs = [choose_rungs(sure[:, known], point.thresholds) for point in candidate.points]
    lost = np.stack([np.where(rung < 0, theirs, losses[rung, np.arange(known.size)]) for rung in rungs])
    return cascade_curve(lost, theirs, [rung >= 0 for rung in rungs], chosen)


def _disagreements(
    job: Job, roles: tuple[Role, ...], measured: MeasuredStudents, certified: Certified, shown: Rows | None
) -> tuple[Disagreement, ...]:
    """Rows on which cascade and incumbent differ, never of the evidence: a person who reads it would choose by it."""
    if shown is None:
        return ()
    answers, sure = cascade_answers(measured, certified, shown[0])
    examples, form = measured.answered[shown[0]].examples, job.task.form

    def places(text: str, answer: Answer) -> Sequence[Span]:
        return align(form, roles, text, answer).spans if form else ()

    return pick_disagreements(examples, answers, sure, job.task.family, SHOWN_DISAGREEMENTS, places)


PACKAGES = ("numpy", "onnxruntime", "scipy", "tokenizers", "torch", "genai-prices")


def describe_environment() -> dict[str, Any]:
    """Python, the machine and the versions of what the figures depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
        "packages": versions,
    }
