"""Quality of answers on one split against one reference: per label or field, and along thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.dataset import Answer, Example
from stepdown.core.errors import NotEnoughData
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Form
from stepdown.core.measurements import LabelRow, Quality
from stepdown.core.record import CurvePoint
from stepdown.evaluation.intervals import CONFIDENCE, mean_loss, paired_mean, rates
from stepdown.evaluation.metric import applicable
from stepdown.evaluation.pairs import PairCounts, count_pairs, most_confused, parts_of
from stepdown.evaluation.rows import Rows, grade, references_of
from stepdown.stats import excess_loss

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QualityOptions:
    """loss: the family's loss that the contract is about, "" for its first. seed: for intervals that are resampled.

    form: of the task's answers, where they have fields.
    """

    loss: str = ""
    seed: int = 0
    form: Form | None = None


def measure_quality(
    answers: Sequence[Answer | None],
    confidences: ArrayLike | None,
    examples: Sequence[Example],
    family: str,
    split: str,
    reference: str,
    options: QualityOptions | None = None,
) -> Quality:
    """Every metric that applies, with intervals, and one row per label (of objects: per field), worst first.

    answers: n, as the artefact to be served gives them. confidences: (n,) calibrated probabilities of being right, or
    None. examples: the same n rows; those without the reference ("gold" or "incumbent") are left out, and each
    figure's n says how many were left. Raises NotEnoughData when none is, ValueError on unequal lengths.
    """
    chosen = options or QualityOptions()
    rows, incumbent = _graded(answers, confidences, examples, family, reference, chosen)
    generator = np.random.default_rng(chosen.seed)
    kinds = applicable(family, reference, rows.confidences is not None)
    return Quality(
        split=split,
        reference=reference,
        metrics={name: metric.measure(rows, generator) for name, metric in kinds.items()},
        labels=_label_rows(rows, incumbent),
    )


def measure_incumbent(
    examples: Sequence[Example], family: str, split: str, options: QualityOptions | None = None
) -> Quality:
    """The incumbent's own answers against gold; an answer of its that could not be used counts as wrong."""
    answers = [example.incumbent for example in examples]
    return measure_quality(answers, None, examples, family, split, "gold", options)


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
    options: QualityOptions,
) -> tuple[Rows, Rows | None]:
    """The rows that have the reference, and the incumbent on them (None where it is itself the reference)."""
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
    rows = grade(family, [answers[index] for index in kept], wanted, sure, options.loss, options.form)
    if reference == "incumbent":
        return rows, None
    theirs = [examples[index].incumbent for index in kept]
    return rows, grade(family, theirs, wanted, None, options.loss, options.form)


def _label_rows(rows: Rows, incumbent: Rows | None) -> tuple[LabelRow, ...]:
    """One row per part of an answer that the references have: labels, or fields. Highest error first, then frequency.

    A part is wrong where the reference has it and the answer does not, or has it with another value.
    """
    cut = parts_of(rows.family)
    counts = count_pairs(rows.answers, rows.references, cut)
    hits, given, there = (counts.by_name(each) for each in (counts.hits, counts.given, counts.there))
    errors = _errors(counts)
    theirs = {} if incumbent is None else _errors(count_pairs(incumbent.answers, incumbent.references, cut))
    confused = most_confused(rows.answers, rows.references, cut)
    label_rows = [
        LabelRow(
            name=name,
            n=int(there[place]),
            error=errors[name],
            incumbent_error=theirs.get(name),
            precision=_share(hits[place], given[place]),
            recall=_share(hits[place], there[place]),
            f1=_share(2.0 * hits[place], given[place] + there[place]),
            most_confused_with=confused.get(name, ""),
        )
        for place, name in enumerate(counts.names)
        if name in errors
    ]
    return tuple(sorted(label_rows, key=lambda row: (-row.error.value, -row.n, row.name)))


def _errors(counts: PairCounts) -> dict[str, Estimate]:
    """The share of each part's references that the answers miss, by name; parts that no reference has are not there."""
    there = counts.by_name(counts.there).astype(np.int64)
    missed = there - counts.by_name(counts.hits).astype(np.int64)
    present = np.flatnonzero(there)
    names = [counts.names[place] for place in present]
    return dict(zip(names, rates(missed[present], there[present]), strict=True))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


Booleans = NDArray[np.bool_]


def risk_coverage_curve(
    losses: ArrayLike,
    incumbent_losses: ArrayLike | None,
    confidences: ArrayLike,
    points: int = 25,
    threshold: float | None = None,
) -> tuple[CurvePoint, ...]:
    """Points by rising coverage for one student: rows are accepted where confidence ≥ each of the thresholds.

    losses, confidences: (n,). incumbent_losses: (n,) against gold, or None where the incumbent is the reference.
    threshold: the certified one, marked on the curve; above 1 (never used) it marks nothing. Rows of equal confidence
    are accepted together, so there may be fewer than `points`. Intervals hold for each point on its own.
    """
    sure = np.asarray(confidences, dtype=np.float64)
    lost, theirs = _paired(losses, incumbent_losses)
    if sure.shape != lost.shape:
        raise ValueError(f"Got {lost.size} losses and {sure.size} confidences; expected as many.")
    levels = np.sort(sure)[::-1]
    # The first point holds its share of the rows: the risk of a single row would be all or nothing.
    first = max(0, sure.size // max(1, points) - 1)
    steps = np.unique(np.linspace(first, sure.size - 1, min(points, sure.size)).round().astype(np.int64))
    # Rows of confidence 0 are never accepted: there the student says that it has no answer.
    thresholds = {float(levels[step]) for step in steps if levels[step] > 0.0}
    chosen = [threshold] if threshold is not None and threshold <= levels[0] else []
    masks = [(sure >= level, False) for level in thresholds] + [(sure >= level, True) for level in chosen]
    return _points(lost, theirs, masks)


def cascade_curve(
    losses: ArrayLike,
    incumbent_losses: ArrayLike | None,
    accepted: Sequence[Booleans],
    certified: int | None = None,
) -> tuple[CurvePoint, ...]:
    """Points for a cascade walked along its path: row losses (path, n) or (n,), and which rows each step accepts (n,).

    losses: of the cascade's own answer at each step; read only where accepted. certified: the chosen step's index.
    """
    table = np.atleast_2d(np.asarray(losses, dtype=np.float64))
    points: list[CurvePoint] = []
    for step, mask in enumerate(accepted):
        lost, theirs = _paired(table[step if len(table) > 1 else 0], incumbent_losses)
        points += _points(lost, theirs, [(mask, step == certified)])
    return tuple(sorted(points, key=lambda point: (point.coverage, point.certified)))


def _points(lost: Floats, theirs: Floats, masks: Sequence[tuple[Booleans, bool]]) -> tuple[CurvePoint, ...]:
    """One point per set of accepted rows; where two coincide, the certified one stays."""
    by_coverage: dict[float, CurvePoint] = {}
    for accepted, certified in masks:
        if accepted.any():
            by_coverage[float(accepted.mean())] = _point(lost, theirs, accepted, certified)
    return tuple(by_coverage[coverage] for coverage in sorted(by_coverage))


def _point(lost: Floats, theirs: Floats, accepted: Booleans, certified: bool) -> CurvePoint:
    excess: Estimate = paired_mean(np.where(accepted, lost - theirs, 0.0))
    return CurvePoint(
        coverage=float(accepted.mean()),
        risk=mean_loss(lost[accepted]),
        excess=excess,
        incumbent_risk=float(theirs[accepted].mean()),
        certified=certified,
    )


def _paired(losses: ArrayLike, incumbent_losses: ArrayLike | None) -> tuple[Floats, Floats]:
    lost = np.asarray(losses, dtype=np.float64)
    theirs = np.zeros_like(lost) if incumbent_losses is None else np.asarray(incumbent_losses, dtype=np.float64)
    if lost.shape != theirs.shape or lost.ndim != 1 or lost.size == 0:
        raise ValueError(f"Got losses of shapes {lost.shape} and {theirs.shape}; expected two equal, flat, not empty.")
    return lost, theirs
