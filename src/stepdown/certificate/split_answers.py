"""Students' answers on the splits that they have not learned from, as observations for the certificate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import choose_reference
from stepdown.certificate.observations import SEPARATOR, CandidateStudent, JudgedLosses, Observations
from stepdown.core.canonical import canonical_json, digest
from stepdown.core.contract import Evidence
from stepdown.core.dataset import Answer, Dataset, Example, SplitName
from stepdown.core.family import Family, Loss
from stepdown.core.store import Verdict
from stepdown.core.students import Predictions, Student

TIMED_ROWS = 1_000
TIMING_S = 1.5


@dataclass(frozen=True)
class Grader:
    """Grades answers against references by the loss of a family. slices: those that the contract names."""

    family: Family
    loss: Loss
    slices: tuple[str, ...] = ()

    def slices_of(self, example: Example, reference: Answer | None) -> dict[str, str]:
        """The slices of a row: those it came with, and those that follow from what is right there."""
        answer = example.incumbent if reference is None else reference
        slices = dict(example.slices)
        if answer is not None and "label" in self.slices:
            slices["label"] = self.family.slice_of(answer)
        if answer is not None and "field" in self.slices:
            slices["field"] = SEPARATOR.join(sorted(self.family.parts(answer)))
        return slices

    def loss_or_nan(self, answer: Answer | None, gold: Answer | None) -> float:
        return float("nan") if gold is None else self.loss.of(answer, gold)


@dataclass(frozen=True)
class SplitAnswers:
    """One split's examples and every student's predictions on them, in the order of the students."""

    examples: list[Example]
    predictions: tuple[Predictions, ...]


def answer_split(students: Sequence[Student], dataset: Dataset, split: SplitName) -> SplitAnswers:
    """Ask every student about every example of a split, in batches."""
    examples = dataset.split(split)
    inputs = [example.student_input for example in examples]
    return SplitAnswers(examples, tuple(student.answer_many(inputs) for student in students) if inputs else ())


def references_of(examples: Sequence[Example], kind: Evidence) -> list[Answer | None]:
    """Gold for `gold` and `judged`; the incumbent's answers for `agreement`; None where there is none."""
    return [example.incumbent if kind == "agreement" else example.gold for example in examples]


def calibration_kind(examples: Sequence[Example]) -> Evidence:
    """The reference for tune: gold where enough rows have it, else the incumbent's answers."""
    return choose_reference(sum(example.gold is not None for example in examples), len(examples))


def observe(
    answered: SplitAnswers,
    candidate_students: Sequence[CandidateStudent],
    grader: Grader,
    kind: Evidence,
    latency_s: NDArray[np.float64] | None,
) -> Observations:
    """The rows of a split that have a reference of that kind, as numbers. latency_s: (students, rows of the split)."""
    references = references_of(answered.examples, kind)
    kept = [row for row, value in enumerate(references) if value is not None]
    examples = [answered.examples[row] for row in kept]
    values = [references[row] for row in kept]
    losses = [
        [grader.loss.of(predictions.answers[row], value) for row, value in zip(kept, values, strict=True)]
        for predictions in answered.predictions
    ]
    pairs = list(zip(examples, values, strict=True))
    incumbent = [grader.loss.of(example.incumbent, value) for example, value in pairs]
    return Observations(
        ids=tuple(example.id for example in examples),
        reference=kind,
        references=tuple(as_text(value) for value in values),
        candidate_students=tuple(candidate_students),
        signals=tuple(predictions.signals[kept] for predictions in answered.predictions),
        losses=np.array(losses, dtype=np.float64).reshape(len(candidate_students), len(kept)),
        incumbent_loss=np.array(incumbent, dtype=np.float64),
        support=grader.loss.support,
        slices=tuple(grader.slices_of(example, value) for example, value in pairs),
        escalation_cost_usd=_costs(examples),
        latency_s=None if latency_s is None else latency_s[:, kept],
        units=tuple(example.unit or example.id for example in examples),
    )


def observe_evidence(
    answered: SplitAnswers,
    candidate_students: Sequence[CandidateStudent],
    grader: Grader,
    kind: Evidence,
    latency_s: NDArray[np.float64] | None,
) -> Observations:
    """Observations of every drawn row, in the order of the draw, labelled or not.

    gold: a row that nobody labelled has no losses; where a student gives the incumbent's own answer none is needed.
    agreement: a row on which the incumbent's answer cannot be read counts as a mistake of whoever answers it.
    """
    examples = answered.examples
    answers_by_student = [predictions.answers for predictions in answered.predictions]
    agrees = np.array(
        [
            [
                answer is not None and answer == example.incumbent
                for answer, example in zip(answers, examples, strict=True)
            ]
            for answers in answers_by_student
        ],
        dtype=bool,
    ).reshape(len(candidate_students), len(examples))
    references = references_of(examples, kind)
    losses = [
        [grader.loss_or_nan(answer, value) for answer, value in zip(answers, references, strict=True)]
        for answers in answers_by_student
    ]
    incumbent = [
        grader.loss_or_nan(example.incumbent, value) for example, value in zip(examples, references, strict=True)
    ]
    table = _table(losses, len(examples))
    if kind == "agreement":
        table, incumbent = np.where(np.isnan(table), 1.0, table), [0.0] * len(examples)
    return Observations(
        ids=tuple(example.id for example in examples),
        reference=kind,
        references=tuple("" if value is None else as_text(value) for value in references),
        candidate_students=tuple(candidate_students),
        signals=tuple(predictions.signals for predictions in answered.predictions),
        losses=table,
        incumbent_loss=np.array(incumbent, dtype=np.float64),
        support=grader.loss.support,
        slices=tuple(grader.slices_of(example, value) for example, value in zip(examples, references, strict=True)),
        escalation_cost_usd=_costs(examples),
        latency_s=latency_s,
        units=tuple(example.unit or example.id for example in examples),
        agrees=agrees if kind == "gold" else None,
    )


def content_keys(examples: Sequence[Example]) -> tuple[str, ...]:
    """Keys by which the ledger identifies rows, whatever their ids: the hash of input and time."""
    return tuple(
        digest(f"{example.timestamp!r}\x1f{example.text}".encode("utf-8", "surrogatepass")) for example in examples
    )


def _costs(examples: Sequence[Example]) -> NDArray[np.float64] | None:
    """The cost in USD of escalating each row (n,); None where one is unknown."""
    known = [example.cost_usd for example in examples if example.cost_usd is not None]
    return np.array(known) if len(known) == len(examples) else None


def time_rows(
    students: Sequence[Student],
    examples: Sequence[Example],
    generator: np.random.Generator,
    timing_s: float = TIMING_S,
) -> NDArray[np.float64]:
    """Seconds of one request for a random sample of rows, by student; NaN where not timed: (students, rows).

    timing_s: how long each student is timed for.
    """
    timed = np.full((len(students), len(examples)), np.nan)
    inputs = [example.student_input for example in examples]
    order = generator.permutation(len(examples))[:TIMED_ROWS]
    for index, student in enumerate(students):
        for row in order[:20]:
            student.answer(inputs[row])  # the first answers are slow and say nothing of a served student
        deadline = time.perf_counter() + timing_s
        for row in order:
            started = time.perf_counter()
            student.answer(inputs[row])
            ended = time.perf_counter()
            timed[index, row] = ended - started
            if ended > deadline:
                break
    return timed


def as_text(value: Answer) -> str:
    """A reference value as text: a label as it is, anything else as canonical JSON."""
    return value if isinstance(value, str) else canonical_json(value).decode()


def observe_judged(
    answered: SplitAnswers,
    candidate_students: Sequence[CandidateStudent],
    grader: Grader,
    verdicts: Mapping[str, Sequence[Verdict]],
    latency_s: NDArray[np.float64] | None,
) -> Observations:
    """Observations of the rows that have a verdict or gold. Gold corrects for verdicts that are wrong or missing.

    An answer that no verdict names counts as wrong and an incumbent's as right: a rule fixed before gold is looked at,
    which the test then corrects by the rows that have gold.
    """
    gold = [example.gold for example in answered.examples]
    kept = [row for row, example in enumerate(answered.examples) if gold[row] is not None or example.id in verdicts]
    examples = [answered.examples[row] for row in kept]
    answers_by_student = [[predictions.answers[row] for row in kept] for predictions in answered.predictions]
    known = [{as_text(one.answer): one.loss for one in verdicts.get(example.id, ())} for example in examples]
    judged = JudgedLosses(
        losses=_table(
            [
                [_verdict(*each) for each in zip(examples, answers, known, strict=True)]
                for answers in answers_by_student
            ],
            len(kept),
        ),
        incumbent_loss=np.array(
            [_verdict(example, example.incumbent, each) for example, each in zip(examples, known, strict=True)]
        ),
    )
    losses = [
        [grader.loss_or_nan(answer, example.gold) for answer, example in zip(answers, examples, strict=True)]
        for answers in answers_by_student
    ]
    return Observations(
        ids=tuple(example.id for example in examples),
        reference="judged",
        references=tuple("" if example.gold is None else as_text(example.gold) for example in examples),
        candidate_students=tuple(candidate_students),
        signals=tuple(predictions.signals[kept] for predictions in answered.predictions),
        losses=_table(losses, len(kept)),
        incumbent_loss=np.array(
            [grader.loss_or_nan(example.incumbent, example.gold) for example in examples], dtype=np.float64
        ),
        support="bounded",
        slices=tuple(grader.slices_of(example, example.gold) for example in examples),
        escalation_cost_usd=_costs(examples),
        latency_s=None if latency_s is None else latency_s[:, kept],
        judged=judged,
        units=tuple(example.unit or example.id for example in examples),
    )


def _verdict(example: Example, answer: Answer | None, known: Mapping[str, float]) -> float:
    """The judge's loss for an answer; a verdict without an answer is about the incumbent's own."""
    own = answer == example.incumbent
    named = known.get(as_text(answer)) if answer is not None else None
    if named is None and own:
        named = known.get(as_text(None))
    return named if named is not None else (0.0 if own else 1.0)


def _table(rows: Sequence[Sequence[float]], width: int) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)
