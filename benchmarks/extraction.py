"""The second family on public data: SNIPS as JSON and as tools, restaurant8k, WNUT17, wikigold, tau_bench.

    python -m benchmarks.extraction [--data ../shared/data] [--only snips,wnut17] [--budget 12m] [--json FILE]
                                    [--rows N] [--test-rows N] [--import-test] [--loss NAME] [--margin M] [--no-crf]

Each data set becomes recorded traffic and gold in a fresh project folder and is built as `stepdown build` builds;
then what is served answers the published test rows, which are never imported unless `--import-test` says so. But for
tau_bench the recorded incumbent is the data set's annotation, a perfect one, so excess loss is the student's own loss.
Figures are counted by `_extraction.scoring`, not by the house's metrics; latency is of single answers on one thread.

On WNUT17 and wikigold a CRF learns from the same rows in the same run (it needs: pip install python-crfsuite); schemas
are checked with jsonschema, which the extra `dev` brings. Nothing is asserted here; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._extraction import crf, entities, restaurant8k, snips, tau_bench
from benchmarks._extraction.measure import (
    CascadeFigures,
    StudentFigures,
    measure_cascade,
    measure_students,
    rows_by_group,
)
from benchmarks._extraction.project import Built, Plan, build_task
from benchmarks._extraction.task import Task
from stepdown.core.contract import parse_duration
from stepdown.core.errors import StepdownError
from stepdown.stats import betting

TASKS: dict[str, Callable[[Path], Task]] = {
    "snips": snips.json_task,
    "snips-tools": snips.tool_task,
    "restaurant8k": restaurant8k.task,
    "wnut17": entities.wnut_task,
    "wikigold": entities.wikigold_task,
    "tau-airline": tau_bench.task,
}
PUBLISHED = {
    "wnut17": (
        ("41.86, best of the shared task", "Aguilar et al. (2017), W-NUT, aclanthology W17-4419"),
        ("56.5, BERTweet, 135M parameters", "Nguyen, Vu & Nguyen (2020), EMNLP demos, arXiv:2005.10200"),
        ("60.45, XLM-R large with retrieved text", "Wang et al. (2021), ACL, arXiv:2105.03654"),
    ),
    "wikigold": (
        ("86.43, fine-tuned on its own train, other split", "Liang et al. (2020), BOND, KDD, arXiv:2006.15509"),
        ("60.07, distant labels only", "the same"),
    ),
}
"""Entity-level F1 of larger models, as published."""


@dataclass(frozen=True)
class Outcome:
    """One data set. rows: by split, as curation left them. excluded: calls by reason. crf: F1 of the baseline."""

    task: str
    rows: dict[str, int]
    excluded: dict[str, int]
    seconds: dict[str, float]
    verdict: str
    reasons: tuple[str, ...]
    claim: dict[str, float] | None
    certified_offload: float
    students: list[StudentFigures]
    dropped: dict[str, str]
    cascade: CascadeFigures | None
    crf: crf.Baseline | None
    groups: dict[str, Any]
    notes: tuple[str, ...]


def run(task: Task, plan: Plan, with_crf: bool) -> Outcome:
    """Build one data set in a fresh folder and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        built = build_task(task, plan, Path(folder))
        certificate = built.record.certificate
        claim = certificate.excess_loss
        students, cascade = measure_students(task, built), measure_cascade(task, built)
        return Outcome(
            task=task.name,
            rows={**built.record.dataset.counts, "published test": len(built.test)},
            excluded=built.record.excluded,
            seconds={**built.record.seconds, **built.seconds},
            verdict=certificate.verdict,
            reasons=certificate.reasons,
            claim=None
            if claim is None
            else {name: getattr(claim, name) for name in ("estimate", "bound", "limit", "n")},
            certified_offload=certificate.offload,
            students=students,
            dropped={one.kind: one.why for one in built.record.dropped},
            cascade=cascade,
            crf=crf.train_and_test(task.of("train"), built.test) if with_crf and task.name in PUBLISHED else None,
            groups=by_group(task, built, cascade),
            notes=task.notes,
        )


def by_group(task: Task, built: Built, cascade: CascadeFigures | None) -> dict[str, Any]:
    """What may be said of whole conversations, whose rows depend on each other: bounds on the mean over conversations
    (and over customers' tasks) of the share of wrong answers that were accepted, at 95 %, on the test rows."""
    if cascade is None or not any(row.group for row in built.test) or task.contract["against"] != "agreement":
        return {}
    found: dict[str, Any] = {"rows": len(cascade.losses), "answered": cascade.accepted.n, "replies": cascade.replies}
    losses = np.array(cascade.losses)
    runs = rows_by_group(built.test)
    customers: dict[str, list[int]] = {}
    for group, places in runs.items():
        customers.setdefault(group.split("-")[1], []).extend(places)
    for name, groups in (("conversations", runs), ("customers", customers)):
        means = np.array([losses[places].mean() for places in groups.values()])
        bound = betting.upper_bound(means, 0.05, betting.Bounds(0.0, 1.0))
        found[name] = {"n": len(means), "mean": float(means.mean()), "bound": bound}
    return found


def table(outcomes: list[Outcome]) -> str:
    lines = [
        "| data | rows: learned, tune, certify, test | build | student | exact | intent or tool | F1 by value | "
        "F1 by span | valid | abstains | p50 / p95 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_student(outcome, one) for outcome in outcomes for one in outcome.students]
    lines += [_baseline(outcome.task, outcome.crf) for outcome in outcomes if outcome.crf]
    lines += [
        "",
        "| data | verdict | certified offload | bound ≤ limit | offload on test | excess loss | exact where answered |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(_cascade(outcome) for outcome in outcomes)])


def _baseline(name: str, one: crf.Baseline) -> str:
    return f"| {name} | {one.rows} | {one.seconds:.0f} s | CRF | | | | {one.counts.f1:.2%} | | | |"


def _student(outcome: Outcome, one: StudentFigures) -> str:
    rows = "/".join(str(outcome.rows.get(name, 0)) for name in ("train", "tune", "certify", "published test"))
    figures = one.figures
    decision = "" if figures.decision is None else f"{figures.decision:.2%}"
    return (
        f"| {outcome.task} | {rows} | {outcome.seconds['build']:.0f} s | {one.kind}, {one.size_mb:.1f} MB, "
        f"{one.trained_s:.0f} s | {figures.exact:.2%} | {decision} | {figures.values.f1:.2%} | "
        f"{figures.spans.f1:.2%} | {one.valid:.2%} of {one.checked} | {one.abstains:.1%} | "
        f"{one.p50_ms:.2f} / {one.p95_ms:.2f} ms |"
    )


def _cascade(outcome: Outcome) -> str:
    claim, cascade = outcome.claim, outcome.cascade
    bound = f"{claim['bound']:+.4f} ≤ {claim['limit']:.4f}" if claim else ""
    test = ["", "", ""]
    if cascade:
        test = [f"{cascade.offload:.1%}", f"{cascade.excess_loss:+.4f}", f"{cascade.accepted.exact:.2%}"]
    return f"| {outcome.task} | {outcome.verdict} | {outcome.certified_offload:.1%} | {bound} | {' | '.join(test)} |"


def details(outcome: Outcome) -> str:
    """What the table leaves out."""
    lines = [f"{outcome.task}: seconds { ({name: round(value, 1) for name, value in outcome.seconds.items()}) }"]
    lines += [f"  excluded: {outcome.excluded}"] if outcome.excluded else []
    lines += [f"  {reason}" for reason in outcome.reasons]
    lines += [f"  {one.kind}: training values {_aligned(one)}" for one in outcome.students if one.aligned]
    lines += [f"  {kind} was dropped: {why}" for kind, why in outcome.dropped.items()]
    lines += [f"  by group: {json.dumps(outcome.groups)}"] if outcome.groups else []
    lines += [f"  published: {figure} ({source})" for figure, source in PUBLISHED.get(outcome.task, ())]
    return "\n".join([*lines, *(f"  {note}" for note in outcome.notes)])


def _aligned(one: StudentFigures) -> str:
    """How many were found in their texts, and of which fields some were not."""
    found, lost = (sum(counts[place] for counts in one.aligned.values()) for place in (0, 1))
    fields = [f"{name} {missing} of {there + missing}" for name, (there, missing) in one.aligned.items() if missing]
    return f"aligned {found:,}, not {lost:,}" + (f" ({', '.join(fields)})" if fields else "")


def main() -> int:
    """Run the chosen data sets; 1 when one could not be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--only", default=",".join(TASKS), help=f"some of {','.join(TASKS)}")
    parser.add_argument("--budget", default="12m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--test-rows", type=int, default=0)
    parser.add_argument("--import-test", action="store_true")
    parser.add_argument("--loss", default="")
    parser.add_argument("--margin", type=float)
    parser.add_argument("--no-crf", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    known = {field.name for field in fields(Plan)}
    plan = Plan(
        budget_s=parse_duration(chosen.budget), **{name: value for name, value in vars(chosen).items() if name in known}
    )
    outcomes, failed = [], 0
    for name in chosen.only.split(","):
        started = time.perf_counter()
        try:
            outcomes.append(run(TASKS[name](chosen.data), plan, not chosen.no_crf))
        except StepdownError as error:
            failed += 1
            print(f"{name}: {error}", flush=True)
            continue
        print(details(outcomes[-1]), flush=True)
        print(f"  {time.perf_counter() - started:.0f} s in all\n", flush=True)
    print(table(outcomes))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
