"""The scan: figures of the calls, a curated dataset, a cheap cross-validated student, and a judgement of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer
from stepdown.core.family import families
from stepdown.core.students import Progress, TrainingData
from stepdown.core.tasks import Task
from stepdown.curation.curate import curate
from stepdown.curation.options import CurationOptions
from stepdown.evaluation.scan import CallStatistics, ScanReport, gather_facts, scan
from stepdown.evaluation.scan.gather import OutOfSample, ScanOptions
from stepdown.build.curate import check_labels, priced, summarise
from stepdown.project.discovery import calls_of, resolve_learnable
from stepdown.project.evidence_draws import read_draws, whole_since
from stepdown.project.home import Home
from stepdown.build.job import machine_price
from stepdown.students.out_of_sample import answer_out_of_sample
from stepdown.traffic.pricing import Prices
from stepdown.traffic.summary import TaskSummary

THREADS = 2


def scan_task(home: Home, name: str, seed: int, progress: Progress) -> ScanReport:
    """Should this task step down? Nothing is kept and nothing is spent. Raises NotEnoughData, UnknownKind."""
    settings = home.settings
    prices = Prices(settings.prices)
    with home.store() as store:
        progress("reading the calls", 0.0)
        task = resolve_learnable(store, settings, name, home.clock())
        contract = settings.task(task.name).contract
        summary = summarise(store, task, prices)
        progress("curating", 0.3)
        options = CurationOptions(
            gold=store.gold(),
            reading=settings.task(task.name).gold_reading,
            seed=seed,
            privacy=contract.privacy,
            against=contract.against,
            slices=contract.slices,
            unit=contract.unit,
            draws=read_draws(store, task.name),
            whole_since=whole_since(store),
        )
        dataset = curate(priced(calls_of(store, task), prices), task, options)
        check_labels(dataset)
    progress("trying a cheap student", 0.5)
    statistics = _statistics(summary)
    facts = gather_facts(
        dataset, task, contract, statistics, _trying(task, seed), ScanOptions(seed=seed, machine=machine_price(home))
    )
    return scan(facts)


def _trying(task: Task, seed: int) -> OutOfSample:
    """How the scan sees each row through the task's cheapest student, which never saw it."""
    slice_of = families().load(task.family).slice_of

    def out_of_sample(texts: list[str], answers: list[Answer]) -> tuple[Sequence[Answer], NDArray[np.float64]]:
        data = TrainingData(
            task=task.name,
            family=task.family,
            texts=texts,
            targets=answers,
            sources=["incumbent"] * len(answers),
            weights=np.ones(len(answers)),
            labels=tuple(sorted({slice_of(answer) for answer in answers})),
            dataset_hash="",
            form=task.form,
        )
        found = answer_out_of_sample(data, seed, threads=THREADS)
        return found.answers, found.confidences

    return out_of_sample


def _statistics(summary: TaskSummary) -> CallStatistics:
    return CallStatistics(
        calls=summary.calls,
        parsed_share=summary.share_parsed,
        calls_per_month=summary.calls_per_month,
        cost_per_1k=summary.cost_per_1k,
        latency_p50=summary.latency_p50,
        latency_p95=summary.latency_p95,
        prompt_tokens=summary.prompt_tokens,
        completion_tokens=summary.completion_tokens,
    )
