"""The scan: figures of the calls, a curated dataset, a cheap cross-validated student, and a judgement of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepdown.build.curate import curate_task
from stepdown.build.job import machine_price
from stepdown.core.dataset import Answer
from stepdown.core.family import families
from stepdown.core.inputs import inputs_of
from stepdown.core.students import Progress, TrainingData
from stepdown.core.tasks import Task
from stepdown.evaluation.scan.facts import CallStatistics
from stepdown.evaluation.scan.gather import OutOfSample, ScanOptions, gather_facts
from stepdown.evaluation.scan.verdict import ScanReport, scan
from stepdown.project.discovery import resolve_learnable
from stepdown.project.home import Home
from stepdown.students.out_of_sample import answer_out_of_sample
from stepdown.traffic.summary import TaskSummary

THREADS = 2


def scan_task(home: Home, name: str, seed: int, progress: Progress) -> ScanReport:
    """Should this task step down? Nothing is kept and nothing is spent. Raises NotEnoughData, UnknownKind."""
    with home.store() as store:
        progress("reading the calls", 0.0)
        task = resolve_learnable(store, home.settings, name, home.clock())
        contract = home.settings.task(task.name).contract
        progress("curating", 0.1)
        curated = curate_task(home, store, task, contract, {"seed": seed})
    progress("trying a cheap student", 0.5)
    statistics = _statistics(curated.summary)
    facts = gather_facts(
        curated.dataset,
        task,
        contract,
        statistics,
        _trying(task, seed),
        ScanOptions(seed=seed, machine=machine_price(home)),
    )
    return scan(facts)


def _trying(task: Task, seed: int) -> OutOfSample:
    """A function that gives out-of-sample answers and confidences of the task's cheapest student."""
    slice_of = families().load(task.family).slice_of

    def out_of_sample(texts: list[str], answers: list[Answer]) -> tuple[Sequence[Answer], NDArray[np.float64]]:
        data = TrainingData(
            task=task.name,
            family=task.family,
            inputs=inputs_of(texts),
            targets=answers,
            sources=["incumbent"] * len(answers),
            weights=np.ones(len(answers)),
            labels=tuple(sorted({slice_of(answer) for answer in answers})),
            dataset_hash="",
            form=task.form,
        )
        predicted = answer_out_of_sample(data, seed, threads=THREADS)
        return predicted.answers, predicted.confidences

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
