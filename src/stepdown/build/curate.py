"""The first stage: a task's calls, gold and verdicts into a dataset, and what is known of the calls as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.calls import Call
from stepdown.core.dataset import Dataset
from stepdown.core.errors import NotEnoughData, ResourceError
from stepdown.core.store import VOLUNTEERED_JUDGE, Store, Verdict
from stepdown.core.tasks import Task
from stepdown.curation.curate import curate
from stepdown.curation.options import CurationOptions, OutOfSample
from stepdown.project.discovery import calls_of
from stepdown.project.evidence_draws import keep_draw, read_draws, whole_since
from stepdown.build.job import Job
from stepdown.students.cross_validate import out_of_sample_probabilities
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices
from stepdown.traffic.summary import TaskSummary

MOST_LABELS = 2_000

Verdicts = dict[str, list[Verdict]]


@dataclass(frozen=True)
class Curated:
    """A task's dataset, the figures of all its calls, and the judge's verdicts by call."""

    dataset: Dataset
    summary: TaskSummary
    verdicts: Verdicts
    price_source: str


def curate_task(job: Job) -> Curated:
    """Read the task's calls twice, streaming: once for their figures, once for the dataset. Raises NotEnoughData."""
    settings, prices = job.home.settings, Prices(job.home.settings.prices)
    verdicts = read_verdicts(job.store)
    summary = summarise(job.store, job.task, prices)
    options = CurationOptions(
        gold=job.store.gold(),
        reading=job.reading,
        verdicts=incumbent_verdicts(verdicts),
        seed=job.request.seed,
        privacy=job.contract.privacy,
        against=job.contract.against,
        permission=settings.training_permission,
        slices=job.contract.slices,
        source_hashes=imported_files(job.store),
        out_of_sample=cross_validator(job.request.seed, job.request.threads),
        unit=job.contract.unit,
        draws=read_draws(job.store, job.task.name),
        whole_since=whole_since(job.store),
    )
    dataset = curate(priced(calls_of(job.store, job.task), prices), job.task, options)
    check_labels(dataset)
    if not dataset.split("tune"):
        raise NotEnoughData(
            f"Of {len(dataset.examples):,} usable calls of {job.task.name!r} none is left to tune on.",
            "Confidences are fitted, and the cascade is chosen, on calls that are neither learned from nor evidence.",
            "Import more calls, or give gold without a split column.",
        )
    # Journalled before anything is trained or labelled: what is evidence is fixed from here on.
    keep_draw(job.store, dataset.draw, job.home.clock())
    model = max(summary.models, key=lambda name: summary.models[name], default="")
    return Curated(dataset, summary, verdicts, prices.source(model) if model else "")


def imported_files(store: Store) -> dict[str, str]:
    """The sha256 of every file that was ever imported, by name, as the journal has it."""
    return {name: value for event in store.events("imported") for name, value in event.data.get("files", {}).items()}


def check_labels(dataset: Dataset) -> None:
    """Raises ResourceError where there are more labels than time and memory are bounded for."""
    labels = len(dataset.manifest.labels)
    if labels > MOST_LABELS:
        raise ResourceError(
            f"{len(dataset.examples):,} usable calls of {dataset.manifest.task!r} have {labels:,} different answers.",
            f"Students are built for at most {MOST_LABELS:,}: beyond that time, memory and evidence a label run out.",
            "Merge answers, name the field with fewer of them (`answer` in stepdown.toml), or leave the task to the "
            "large model.",
        )


def summarise(store: Store, task: Task, prices: Prices) -> TaskSummary:
    """The figures of a task's calls. Raises NotEnoughData when it has none."""
    found = find_tasks(calls_of(store, task), prices, known={task.name: task})
    if not found:
        raise NotEnoughData(
            f"The task {task.name!r} has no calls in the store.", "Expected some.", "Run: stepdown import FILE…"
        )
    return max(found, key=lambda one: one.calls)


def priced(calls: Iterator[Call], prices: Prices) -> Iterator[Call]:
    """The calls with what each cost, where a price is known and none was recorded."""
    for call in calls:
        cost = prices.cost(call) if call.cost_usd is None else call.cost_usd
        yield call if cost is None else msgspec.structs.replace(call, cost_usd=cost)


def cross_validator(seed: int, threads: int) -> OutOfSample:
    """What curation's noise audit and the scan use to see each row through a student that never saw it."""

    def out_of_sample(texts: list[str], answers: list[str]) -> NDArray[np.float64]:
        return np.asarray(out_of_sample_probabilities(texts, answers, seed, threads=threads), dtype=np.float64)

    return out_of_sample


def read_verdicts(store: Store) -> Verdicts:
    """A judge's verdicts by call; what came as feedback is nobody's judgement of a sample."""
    found: Verdicts = {}
    for verdict in store.verdicts():
        if verdict.judge.startswith(VOLUNTEERED_JUDGE):
            continue
        found.setdefault(verdict.id, []).append(verdict)
    return found


def incumbent_verdicts(verdicts: Verdicts) -> dict[str, float]:
    """The judge's losses for the incumbent's own answers: those that name no answer."""
    return {name: each.loss for name, given in verdicts.items() for each in given if each.answer is None}
