"""The first stage: a task's calls, gold and verdicts become a dataset, with figures of all calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.build.job import Job
from stepdown.core.calls import Call
from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset
from stepdown.core.errors import NotEnoughData, ResourceError
from stepdown.core.store import VOLUNTEERED_JUDGE, Store, Verdict
from stepdown.core.tasks import Task
from stepdown.curation.curate import curate
from stepdown.curation.options import CurationOptions, OutOfSample
from stepdown.project.discovery import calls_of
from stepdown.project.evidence_draws import keep_draw, read_draws, whole_since
from stepdown.project.home import Home
from stepdown.students.cross_validate import out_of_sample_probabilities
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices
from stepdown.traffic.summary import TaskSummary

MOST_LABELS = 2_000

Verdicts = dict[str, list[Verdict]]


@dataclass(frozen=True)
class Curated:
    """A task's dataset, the figures of all its calls, the judge's verdicts by call, and where its price comes from."""

    dataset: Dataset
    summary: TaskSummary
    verdicts: Verdicts
    price_source: str


def curate_for_build(job: Job) -> Curated:
    """The curated data of a build, with its draw entered in the journal. Raises NotEnoughData."""
    own = {
        "seed": job.request.seed,
        "out_of_sample": cross_validator(job.request.seed, job.request.threads),
    }
    curated = curate_task(job.home, job.store, job.task, job.contract, own)
    if not curated.dataset.split("tune"):
        raise NotEnoughData(
            f"Of {len(curated.dataset.examples):,} usable calls of {job.task.name!r} none is left for the tune split.",
            "Confidences are fitted, and the cascade is chosen, on calls that are neither learned from nor evidence.",
            "Import more calls, or give gold without a split column.",
        )
    # Journalled before anything is trained or labelled: what is evidence is fixed from here on.
    keep_draw(job.store, curated.dataset.draw, job.home.clock())
    return curated


def curate_task(home: Home, store: Store, task: Task, contract: Contract, own: Mapping[str, Any]) -> Curated:
    """A task's curated data, with the same settings for scan and build but for `own`, options of `curate`.

    The calls are read twice, streaming: once for their figures, once for the dataset. Raises NotEnoughData, and
    ResourceError where there are too many labels.
    """
    prices = Prices(home.settings.prices)
    summary = summarise(store, task, prices)
    dataset = curate_calls(home, store, task, contract, own)
    check_labels(dataset)
    model = max(summary.models, key=lambda name: summary.models[name], default="")
    return Curated(dataset, summary, read_verdicts(store), prices.source(model) if model else "")


def curate_calls(home: Home, store: Store, task: Task, contract: Contract, own: Mapping[str, Any]) -> Dataset:
    """The dataset of a task's calls in the store, under a contract. own: options that differ from the settings'."""
    options = CurationOptions(
        gold=store.gold(),
        reading=home.settings.task(task.name).gold_reading,
        verdicts=incumbent_verdicts(read_verdicts(store)),
        privacy=contract.privacy,
        against=contract.against,
        permission=home.settings.training_permission,
        slices=contract.slices,
        source_hashes=imported_files(store),
        unit=contract.unit,
        draws=read_draws(store, task.name),
        whole_since=whole_since(store),
    )
    calls = priced(calls_of(store, task), Prices(home.settings.prices))
    return curate(calls, task, replace(options, **own))


def imported_files(store: Store) -> dict[str, str]:
    """The sha256 of every file that was ever imported, by name, as the journal has it."""
    return {name: value for event in store.events("imported") for name, value in event.data.get("files", {}).items()}


def check_labels(dataset: Dataset) -> None:
    """Raise ResourceError where a dataset has more labels than `MOST_LABELS`."""
    labels = len(dataset.manifest.labels)
    if labels > MOST_LABELS:
        raise ResourceError(
            f"{len(dataset.examples):,} usable calls of {dataset.manifest.task!r} have {labels:,} different answers.",
            f"Students are built for at most {MOST_LABELS:,}: time, memory and evidence do not allow more.",
            "Merge answers, name the field with fewer of them (`answer` in stepdown.toml), or leave the task to the "
            "large model.",
        )


def summarise(store: Store, task: Task, prices: Prices) -> TaskSummary:
    """The figures of a task's calls. Raises NotEnoughData when it has none."""
    summaries = find_tasks(calls_of(store, task), prices, known={task.name: task})
    if not summaries:
        raise NotEnoughData(
            f"The task {task.name!r} has no calls in the store.", "Expected at least one.", "Run: stepdown import FILE…"
        )
    return max(summaries, key=lambda summary: summary.calls)


def priced(calls: Iterator[Call], prices: Prices) -> Iterator[Call]:
    """The calls with what each cost, where a price is known and none was recorded."""
    for call in calls:
        cost = prices.cost(call) if call.cost_usd is None else call.cost_usd
        yield call if cost is None else msgspec.structs.replace(call, cost_usd=cost)


def cross_validator(seed: int, threads: int) -> OutOfSample:
    """A function that gives cross-fitted probabilities of labels, for curation's noise audit."""

    def out_of_sample(texts: list[str], answers: list[str]) -> NDArray[np.float64]:
        return np.asarray(out_of_sample_probabilities(texts, answers, seed, threads=threads), dtype=np.float64)

    return out_of_sample


def read_verdicts(store: Store) -> Verdicts:
    """A judge's verdicts by call. Feedback is left out: it is not a judgement of a sample."""
    verdicts: Verdicts = {}
    for verdict in store.verdicts():
        if verdict.judge.startswith(VOLUNTEERED_JUDGE):
            continue
        verdicts.setdefault(verdict.id, []).append(verdict)
    return verdicts


def incumbent_verdicts(verdicts: Verdicts) -> dict[str, float]:
    """The judge's losses for the incumbent's own answers: those that name no answer."""
    return {name: each.loss for name, given in verdicts.items() for each in given if each.answer is None}
