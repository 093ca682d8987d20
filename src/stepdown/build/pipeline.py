"""The spine: resolve → curate → fit the ladder → measure → tune and certify → record and keep."""

from __future__ import annotations

from stepdown.build.certify import certify_cascade
from stepdown.build.curate import curate_for_build
from stepdown.build.job import BuildRequest, Job
from stepdown.build.measure import measure_students
from stepdown.build.prepare import prepared
from stepdown.build.publish import keep
from stepdown.build.record import record_build
from stepdown.build.train import fit_students
from stepdown.core.record import BuildRecord
from stepdown.core.students import Progress
from stepdown.project.builds import BuildFolder
from stepdown.project.home import Home


def build(home: Home, request: BuildRequest, progress: Progress) -> tuple[BuildRecord, BuildFolder]:
    """Build, measure, certify and keep a cascade for one task. A refusal is a result, not an error.

    Raises NotEnoughData, UnknownKind, StoreError, ResourceError …, each a paragraph. An interrupt publishes nothing and
    leaves finished students for the next build of the same data and seed.
    """
    with prepared(home, request, progress) as job:
        return _stages(job)


def _stages(job: Job) -> tuple[BuildRecord, BuildFolder]:
    with job.stage("curating"):
        curated = curate_for_build(job)
    with job.stage("fitting"):
        learned = fit_students(job, curated.dataset)
    with job.stage("measuring"):
        measured = measure_students(job, curated, learned)
    with job.stage("certifying"):
        certified = certify_cascade(job, curated.dataset, measured)
    with job.stage("recording"):
        record = record_build(job, curated, learned, measured, certified)
        folder = keep(job, record, curated.dataset, measured, certified)
    return record, folder
