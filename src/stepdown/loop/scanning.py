"""The scan: figures of the calls, a curated dataset, a cheap cross-validated student, and a judgement of them."""

from __future__ import annotations

from stepdown.core.students import Progress
from stepdown.curation.curate import curate
from stepdown.curation.options import CurationOptions
from stepdown.evaluation.scan import CallStatistics, ScanReport, gather_facts, scan
from stepdown.evaluation.scan.gather import ScanOptions
from stepdown.loop.curating import check_labels, cross_validator, priced, summarise
from stepdown.loop.discovery import calls_of, resolve_learnable
from stepdown.loop.home import Home
from stepdown.loop.job import machine_price
from stepdown.students.kinds import student_kinds
from stepdown.traffic.pricing import Prices
from stepdown.traffic.summary import TaskSummary

THREADS = 2


def scan_task(home: Home, name: str, seed: int, progress: Progress) -> ScanReport:
    """Should this task step down? Nothing is kept and nothing is spent. Raises NotEnoughData, UnknownKind."""
    settings = home.settings
    prices = Prices(settings.prices)
    with home.store() as store:
        progress("reading the calls", 0.0)
        task = resolve_learnable(store, settings, name)
        contract = settings.task(task.name).contract
        summary = summarise(store, task, prices)
        progress("curating", 0.3)
        options = CurationOptions(
            gold=store.gold(), seed=seed, privacy=contract.privacy, against=contract.against, slices=contract.slices
        )
        dataset = curate(priced(calls_of(store, task), prices), task, options)
        check_labels(dataset)
    progress("trying a cheap student", 0.5)
    taught = any(task.family in kind.FAMILIES for kind in student_kinds().all().values())
    out_of_sample = cross_validator(seed, THREADS) if taught else None
    statistics = _statistics(summary)
    facts = gather_facts(
        dataset, task, contract, statistics, out_of_sample, ScanOptions(seed=seed, machine=machine_price(home))
    )
    return scan(facts)


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
