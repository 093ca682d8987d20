"""Quality of answers on one split against one reference, with a row per label; the incumbent on the very same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.dataset import Answer, Example
from stepdown.core.errors import NotEnoughData
from stepdown.core.estimates import Estimate
from stepdown.core.family import families
from stepdown.core.measurements import LabelRow, Quality
from stepdown.evaluation.confusion import encode, most_confused
from stepdown.evaluation.intervals import CONFIDENCE, mean_loss, rates
from stepdown.evaluation.metric import applicable
from stepdown.evaluation.rows import Rows, grade, references_of
from stepdown.stats import excess_loss

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QualityOptions:
    """loss: the family's loss that the contract is about, "" for its first. seed: for intervals that are resampled."""

    loss: str = ""
    seed: int = 0


def measure_quality(
    answers: Sequence[Answer | None],
    confidences: ArrayLike | None,
    examples: Sequence[Example],
    family: str,
    split: str,
    reference: str,
    options: QualityOptions | None = None,
) -> Quality:
    """Every metric that applies, with intervals, and one row per label, worst first.

    answers: n, as the artefact to be served gives them. confidences: (n,) calibrated probabilities of being right, or
    None. examples: the same n rows; those without the reference ("gold" or "incumbent") are left out, and each
    figure's n says how many were left. Raises NotEnoughData when none is, ValueError on unequal lengths.
    """
    chosen = options or QualityOptions()
    rows, incumbent = _graded(answers, confidences, examples, family, reference, chosen.loss)
    generator = np.random.default_rng(chosen.seed)
    kinds = applicable(family, reference, rows.confidences is not None)
    return Quality(
        split=split,
        reference=reference,
        metrics={name: metric.measure(rows, generator) for name, metric in kinds.items()},
        labels=_label_rows(rows, incumbent, family),
    )


def measure_incumbent(
    examples: Sequence[Example], family: str, split: str, options: QualityOptions | None = None
) -> Quality:
    """The incumbent's own answers against gold; an answer of its that could not be used counts as wrong."""
    answers = [example.incumbent for example in examples]
    return measure_quality(answers, None, examples, family, split, "gold", options)


def measure_excess(
    answers: Sequence[Answer | None], examples: Sequence[Example], family: str, reference: str
) -> Estimate:
    """Mean of loss(answer) − loss(incumbent's answer), row by row, in [−1, 1]. Below 0: better than the incumbent.

    Against the incumbent itself its loss is 0, and this is the disagreement. The interval is exact for 0/1 losses.
    """
    rows, incumbent = _graded(answers, None, examples, family, reference)
    return mean_loss(rows.losses) if incumbent is None else excess_estimate(rows.losses, incumbent)


def excess_estimate(losses: Floats, incumbent: Floats) -> Estimate:
    """The mean paired difference of two losses (n,) in [0, 1], with an interval that holds for every n."""
    binary = bool(np.isin(losses, (0.0, 1.0)).all() and np.isin(incumbent, (0.0, 1.0)).all())
    excess = losses - incumbent
    support: excess_loss.Support = "paired" if binary else "bounded"
    low, high = excess_loss.excess_interval(excess, 1.0 - CONFIDENCE, support)
    value = float(excess.mean())
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=excess.size,
        method=excess_loss.METHODS[support],
    )


def _graded(
    answers: Sequence[Answer | None],
    confidences: ArrayLike | None,
    examples: Sequence[Example],
    family: str,
    reference: str,
    loss: str = "",
) -> tuple[Rows, Floats | None]:
    """The rows that have the reference, and the incumbent's losses on them (None where it is itself the reference)."""
    if len(answers) != len(examples):
        raise ValueError(f"Got {len(answers)} answers for {len(examples)} examples; expected one each.")
    references = references_of(examples, reference)
    kept = [index for index, each in enumerate(references) if each is not None]
    if not kept:
        raise NotEnoughData(
            f"None of the {len(examples)} examples has a {reference} answer to be held against.",
            "Expected one or more.",
            "Measure against the other reference, or import gold.",
        )
    wanted = [references[index] for index in kept]
    sure = None if confidences is None else np.asarray(confidences, dtype=np.float64)[kept]
    rows = grade(family, [answers[index] for index in kept], wanted, sure, loss)
    if reference == "incumbent":
        return rows, None
    return rows, grade(family, [examples[index].incumbent for index in kept], wanted, None, loss).losses


def _label_rows(rows: Rows, incumbent: Floats | None, family: str) -> tuple[LabelRow, ...]:
    """One row per label that occurs as a reference, highest error first, then the most frequent."""
    rule = families().load(family)
    slices = [rule.slice_of(reference) for reference in rows.references]
    given = [None if answer is None else rule.slice_of(answer) for answer in rows.answers]
    codes = encode(given, slices)
    size = len(codes.labels)
    seen = np.bincount(codes.references, minlength=size)
    answered = np.bincount(codes.answers, minlength=size + 1)[:size]
    hits = np.bincount(codes.references, (codes.answers == codes.references).astype(np.float64), minlength=size)
    errors = _by_label(rows.losses, codes.references, seen)
    theirs = {} if incumbent is None else _by_label(incumbent, codes.references, seen)
    confused = most_confused(codes)
    order = sorted(errors, key=lambda code: (-errors[code].value, -seen[code], code))
    return tuple(
        LabelRow(
            name=codes.labels[code],
            n=int(seen[code]),
            error=errors[code],
            incumbent_error=theirs.get(code),
            precision=_share(hits[code], answered[code]),
            recall=_share(hits[code], seen[code]),
            f1=_share(2.0 * hits[code], answered[code] + seen[code]),
            most_confused_with=confused[code],
        )
        for code in order
    )


def _by_label(losses: Floats, codes: NDArray[np.int64], seen: NDArray[np.int64]) -> dict[int, Estimate]:
    """The mean loss of each label's rows, by code; labels without rows are not there."""
    present = np.flatnonzero(seen).tolist()
    if bool(np.isin(losses, (0.0, 1.0)).all()):
        wrong = np.bincount(codes, losses, minlength=seen.size).round().astype(np.int64)
        return dict(zip(present, rates(wrong[present], seen[present]), strict=True))
    order = np.argsort(codes, kind="stable")
    parts = np.split(losses[order], np.cumsum(seen[present])[:-1])
    return {code: mean_loss(part) for code, part in zip(present, parts, strict=True)}


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
