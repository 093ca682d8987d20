"""The results of a cross-validated student: its losses, the share it could answer within the margin, and by label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.contract import Contract
from stepdown.core.dataset import Answer, Example
from stepdown.core.estimates import Estimate
from stepdown.core.family import Loss
from stepdown.evaluation.intervals import mean_loss, paired_mean, resampled
from stepdown.evaluation.scan.facts import CheapStudent, LabelFact, LearningPoint

Floats = NDArray[np.float64]

FEWEST_GOLD = 100
FEWEST_PER_LABEL = 20
EVIDENCE_SHARE = 0.2


@dataclass(frozen=True)
class CrossValidated:
    """n rows with the answers (n) and confidences (n,) of students that never saw the row.

    loss: the one that the contract is about. slice_of: the kind of an answer; a label is its own.
    """

    examples: Sequence[Example]
    taught_by: str
    answers: Sequence[Answer]
    confidences: Floats
    loss: Loss
    slice_of: Callable[[Answer], str]


@dataclass(frozen=True)
class Excess:
    """Rows on which the student can be held against a reference: which, both losses (m,), and confidences (m,).

    slices: (m), of the student's answers.
    """

    reference: str
    losses: Floats
    incumbent: Floats
    confidences: Floats
    slices: Sequence[str]

    @property
    def values(self) -> Floats:
        return self.losses - self.incumbent


def judge_cheap_student(
    run: CrossValidated,
    contract: Contract,
    generator: np.random.Generator,
    learning: tuple[LearningPoint, ...],
    evidence: int = 0,
) -> CheapStudent:
    """The facts of one cross-validated run. evidence: rows kept for it, 0 where there are none yet."""
    gold = _against_gold(run)
    against = gold if gold is not None and len(gold.slices) >= FEWEST_GOLD else _against_incumbent(run)
    # Gold that does not teach is all evidence; of everything else, a share is kept for it.
    all_evidence = against.reference == "gold" and run.taught_by == "incumbent"
    expected = evidence or len(against.slices) * (1.0 if all_evidence else EVIDENCE_SHARE)
    offload, accepted = _offload(against, contract, max(1.0, expected), generator)
    return CheapStudent(
        n=len(run.examples),
        taught_by=run.taught_by,
        reference=against.reference,
        disagreement=mean_loss(_against_incumbent(run).losses),
        error=mean_loss(gold.losses) if gold is not None else None,
        incumbent_error=mean_loss(gold.incumbent) if gold is not None else None,
        offload=offload,
        worse_rate=float(np.mean(accepted & (against.values > 0))),
        better_rate=float(np.mean(accepted & (against.values < 0))),
        differs_rate=_differs(run, against, accepted),
        labels=_label_facts(against),
        learning=learning,
    )


def _differs(run: CrossValidated, against: Excess, accepted: NDArray[np.bool_]) -> float:
    """The share of calls that are accepted with another answer than the incumbent's: only those need a label."""
    same = {
        example.id: canonical_json(answer) == canonical_json(example.incumbent)
        for answer, example in zip(run.answers, run.examples, strict=True)
    }
    rows = [example for example in run.examples if against.reference != "gold" or example.gold is not None]
    return float(np.mean([taken and not same[row.id] for taken, row in zip(accepted, rows, strict=True)]))


def learning_point(run: CrossValidated) -> LearningPoint:
    """Loss against what the student was taught by."""
    gold = _against_gold(run) if run.taught_by == "gold" else None
    losses = _against_incumbent(run).losses if gold is None else gold.losses
    return LearningPoint(rows=len(run.examples), loss=mean_loss(losses))


def _against_incumbent(run: CrossValidated) -> Excess:
    pairs = zip(run.answers, run.examples, strict=True)
    losses = np.array([run.loss.of(answer, each.incumbent) for answer, each in pairs], dtype=np.float64)
    return Excess("incumbent", losses, np.zeros_like(losses), run.confidences, _slices(run, run.answers))


def _slices(run: CrossValidated, answers: Sequence[Answer]) -> list[str]:
    return ["" if answer is None else run.slice_of(answer) for answer in answers]


def _against_gold(run: CrossValidated) -> Excess | None:
    kept = [index for index, example in enumerate(run.examples) if example.gold is not None]
    if not kept:
        return None
    golds = [run.examples[index].gold for index in kept]
    answers, theirs = [run.answers[index] for index in kept], [run.examples[index].incumbent for index in kept]
    return Excess(
        "gold",
        np.array([run.loss.of(answer, gold) for answer, gold in zip(answers, golds, strict=True)], dtype=np.float64),
        np.array([run.loss.of(answer, gold) for answer, gold in zip(theirs, golds, strict=True)], dtype=np.float64),
        run.confidences[kept],
        _slices(run, answers),
    )


def _offload(
    against: Excess, contract: Contract, evidence: float, generator: np.random.Generator
) -> tuple[Estimate, NDArray[np.bool_]]:
    """The largest share, surest rows first, whose excess loss over all rows a certificate could show to be within the
    margin; and the rows in it. The bound is the normal one for `evidence` rows. Rows of confidence 0 are never among
    them: there the student says that it has no answer."""
    order = np.argsort(-against.confidences, kind="stable")
    answered = int((against.confidences > 0.0).sum())
    reach = _reach(against.values[order][:answered], order.size, contract, evidence)
    covered = reach(np.ones(order.size, dtype=np.int64))
    accepted = np.zeros(order.size, dtype=bool)
    accepted[order[: round(covered * order.size)]] = True
    spread = resampled(lambda drawn: reach(drawn[order]), order.size, generator, floor=False)
    return spread, accepted


def _reach(excess: Floats, n: int, contract: Contract, evidence: float) -> Callable[[NDArray[np.int64]], float]:
    """Coverage within the margin of the first of n rows in order of falling confidence, from how often each is drawn.

    excess: of those that the student answers; the others cost nothing."""
    quantile = NormalDist().inv_cdf(contract.confidence)

    def coverage(every: NDArray[np.int64]) -> float:
        drawn = every[: excess.size]
        mean = np.cumsum(drawn * excess) / n
        deviation = np.sqrt(np.maximum(np.cumsum(drawn * excess**2) / n - mean**2, 0.0))
        bound = mean + np.maximum(quantile * deviation / evidence**0.5, 3.0 / evidence)
        within = np.flatnonzero(bound <= contract.margin)
        return float(drawn[: within[-1] + 1].sum() / n) if within.size else 0.0

    return coverage


def _label_facts(against: Excess) -> tuple[LabelFact, ...]:
    """By the slice of the student's answer, which is what is known when a request comes in; the commonest first."""
    answered = np.flatnonzero(against.confidences > 0.0)
    if not answered.size:
        return ()
    names, codes, counts = np.unique(np.array(against.slices)[answered], return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(against.values[answered][order], np.cumsum(counts)[:-1])
    label_facts = [
        LabelFact(name=str(name), n=part.size, share=part.size / against.values.size, excess=paired_mean(part))
        for name, part in zip(names, parts, strict=True)
        if part.size >= FEWEST_PER_LABEL
    ]
    return tuple(sorted(label_facts, key=lambda fact: (-fact.share, fact.name)))
