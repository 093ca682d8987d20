"""A dataset and a way to cross-validate → the facts of a scan."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset, Example
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

OutOfSample = Callable[[list[str], list[str]], NDArray[np.floating[Any]]]
"""Texts (n) and their labels (n) to probabilities (n, labels sorted), each row by a model that never saw it."""

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

    Rows of *test* are never read. Rows of *certify* are, for this forecast only: it chooses no threshold, and a
    decision not to build can but lower the share of wrong certificates.
    """
    options = options or ScanOptions()
    rows = [each for each in dataset.examples if each.split != "test"]
    answered = [each for each in rows if each.incumbent is not None]
    cheap, why = _try_student(answered, task, contract, out_of_sample, options)
    return ScanFacts(
        task=task.name,
        family=task.family,
        contract=contract,
        machine=options.machine,
        calls=calls,
        answers=answer_facts(answered),
        inputs=input_facts(rows),
        instructions=instruction_facts(task),
        gold=sum(each.gold is not None for each in rows),
        cheap=cheap,
        no_student=why,
    )


def answer_facts(examples: Sequence[Example]) -> AnswerFacts:
    """Spread and steadiness of the incumbent's answers; all zeros for no rows."""
    counts = Counter(str(each.incumbent) for each in examples)
    shares = np.array(sorted(counts.values()), dtype=np.float64) / max(1, len(examples))
    by_text: dict[str, Counter[str]] = defaultdict(Counter)
    for each in examples:
        by_text[each.text][str(each.incumbent)] += 1
    repeated = [answers for answers in by_text.values() if answers.total() > 1]
    others = sum(answers.total() - max(answers.values()) for answers in repeated)
    return AnswerFacts(
        n=len(examples),
        distinct=len(counts),
        entropy_bits=float(-(shares * np.log2(shares)).sum()) if examples else 0.0,
        top_share=float(shares.max()) if examples else 0.0,
        conflict_share=others / max(1, sum(answers.total() for answers in repeated)),
    )


def input_facts(examples: Sequence[Example]) -> InputFacts:
    """Repetition and length of the inputs."""
    texts = [each.text for each in examples]
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
) -> tuple[CheapStudent | None, str]:
    """The cheap student on a sample of the rows, or None and why not."""
    if out_of_sample is None:
        return None, f"there is no student yet for answers of the family {task.family!r}"
    if len(answered) < FEWEST_ROWS:
        return None, f"{len(answered)} usable answers are too few to learn from (at least {FEWEST_ROWS})"
    generator = np.random.default_rng(options.seed)
    taught_by = "gold" if sum(each.gold is not None for each in answered) * 2 >= len(answered) else "incumbent"
    sample = _sample(answered, options.most_rows, generator)
    targets = [_target(each, taught_by) for each in sample]
    if len(set(targets)) < 2:
        return None, "every answer is the same, so there is nothing to learn: a constant would do"
    shares = (*(_SHARES if options.learning_curve else ()), 1.0)
    runs = [_cross_validate(sample[: round(len(sample) * share)], taught_by, out_of_sample) for share in shares]
    points = tuple(learning_point(run) for run in runs if run is not None)
    whole = runs[-1]
    if whole is None:
        return None, "every answer is the same, so there is nothing to learn: a constant would do"
    return judge_cheap_student(whole, contract, generator, points), ""


def _sample(answered: Sequence[Example], most: int, generator: np.random.Generator) -> list[Example]:
    """At most `most` rows in random order. Gold is scarce, so where rows must go, those without gold go first."""
    mixed = [answered[index] for index in generator.permutation(len(answered))]
    kept = sorted(mixed, key=lambda each: each.gold is None)[:most]
    return [kept[index] for index in generator.permutation(len(kept))]


def _cross_validate(sample: Sequence[Example], taught_by: str, out_of_sample: OutOfSample) -> CrossValidated | None:
    """The sample with the answers and confidences of students that never saw the row; None for a single label."""
    targets = [_target(each, taught_by) for each in sample]
    labels = sorted(set(targets))
    if len(labels) < 2:
        return None
    probabilities = out_of_sample([each.text for each in sample], targets)
    if probabilities.shape != (len(sample), len(labels)):
        raise ValueError(f"Got probabilities {probabilities.shape}; expected ({len(sample)}, {len(labels)}).")
    return CrossValidated(
        examples=sample,
        taught_by=taught_by,
        answers=[labels[code] for code in probabilities.argmax(axis=1)],
        confidences=probabilities.max(axis=1).astype(np.float64),
    )


def _target(example: Example, taught_by: str) -> str:
    return str(example.gold if taught_by == "gold" and example.gold is not None else example.incumbent)
