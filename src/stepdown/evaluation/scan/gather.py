"""A dataset and a way to cross-validate → the facts of a scan."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.contract import Contract
from stepdown.core.dataset import Answer, Dataset, Example
from stepdown.core.errors import NotEnoughData
from stepdown.core.family import Loss, families, loss_named
from stepdown.core.tasks import Task
from stepdown.evaluation.cost import MachinePrice
from stepdown.evaluation.scan.cheap_student import CrossValidated, judge_cheap_student, learning_point
from stepdown.evaluation.scan.facts import (
    FEWEST_ROWS,
    AnswerFacts,
    CallStatistics,
    CheapStudent,
    InputFacts,
    InstructionFacts,
    ScanFacts,
)
from stepdown.evaluation.trivial import trivial_answer

OutOfSample = Callable[[list[str], list[Answer]], tuple[Sequence[Answer], NDArray[np.float64]]]
"""Texts (n) and their answers (n) to answers (n) and confidences (n,), each row's by a model that never saw it.

It raises NotEnoughData where nothing could be learned, with the reason."""

_SHARES = (0.25, 0.5)
_RULE = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S")


@dataclass(frozen=True)
class ScanOptions:
    """most_rows bounds the cross-validation; learning_curve adds runs on a quarter and half of the rows."""

    most_rows: int = 8000
    learning_curve: bool = True
    seed: int = 0
    machine: MachinePrice = MachinePrice()  # noqa: RUF009 (frozen)


def gather_facts(
    dataset: Dataset,
    task: Task,
    contract: Contract,
    calls: CallStatistics,
    out_of_sample: OutOfSample | None,
    options: ScanOptions | None = None,
) -> ScanFacts:
    """The facts of one task. out_of_sample: None where no student of the task's family can be tried.

    Rows of *test* are never read. Of *certify* only calls and labels are counted; no student answers them here, for
    who reads what a student is worth on the evidence, label by label, chooses by it.
    """
    options = options or ScanOptions()
    rows = [each for each in dataset.examples if each.split != "test"]
    answered = [row for row in rows if row.incumbent is not None]
    complete = all(row.gold is not None for row in rows) if dataset.draw is None else dataset.draw.complete

    def is_fair(example: Example) -> bool:
        return complete or example.gold_basis == "random-sample"

    cheap, why = _try_student(answered, task, contract, out_of_sample, options, is_fair)
    return ScanFacts(
        task=task.name,
        family=task.family,
        contract=contract,
        machine=options.machine,
        calls=calls,
        answers=answer_facts(answered, task),
        inputs=input_facts(rows),
        instructions=instruction_facts(task),
        gold=sum(row.gold is not None for row in rows if row.split == "certify" or is_fair(row)),
        cheap=cheap,
        no_student=why,
        trivial=trivial_answer(dataset, task.family, contract) if out_of_sample is not None else None,
    )


def answer_facts(examples: Sequence[Example], task: Task) -> AnswerFacts:
    """Spread and steadiness of the incumbent's answers; all zeros for no rows."""
    counts = Counter(canonical_json(each.incumbent) for each in examples)
    spread: Counter[Any] = counts
    if task.form is not None:
        slice_of = families().load(task.family).slice_of
        spread = Counter(slice_of(each.incumbent) for each in examples)
    shares = np.array(sorted(spread.values()), dtype=np.float64) / max(1, len(examples))
    by_text: dict[str, Counter[bytes]] = defaultdict(Counter)
    for example in examples:
        by_text[example.text][canonical_json(example.incumbent)] += 1
    repeated = [answers for answers in by_text.values() if answers.total() > 1]
    others = sum(answers.total() - max(answers.values()) for answers in repeated)
    return AnswerFacts(
        n=len(examples),
        distinct=len(counts),
        entropy_bits=max(0.0, float(-(shares * np.log2(shares)).sum())),
        top_share=float(shares.max()) if examples else 0.0,
        conflict_share=others / max(1, sum(answers.total() for answers in repeated)),
        fields=len(task.form.fields) if task.form is not None else 0,
    )


def input_facts(examples: Sequence[Example]) -> InputFacts:
    """Repetition and length of the inputs."""
    texts = [example.text for example in examples]
    lengths = [len(text) for text in texts] or [0]
    middle, long = np.quantile(lengths, [0.5, 0.95])
    return InputFacts(
        duplicate_share=1.0 - len(set(texts)) / len(texts) if texts else 0.0,
        characters_p50=float(middle),
        characters_p95=float(long),
    )


def instruction_facts(task: Task) -> InstructionFacts | None:
    """Size of the constant part of the prompt; None where the calls share no template."""
    if task.template is None:
        return None
    text = "\n".join(part.text for message in task.template.messages for part in message.parts)
    return InstructionFacts(
        words=len(text.split()),
        rules=sum(bool(_RULE.match(line)) for line in text.splitlines()),
        messages=len(task.template.messages),
    )


def _try_student(
    answered: Sequence[Example],
    task: Task,
    contract: Contract,
    out_of_sample: OutOfSample | None,
    options: ScanOptions,
    is_fair: Callable[[Example], bool],
) -> tuple[CheapStudent | None, str]:
    """The cheap student on a sample of the rows that are no evidence, or None and why not. is_fair: whether a row's
    gold is no choice of somebody's, so that a student may be judged by it."""
    if out_of_sample is None:
        return None, f"there is no student yet for answers of the family {task.family!r}"
    kept = [each for each in answered if each.split == "certify"]
    evidence = len(kept) if contract.against == "agreement" else sum(each.gold is not None for each in kept)
    answered = [each if is_fair(each) else msgspec.structs.replace(each, gold=None) for each in answered]
    answered = [each for each in answered if each.split != "certify"]
    if len(answered) < FEWEST_ROWS:
        return None, f"{len(answered)} usable answers are too few to learn from (at least {FEWEST_ROWS})"
    generator = np.random.default_rng(options.seed)
    taught_by = "gold" if sum(each.gold is not None for each in answered) * 2 >= len(answered) else "incumbent"
    sample = _sample(answered, options.most_rows, generator)
    if len({canonical_json(_target(each, taught_by)) for each in sample}) < 2:
        return None, "every answer is the same, so there is nothing to learn: a constant would do"
    trial = _Trial(taught_by, out_of_sample, loss_named(task.family, contract.loss), task.family)
    parts = [sample[: round(len(sample) * share)] for share in (_SHARES if options.learning_curve else ())]
    try:
        runs = [*(run for part in parts if (run := trial.run_or_none(part)) is not None), trial.run(sample)]
    except NotEnoughData as error:
        return None, error.got.rstrip(".")
    points = tuple(learning_point(run) for run in runs)
    return judge_cheap_student(runs[-1], contract, generator, points, evidence), ""


def _sample(answered: Sequence[Example], most: int, generator: np.random.Generator) -> list[Example]:
    """At most `most` rows in random order. Gold is scarce, so where rows must go, those without gold go first."""
    mixed = [answered[index] for index in generator.permutation(len(answered))]
    kept = sorted(mixed, key=lambda each: each.gold is None)[:most]
    return [kept[index] for index in generator.permutation(len(kept))]


@dataclass(frozen=True)
class _Trial:
    """How rows are cross-validated and judged."""

    taught_by: str
    out_of_sample: OutOfSample
    loss: Loss
    family: str

    def run(self, sample: Sequence[Example]) -> CrossValidated:
        """The sample with the answers and confidences of students that never saw the row. Raises NotEnoughData."""
        targets = [_target(each, self.taught_by) for each in sample]
        answers, confidences = self.out_of_sample([each.text for each in sample], targets)
        if len(answers) != len(sample) or confidences.shape != (len(sample),):
            raise ValueError(f"Got {len(answers)} answers and confidences {confidences.shape}; expected {len(sample)}.")
        slice_of = families().load(self.family).slice_of
        return CrossValidated(sample, self.taught_by, answers, confidences, self.loss, slice_of)

    def run_or_none(self, sample: Sequence[Example]) -> CrossValidated | None:
        """The same of a part of the rows, which may be too few to learn from, or all answered alike."""
        if len({canonical_json(_target(each, self.taught_by)) for each in sample}) < 2:
            return None
        try:
            return self.run(sample)
        except NotEnoughData:
            return None


def _target(example: Example, taught_by: str) -> Answer:
    return example.gold if taught_by == "gold" and example.gold is not None else example.incumbent
