"""Calls → dataset, one step after the other. Nothing vanishes: every call ends as an example or with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Dataset, Example, Excluded, Step
from stepdown.core.errors import NotEnoughData
from stepdown.core.family import families
from stepdown.core.tasks import Task
from stepdown.curation.balance import balance
from stepdown.curation.check_path import PathCheck
from stepdown.curation.doubtful_answers import collapse, conflicts, label_noise
from stepdown.curation.gold_check import settle_gold
from stepdown.curation.manifest import make_manifest, name_sources, state_permission
from stepdown.curation.near_duplicates import exact_duplicates, near_duplicates
from stepdown.curation.options import CallFacts, CurationOptions
from stepdown.curation.outcome import Outcome
from stepdown.curation.parse import parse
from stepdown.curation.personal_data import personal_data
from stepdown.curation.split import split
from stepdown.curation.units import units

LEAST_INPUTS = 20

STEPS: tuple[Callable[[list[Example], CurationOptions], Outcome], ...] = (
    personal_data,
    exact_duplicates,
    near_duplicates,
    units,
    split,
    conflicts,
    collapse,
    label_noise,
)


def curate(calls: Iterable[Call], task: Task, options: CurationOptions) -> Dataset:
    """The dataset of a task, from its calls; the same for the same calls and seed, whatever their order.

    Raises NotEnoughData when the calls are too few or all answered alike, InputError for an unknown split in gold,
    for answers that can hardly be read and for gold that cannot be answers of the task.
    """
    options = replace(options, slice_of=families().load(task.family).slice_of, task=task.name, seen=CallFacts())
    models: Counter[str] = Counter()
    log = StepLog()
    readable = PathCheck(task)
    parsed, sources = parse(_noting_models(readable.watch(calls), models), task, options)
    readable.check()
    examples = log.enter("parse", parsed)
    examples = log.enter("gold", settle_gold(examples, task, options))
    _check(examples, log.excluded)
    unusable = Counter(one.reason for one in log.excluded)
    unusable["escalated by a cascade, and so no sample"] = len(options.seen.escalated)
    draw = None
    for step in STEPS:
        outcome = step(examples, options)
        examples, draw = log.enter(step.__name__, outcome), outcome.draw or draw
    examples = log.enter("balance", balance(examples, task))
    excluded = sorted(log.excluded, key=lambda exclusion: (exclusion.id, exclusion.reason, exclusion.detail))
    origin = (name_sources(sources, options.source_hashes), state_permission(options.permission, models))
    manifest = make_manifest(task.name, examples, excluded, log.steps, options, origin)
    return Dataset(
        examples=tuple(examples), excluded=tuple(excluded), manifest=manifest, draw=draw, unusable=dict(+unusable)
    )


@dataclass
class StepLog:
    """Every step so far, and every call that a step excluded."""

    steps: list[Step] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)

    def enter(self, name: str, outcome: Outcome) -> list[Example]:
        """Record a step and return its examples."""
        out = len(outcome.examples)
        rows_in = out + len(outcome.excluded)
        self.steps.append(Step(name=name, rows_in=rows_in, rows_out=out, findings=outcome.findings))
        self.excluded += outcome.excluded
        return outcome.examples


def _noting_models(calls: Iterable[Call], models: Counter[str]) -> Iterator[Call]:
    for call in calls:
        models[call.model] += 1
        yield call


def _check(examples: list[Example], excluded: list[Excluded]) -> None:
    inputs = len({example.text for example in examples})
    if inputs < LEAST_INPUTS:
        common = (
            ", ".join(
                f"{n} {reason}" for reason, n in Counter(exclusion.reason for exclusion in excluded).most_common(3)
            )
            or "none"
        )
        raise NotEnoughData(
            f"{len(examples)} usable calls hold {inputs} different inputs; {len(excluded)} were excluded ({common}).",
            f"At least {LEAST_INPUTS} different inputs are needed to split them, and in practice some hundreds.",
            "Import more calls of this task.",
        )
    answers = {
        canonical_json(value)
        for example in examples
        for value in (example.incumbent, example.gold)
        if value is not None
    }
    if len(answers) < 2:
        raise NotEnoughData(
            f"All {len(examples)} usable calls have the same answer.",
            "At least two different answers are needed for there to be something to learn.",
            "Import more calls, or check where the answer sits (`answer` in stepdown.toml).",
        )
