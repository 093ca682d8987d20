"""In which order groups are dealt: the latest first where time means something, else by a seeded hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example

LEAST_SPAN_S = 86_400.0
EVEN_SHARE = 0.95
SPANNING_SHARE = 0.02
RANDOM_SLICES = 20
DRIFT_DEVIATIONS = 4.0


def order_groups(
    examples: list[Example], rows: int, seed: int, slice_of: Callable[[Answer], str] = str
) -> tuple[list[str], dict[str, str]]:
    """All groups in dealing order, and what decided it: "order" and, for a hash, "why". rows: how many are evidence.

    By time, the latest calls become evidence: they are nearest to the traffic a certificate is about. That holds only
    where a cut in time is a fair cut, which `why_not_by_time` checks.
    """
    against = why_not_by_time(examples, rows, seed, slice_of)
    groups = {example.group for example in examples}
    if not against:
        latest = {example.group: example.timestamp for example in examples}
        return sorted(groups, key=lambda group: (-latest[group], group)), {"order": "time, latest first"}
    return sorted(groups, key=lambda group: _hash(seed, group)), {"order": "seeded hash", "why": against}


def why_not_by_time(examples: list[Example], rows: int, seed: int, slice_of: Callable[[Answer], str] = str) -> str:
    """Why the latest `rows` calls would not be evidence like the traffic; "" when they would.

    slice_of: the kind of an answer; of objects, nearly every one of which is new, their kinds must not drift.
    """
    times = np.array([example.timestamp for example in examples])
    if len(times) < 2 or times.min() <= 0:
        return "timestamps are missing"
    if times.max() - times.min() < LEAST_SPAN_S:
        return "timestamps span less than a day"
    gaps = np.diff(np.sort(times))
    if Counter(np.round(gaps, 3).tolist()).most_common(1)[0][1] >= EVEN_SHARE * len(gaps):
        return "timestamps are evenly spaced: an order of rows, not times of calls"
    cut = np.sort(times)[-min(rows, len(times))]
    before = {example.group for example in examples if example.timestamp < cut}
    late = [example for example in examples if example.timestamp >= cut]
    spanning = sum(example.group in before for example in late) / len(late)
    if spanning > SPANNING_SHARE:
        # Such a group would go to one side whole, and the evidence would lack just the inputs that keep coming.
        return f"{spanning:.0%} of the latest calls repeat earlier inputs, and groups are not divided"
    return _drift(examples, cut, seed, slice_of)


def _drift(examples: list[Example], cut: float, seed: int, slice_of: Callable[[Answer], str]) -> str:
    targets = [one.gold if one.gold is not None else one.incumbent for one in examples]
    answers = [canonical_json(None if answer is None else slice_of(answer)) for answer in targets]
    _, labels = np.unique(np.array(answers, dtype=object).astype(str), return_inverse=True)
    late = np.array([example.timestamp >= cut for example in examples])
    if set(labels[late].tolist()) - set(labels[~late].tolist()):
        return "the latest calls have answers never seen before them"
    observed = _distance(labels, late)
    rng = np.random.default_rng(seed)
    chance = np.array([_distance(labels, rng.permutation(late)) for _ in range(RANDOM_SLICES)])
    if observed > chance.mean() + DRIFT_DEVIATIONS * max(chance.std(), 1e-3):
        return f"answers drift: total variation {observed:.3f} in the latest calls, {chance.mean():.3f} by chance"
    return ""


def _distance(labels: NDArray[np.int64], chosen: NDArray[np.bool_]) -> float:
    """Total variation between the labels of the chosen rows and of the others, in [0, 1]."""
    size = int(labels.max()) + 1
    one = np.bincount(labels[chosen], minlength=size) / max(1, int(chosen.sum()))
    other = np.bincount(labels[~chosen], minlength=size) / max(1, int((~chosen).sum()))
    return float(0.5 * np.abs(one - other).sum())


def _hash(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
