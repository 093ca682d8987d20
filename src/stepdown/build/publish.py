"""The last stage: a build's folder, published whole or not at all, and its event in the journal."""

from __future__ import annotations

import os
import shutil
from typing import Any

import msgspec
import numpy as np

from stepdown.build.certify import Certified
from stepdown.build.job import Job
from stepdown.build.label_plan import label_next, rows_planned, to_label, write_next
from stepdown.build.measured_students import MeasuredStudents
from stepdown.certificate.files import seal
from stepdown.certificate.planning import expect
from stepdown.certificate.refusal import needed_labels
from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Dataset
from stepdown.core.errors import StepdownError
from stepdown.core.record import BuildRecord
from stepdown.core.tasks import Task
from stepdown.curation.dataset_file import write_dataset
from stepdown.project.builds import UNFINISHED, BuildFolder, Pending, publish
from stepdown.project.discovery import with_settings
from stepdown.project.home import make_folder, write_whole
from stepdown.project.in_force import changing, chosen, why_other_contract
from stepdown.project.issuance import issuance_of, link_artefacts
from stepdown.project.journal import BUILT, read_journal
from stepdown.project.response_template import freeze
from stepdown.project.settings import Settings, read_settings, settings_digest
from stepdown.report.model_card import render_model_card
from stepdown.report.render import render

KEPT_BUILDS = 5


def keep(
    job: Job, record: BuildRecord, dataset: Dataset, measured: MeasuredStudents, certified: Certified
) -> BuildFolder:
    """Write a build into a folder that appears in one step, and make it the newest. Raises ResourceError."""
    certificate = certified.certificate
    parent = job.home.builds(job.task.name)
    _sweep(job)
    name = f"{int(record.created_at * 1000):015d}-{certificate.digest[:8]}"
    draft = BuildFolder(parent / (name + UNFINISHED))
    make_folder(draft.path)
    draft.write(draft.task, job.task)
    draft.write(draft.cascade, certified.candidate.cascade(certificate.chosen))
    draft.write(draft.certificate, seal(certificate))
    fields = {
        candidate_student.artefact: known
        for candidate_student, known in zip(measured.candidate_students, measured.fields, strict=True)
        if known
    }
    if fields:
        draft.write(draft.fields, fields)
    write_whole(draft.evidence, certified.evidence.to_bytes())
    write_dataset(dataset, draft.dataset)
    draft.write(draft.record, msgspec.structs.replace(record, seconds=dict(job.seconds)))
    write_whole(draft.report, render(record))
    write_whole(draft.model_card, render_model_card(record))
    write_whole(draft.template, freeze(with_settings(job.task, job.home.settings), job.store, record))
    _write_labels(job, draft, dataset, measured, certified)
    fact = {
        **_fact(record, job.task),
        "build": name,
        "files": draft.hashes(),
        "settings": settings_digest(job.home.folder),
    }
    link_artefacts((rung.artefact for rung in draft.read_cascade().rungs), job.home.artefacts, draft.artefacts)
    folder = BuildFolder(parent / name)
    os.replace(draft.path, folder.path)
    # An old question asked again is answered with the date of then: what has lapsed takes nobody's place.
    is_valid = certificate.is_valid_at(job.home.clock())
    serves = is_valid and not why_other_contract(_settings(job), certificate)
    with changing(job.home, job.task.name):
        before = _answers(job)
        # The journal first: what is published must be known to it, whenever the process is killed.
        known = {**fact, "serves": serves, "before": before}
        built = job.store.append(BUILT, job.task.name, known, at=job.home.clock())
        folder.write(folder.issued, issuance_of(job.store, built, certificate))
        publish(job.home, job.task.name, folder, serves)
    return folder


def _settings(job: Job) -> Settings:
    """The settings of now, not of when the build began: a build takes minutes, and the contract may have changed."""
    try:
        return read_settings(job.home.folder)
    except StepdownError:
        return job.home.settings


def _write_labels(
    job: Job, draft: BuildFolder, dataset: Dataset, measured: MeasuredStudents, certified: Certified
) -> None:
    """The file of calls to label next, where labels would help."""
    draw, whole = dataset.draw, certified.whole
    wanted = label_next(certified.certificate, whole, certified.evidence.n)
    if draw is None or not whole.candidate.points or whole.seen.reference != "gold":
        return
    differs, _ = needed_labels(whole)
    places = frozenset(np.flatnonzero(differs).tolist())
    expected = expect(whole.candidate, measured.tune)
    graded = whole.seen.support == "bounded"
    draft.write(draft.pending, Pending(draw=draw.digest, places=places, expected=expected, graded=graded))
    if not wanted:
        return
    plan = to_label(dataset, whole, rows_planned(job.store, draw, whole, wanted))
    if plan.examples:
        write_next(job.store, draw, plan, draft.labels, job.home.clock())


def _fact(record: BuildRecord, task: Task) -> dict[str, Any]:
    certificate = record.certificate
    return {
        "task": digest_of(task),
        "certificate": certificate.digest,
        "verdict": certificate.verdict,
        "cascade": certificate.cascade_hash,
        "dataset": record.dataset.content_hash,
        "students": [student.artefact for student in record.students],
        "seed": record.seed,
    }


def _sweep(job: Job) -> None:
    """Remove unfinished folders of killed builds, and builds older than the last few."""
    folders = [path for path in job.home.builds(job.task.name).iterdir() if path.is_dir() and path.name[0].isdigit()]
    for path in folders:
        if path.name.endswith(UNFINISHED):
            shutil.rmtree(path, ignore_errors=True)
    finished = sorted(path for path in folders if not path.name.endswith(UNFINISHED))
    # Whatever is built or tried: what answers stays, and so does what a rollback would bring back.
    kept = {_answers(job), *read_journal(job.home, job.store).served(job.task.name)[-2:]}
    for path in finished[: -KEPT_BUILDS + 1]:
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _answers(job: Job) -> str:
    """The name of the build that answers now; "" where none ever did."""
    try:
        return chosen(job.home, read_journal(job.home, job.store), job.task.name)
    except StepdownError:
        return ""
