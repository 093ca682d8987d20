"""Before the first stage: the task is found, its contract checked, and the task held for one build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stepdown.build.job import BuildRequest, Job
from stepdown.core.contract import Contract
from stepdown.core.errors import ContractError
from stepdown.core.family import loss_named, losses_of
from stepdown.core.students import Progress
from stepdown.core.tasks import Task
from stepdown.project.discovery import resolve_learnable
from stepdown.project.home import Home
from stepdown.project.integrity import check_store
from stepdown.project.journal import note_feedback


@contextmanager
def prepared(home: Home, request: BuildRequest, progress: Progress) -> Iterator[Job]:
    """A job with a task and contract that can be built, while the task is locked for it."""
    with home.store() as store:
        progress("reading", 0.0)
        note_feedback(store, home.clock(), every_s=0.0)
        check_store(store)
        task = resolve_learnable(store, home.settings, request.task, home.clock())
        with home.building(task.name):
            settings = home.settings.task(task.name)
            contract = request.contract(settings.contract)
            check_loss(task, contract)
            yield Job(home, store, request, progress, task, contract, request.choice(task.family, settings))


def check_loss(task: Task, contract: Contract) -> None:
    """Raise ContractError, before anything is trained, for a loss that is unknown or that agreement cannot bound."""
    loss = loss_named(task.family, contract.loss)
    if contract.against == "agreement" and not loss.triangle:
        fitting = [name for name, one in losses_of(task.family).items() if one.triangle]
        raise ContractError(
            f'The contract has loss = "{loss.name}" against = "agreement".',
            "Agreement bounds the excess of a loss over the incumbent's only where that obeys the triangle inequality; "
            "else an answer close to the incumbent's may be much further from what is right than that is.",
            f'Set against = "gold" (or "judged"), or loss = "{fitting[0]}".',
        )
