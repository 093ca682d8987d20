"""The spine: resolve → curate → fit the ladder → measure → tune and certify → record and keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stepdown.core.contract import Contract
from stepdown.core.errors import ContractError
from stepdown.core.family import families, loss_named
from stepdown.core.record import BuildRecord
from stepdown.core.students import Progress
from stepdown.core.tasks import Task
from stepdown.build.certify import certify_cascade
from stepdown.build.curate import curate_task
from stepdown.project.discovery import resolve_learnable
from stepdown.project.feedback import note_feedback
from stepdown.project.home import Home
from stepdown.project.integrity import check_store
from stepdown.build.job import BuildRequest, Job
from stepdown.build.publish import keep
from stepdown.build.train import fit_students
from stepdown.build.measure import measure_students
from stepdown.build.record import record_build
from stepdown.project.builds import BuildFolder


def build(home: Home, request: BuildRequest, progress: Progress) -> tuple[BuildRecord, BuildFolder]:
    """Build, measure, certify and keep a cascade for one task. A refusal is a result, not an error.

    Raises NotEnoughData, UnknownKind, StoreError, ResourceError …, each a paragraph. An interrupt publishes nothing and
    leaves finished students for the next build of the same data and seed.
    """
    with prepared(home, request, progress) as job:
        return _stages(job)


@contextmanager
def prepared(home: Home, request: BuildRequest, progress: Progress) -> Iterator[Job]:
    """A job whose task and contract are known to be ones that can be built, with the task held for it alone."""
    with home.store() as store:
        progress("reading", 0.0)
        note_feedback(store, home.clock(), every_s=0.0)
        check_store(store)
        task = resolve_learnable(store, home.settings, request.task, home.clock())
        with home.building(task.name):
            contract = request.contract(home.settings.task(task.name).contract)
            check_loss(task, contract)
            yield Job(home, store, request, progress, task, contract)


def _stages(job: Job) -> tuple[BuildRecord, BuildFolder]:
    with job.stage("curating"):
        curated = curate_task(job)
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


def check_loss(task: Task, contract: Contract) -> None:
    """ProgramAnswer before anything is trained. Raises ContractError for a loss that there is not, or that cannot be shown."""
    loss = loss_named(task.family, contract.loss)
    if contract.against == "agreement" and not loss.triangle:
        fitting = [name for name, one in families().load(task.family).LOSSES.items() if one.triangle]
        raise ContractError(
            f'The contract has loss = "{loss.name}" against = "agreement".',
            "Agreement bounds the excess of a loss over the incumbent's only where that obeys the triangle inequality; "
            "else an answer close to the incumbent's may be much further from what is right than that is.",
            f'Set against = "gold" (or "judged"), or loss = "{fitting[0]}".',
        )
