"""What the students say on the splits they have not learned from, as the numbers that the certificate room reads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import choose_reference
from stepdown.certificate.observations import SEPARATOR, CandidateStudent, Judged, Observations
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
    """What answers are held against references by. slices: those that the contract names."""

    family: Family
    loss: Loss
    slices: tuple[str, ...] = ()

    def slices_of(self, example: Example, reference: Answer | None) -> dict[str, str]:
        """The slices of a row: those it came with, and those that follow from what is right there."""
        answer = example.incumbent if reference is None else reference
        found = dict(example.slices)
        if answer is not None and "label" in self.slices:
            found["label"] = self.family.slice_of(answer)
        if answer is not None and "field" in self.slices:
            found["field"] = SEPARATOR.join(sorted(self.family.parts(answer)))
        return found

    def loss_or_nan(self, answer: Answer | None, gold: Answer | None) -> float:
        return float("nan") if gold is None else self.loss.of(answer, gold)


@dataclass(frozen=True)
class Answered:
    """One split's examples and every student's predictions on them, in the order of the students."""

    examples: list[Example]
    predictions: tuple[Predictions, ...]


def answer_split(students: Sequence[Student], dataset: Dataset, split: SplitName) -> Answered:
    """Ask every student about every example of a split, in batches."""
    examples = dataset.split(split)
    texts = [example.text for example in examples]
    return Answered(examples, tuple(student.answer_many(texts) for student in students) if texts else ())


def references_of(examples: Sequence[Example], kind: Evidence) -> list[Answer | None]:
    """Gold for `gold` and `judged`; the incumbent's answers for `agreement`; None where there is none."""
    return [example.incumbent if kind == "agreement" else example.gold for example in examples]


def calibration_kind(examples: Sequence[Example]) -> Evidence:
    """What to tune against: gold where enough rows have it, else the incumbent's answers."""
    return choose_reference(sum(example.gold is not None for example in examples), len(examples))


def observe(
    answered: Answered,
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
    answered: Answered,
    candidate_students: Sequence[CandidateStudent],
    grader: Grader,
    kind: Evidence,
    latency_s: NDArray[np.float64] | None,
) -> Observations:
    """Every row that was drawn, in the order of the draw, whether anybody said what is right there or not.

    gold: a row that nobody labelled has no losses; where a student gives the incumbent's own answer none is needed.
    agreement: a row on which the incumbent's answer cannot be read counts as a mistake of whoever answers it.
    """
    examples = answered.examples
    said = [predictions.answers for predictions in answered.predictions]
    agrees = np.array(
        [
            [answer is not None and answer == one.incumbent for answer, one in zip(answers, examples, strict=True)]
            for answers in said
        ],
        dtype=bool,
    ).reshape(len(candidate_students), len(examples))
    references = references_of(examples, kind)
    losses = [
        [grader.loss_or_nan(answer, value) for answer, value in zip(answers, references, strict=True)]
        for answers in said
    ]
    incumbent = [grader.loss_or_nan(one.incumbent, value) for one, value in zip(examples, references, strict=True)]
    table = _table(losses, len(examples))
    if kind == "agreement":
        table, incumbent = np.where(np.isnan(table), 1.0, table), [0.0] * len(examples)
    return Observations(
        ids=tuple(one.id for one in examples),
        reference=kind,
        references=tuple("" if value is None else as_text(value) for value in references),
        candidate_students=tuple(candidate_students),
        signals=tuple(predictions.signals for predictions in answered.predictions),
        losses=table,
        incumbent_loss=np.array(incumbent, dtype=np.float64),
        support=grader.loss.support,
        slices=tuple(grader.slices_of(one, value) for one, value in zip(examples, references, strict=True)),
        escalation_cost_usd=_costs(examples),
        latency_s=latency_s,
        units=tuple(one.unit or one.id for one in examples),
        agrees=agrees if kind == "gold" else None,
    )


def content_keys(examples: Sequence[Example]) -> tuple[str, ...]:
    """What the ledger knows rows by, under whatever id: the hash of input and time."""
    return tuple(digest(f"{one.timestamp!r}\x1f{one.text}".encode("utf-8", "surrogatepass")) for one in examples)


def _costs(examples: Sequence[Example]) -> NDArray[np.float64] | None:
    """What escalating each row costs in USD; None where one is unknown."""
    known = [one.cost_usd for one in examples if one.cost_usd is not None]
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
    order = generator.permutation(len(examples))[:TIMED_ROWS]
    for index, student in enumerate(students):
        for row in order[:20]:
            student.answer(examples[row].text)  # the first answers are slow and say nothing of a served student
        deadline = time.perf_counter() + timing_s
        for row in order:
            started = time.perf_counter()
            student.answer(examples[row].text)
            ended = time.perf_counter()
            timed[index, row] = ended - started
            if ended > deadline:
                break
    return timed


def as_text(value: Answer) -> str:
    """A reference value as text: a label as it is, anything else as canonical JSON."""
    return value if isinstance(value, str) else canonical_json(value).decode()


def observe_judged(
    answered: Answered,
    candidate_students: Sequence[CandidateStudent],
    grader: Grader,
    verdicts: Mapping[str, Sequence[Verdict]],
    latency_s: NDArray[np.float64] | None,
) -> Observations:
    """The rows that a judge or gold knows. A judge may be wrong or silent about an answer; gold corrects for both.

    An answer that no verdict names counts as wrong and an incumbent's as right: a rule fixed before gold is looked at,
    which the test then corrects by the rows that have gold.
    """
    gold = [example.gold for example in answered.examples]
    kept = [row for row, one in enumerate(answered.examples) if gold[row] is not None or one.id in verdicts]
    examples = [answered.examples[row] for row in kept]
    said = [[predictions.answers[row] for row in kept] for predictions in answered.predictions]
    known = [{as_text(one.answer): one.loss for one in verdicts.get(example.id, ())} for example in examples]
    judged = Judged(
        losses=_table(
            [[_verdict(*each) for each in zip(examples, answers, known, strict=True)] for answers in said], len(kept)
        ),
        incumbent_loss=np.array(
            [_verdict(one, one.incumbent, each) for one, each in zip(examples, known, strict=True)]
        ),
    )
    losses = [
        [grader.loss_or_nan(answer, one.gold) for answer, one in zip(answers, examples, strict=True)]
        for answers in said
    ]
    return Observations(
        ids=tuple(example.id for example in examples),
        reference="judged",
        references=tuple("" if one.gold is None else as_text(one.gold) for one in examples),
        candidate_students=tuple(candidate_students),
        signals=tuple(predictions.signals[kept] for predictions in answered.predictions),
        losses=_table(losses, len(kept)),
        incumbent_loss=np.array([grader.loss_or_nan(one.incumbent, one.gold) for one in examples], dtype=np.float64),
        support="bounded",
        slices=tuple(grader.slices_of(one, one.gold) for one in examples),
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
