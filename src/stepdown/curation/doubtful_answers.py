"""Doubtful answers: inputs answered in different ways, and labels that are likely wrong.

In train, conflicting answers are settled by majority and equal rows become one weighted row; evidence is left as the
traffic brought it. Likely wrong answers are found by confident learning: those that contradict the incumbent's own
habits; a habit that is itself wrong is not found.

Source: Northcutt, Jiang and Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, Excluded
from stepdown.curation.normal_text import text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome


def conflicts(examples: list[Example], options: CurationOptions) -> Outcome:
    """In train, one answer per input: the majority's (the earliest of those that tie); gold's over the incumbent's.

    Evidence keeps every answer as it came. Where gold contradicts itself evenly it is not learned from: neither side
    can be trusted more than the incumbent.
    """
    alike: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        alike[text_key(example.text)].append(example)
    settled: dict[str, Example] = {}
    excluded: list[Excluded] = []
    counts: Counter[str] = Counter()
    for same in alike.values():
        counts["inputs_answered_differently"] += _differ(same, "incumbent")
        counts["calls_among_them"] += len(same) if _differ(same, "incumbent") else 0
        counts["inputs_with_contradicting_gold"] += _differ(same, "gold")
        for example in _settle([one for one in same if one.split == "train"]):
            settled[example.id] = example
            if example.incumbent is None and example.gold is None:
                excluded.append(Excluded(id=example.id, reason="gold contradicts itself", detail="and no other answer"))
    gone = {exclusion.id for exclusion in excluded}
    kept = [settled.get(example.id, example) for example in examples if example.id not in gone]
    names = ("inputs_answered_differently", "calls_among_them", "inputs_with_contradicting_gold")
    return Outcome(kept, excluded, {name: counts[name] for name in names})


def _settle(same: list[Example]) -> list[Example]:
    if len(same) < 2:
        return []
    answers = [example.incumbent for example in same if example.incumbent is not None]
    answer = majority(answers) or (answers[0] if answers else None)
    gold = majority([example.gold for example in same])
    return [msgspec.structs.replace(example, incumbent=answer, gold=gold) for example in same]


def majority(answers: list[Answer | None]) -> Answer | None:
    """The most frequent answer; None when there is none, or when the first place is shared."""
    counted = Counter(canonical_json(answer) for answer in answers if answer is not None)
    ranked = counted.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return msgspec.json.decode(ranked[0][0])


def _differ(same: list[Example], side: str) -> bool:
    values = [getattr(example, side) for example in same]
    return len(same) > 1 and len({canonical_json(value) for value in values if value is not None}) > 1


def collapse(examples: list[Example], options: CurationOptions) -> Outcome:
    """The first of each set of equal train inputs stays, with the weight 1 + ln(how often it came).

    Equal inputs carry one settled answer by now (see conflicts), so the rest teach nothing but their frequency. The
    logarithm keeps a greeting that is a third of the traffic from being a third of what a small model minds.
    """
    alike: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.split == "train":
            alike[text_key(example.text)].append(example)
    first = {same[0].id: same for same in alike.values()}
    kept: list[Example] = []
    excluded: list[Excluded] = []
    for example in examples:
        if example.split != "train":
            kept.append(example)
        elif example.id in first:
            times = len(first[example.id])
            kept.append(msgspec.structs.replace(example, weight=example.weight * (1 + math.log(times))))
    for same in first.values():
        reason = "collapsed into one training example"
        excluded.extend(Excluded(id=one.id, reason=reason, kin=same[0].id) for one in same[1:])
    heaviest = max((len(same) for same in first.values()), default=0)
    return Outcome(kept, excluded, {"collapsed": len(excluded), "most_calls_in_one": heaviest})


LEAST_ROWS_PER_LABEL = 5
MOST_CELLS = 200_000_000
SHOWN = 50


@dataclass(frozen=True)
class LabelNoise:
    """joint: float (labels, labels), the estimated share of (given, true) pairs; sums to 1.

    flagged: rows likely mislabelled, worst first. suggested: the likelier label of each flagged row.
    rate: float (labels,), the estimated share of rows given this label whose true label is another.
    """

    joint: NDArray[np.float64]
    flagged: NDArray[np.int64]
    suggested: NDArray[np.int64]
    rate: NDArray[np.float64]


def estimate_noise(given: NDArray[np.int64], probabilities: NDArray[np.float64]) -> LabelNoise:
    """Confident learning on given labels (n,) and cross-fitted probabilities (n, labels).

    A row counts as truly of a label when its probability reaches that label's mean self-confidence; of several such
    labels, the likeliest. The counts, scaled to the given labels' frequencies, are the joint. "Prune by noise rate":
    from each cell off the diagonal as many rows are flagged as the joint says, those with the widest margin first.
    """
    rows, labels = probabilities.shape
    frequency = np.bincount(given, minlength=labels)
    own = probabilities[np.arange(rows), given]
    thresholds = np.bincount(given, weights=own, minlength=labels) / np.maximum(1, frequency)
    thresholds[frequency == 0] = np.inf
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    likely = confident.argmax(axis=1)
    certain = confident[np.arange(rows), likely] >= 0
    counts = np.zeros((labels, labels))
    np.add.at(counts, (given[certain], likely[certain]), 1.0)
    # A label none of whose rows is certain keeps them all.
    counts[np.arange(labels), np.arange(labels)] += counts.sum(axis=1) == 0
    joint = counts / counts.sum(axis=1, keepdims=True) * frequency[:, None] / max(1, rows)
    flagged, suggested = _prune(given, probabilities, np.rint(joint * rows).astype(np.int64))
    kept = np.divide(np.diag(joint) * rows, frequency, out=np.ones(labels), where=frequency > 0)
    return LabelNoise(joint, flagged, suggested, 1.0 - kept)


def label_noise(examples: list[Example], options: CurationOptions) -> Outcome:
    """Audit the incumbent's answers in train and give likely wrong ones `options.flagged_weight`. None is removed.

    Only train is looked at: nothing of tune, certify or test may decide what is learned. Rows with gold keep their
    weight; gold decides there, and says in the findings how often the audit is right.
    """
    audited = [row for row, one in enumerate(examples) if one.split == "train" and isinstance(one.incumbent, str)]
    answers = [str(examples[row].incumbent) for row in audited]
    labels, given = np.unique(np.array(answers, dtype=object).astype(str), return_inverse=True)
    others = any(one.split == "train" and one.incumbent is not None for one in examples) and not audited
    refusal = "answers are not labels" if others else _why_not(len(audited), len(labels), options)
    if refusal or options.out_of_sample is None:
        return Outcome(examples, findings={"skipped": refusal})
    probabilities = options.out_of_sample([examples[row].text for row in audited], answers)
    noise = estimate_noise(given.astype(np.int64), np.asarray(probabilities, dtype=np.float64))
    weighted = list(examples)
    for position in noise.flagged.tolist():
        example = examples[audited[position]]
        if example.gold is None and options.flagged_weight != 1.0:
            lighter = example.weight * options.flagged_weight
            weighted[audited[position]] = msgspec.structs.replace(example, weight=lighter)
    flagged = [examples[audited[position]] for position in noise.flagged.tolist()]
    findings = _describe(noise, labels, flagged, len(audited)) | {"flagged_weight": options.flagged_weight}
    findings |= _against_gold(flagged, [examples[row] for row in audited])
    return Outcome(weighted, findings=findings)


def _prune(
    given: NDArray[np.int64], probabilities: NDArray[np.float64], expected: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    own = probabilities[np.arange(len(given)), given]
    margin_of: dict[int, tuple[float, int]] = {}
    for label, other in np.argwhere(expected > 0).tolist():
        if label == other:
            continue
        rows = np.flatnonzero(given == label)
        margin = probabilities[rows, other] - own[rows]
        # A row that its own label still suits better is not flagged, however many the joint expects.
        order = np.argsort(-margin, kind="stable")[: expected[label, other]]
        for row, wide in zip(rows[order].tolist(), margin[order].tolist(), strict=True):
            if wide > 0 and wide > margin_of.get(row, (0.0, 0))[0]:
                margin_of[row] = (wide, other)
    worst_first = sorted(margin_of, key=lambda row: (-margin_of[row][0], row))
    suggested = [margin_of[row][1] for row in worst_first]
    return np.array(worst_first, dtype=np.int64), np.array(suggested, dtype=np.int64)


def _why_not(rows: int, labels: int, options: CurationOptions) -> str:
    if options.out_of_sample is None:
        return "no cross-fitted probabilities were given"
    if labels < 2:
        return "fewer than two labels"
    if rows < LEAST_ROWS_PER_LABEL * labels:
        return f"{rows} rows for {labels} labels: fewer than {LEAST_ROWS_PER_LABEL} a label"
    return f"{rows} × {labels} probabilities are more than fit" if rows * labels > MOST_CELLS else ""


def _describe(noise: LabelNoise, labels: NDArray[Any], flagged: list[Example], rows: int) -> dict[str, Any]:
    noisiest = np.argsort(-noise.rate, kind="stable")[:SHOWN]
    suggested = [str(labels[label]) for label in noise.suggested[:SHOWN].tolist()]
    return {
        "audited": rows,
        "flagged": len(flagged),
        "estimated_noise": round(float(1.0 - np.trace(noise.joint)), 4),
        "noise_by_label": {str(labels[label]): round(float(noise.rate[label]), 4) for label in noisiest.tolist()},
        "worst": [
            {"id": example.id, "given": example.incumbent, "likelier": label}
            for example, label in zip(flagged[:SHOWN], suggested, strict=True)
        ],
    }


def _against_gold(flagged: list[Example], audited: list[Example]) -> dict[str, Any]:
    """Precision and recall of the flags, on rows with gold."""
    known = [example for example in flagged if example.gold is not None]
    wrong = sum(example.gold is not None and example.gold != example.incumbent for example in audited)
    if not known or not wrong:
        return {}
    right = sum(one.gold != one.incumbent for one in known)
    return {
        "checked_with_gold": {
            "flagged": len(known),
            "precision": round(right / len(known), 4),
            "wrong_answers": wrong,
            "recall": round(right / wrong, 4),
        }
    }
