"""The order in which units are assigned to splits: the latest first where times tell, else by a seeded hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example

LEAST_SPAN_S = 86_400.0
EVEN_SHARE = 0.95
RANDOM_SLICES = 20
DRIFT_DEVIATIONS = 4.0


def latest_first(examples: Sequence[Example]) -> list[str]:
    """Units by the time of their last call, the latest first."""
    latest: dict[str, float] = {}
    for example in examples:
        latest[example.unit] = max(latest.get(example.unit, 0.0), example.timestamp)
    return sorted(latest, key=lambda unit: (-latest[unit], unit))


def why_not_by_time(examples: Sequence[Example]) -> str:
    """Why timestamps do not show the order of calls; "" when they do."""
    times = np.array([example.timestamp for example in examples])
    if len(times) < 2 or times.min() <= 0:
        return "timestamps are missing"
    if times.max() - times.min() < LEAST_SPAN_S:
        return "timestamps span less than a day"
    gaps = np.diff(np.sort(times))
    if Counter(np.round(gaps, 3).tolist()).most_common(1)[0][1] >= EVEN_SHARE * len(gaps):
        return "timestamps are evenly spaced: an order of rows, not times of calls"
    return ""


def drift(examples: Sequence[Example], rows: int, seed: int, slice_of: Callable[[Answer], str]) -> str:
    """How the answers of the latest `rows` calls differ from earlier ones, as the end of a sentence; "" where they do
    not.

    slice_of: the kind of an answer; of objects, nearly every one of which is new, their kinds must not drift.
    """
    times = np.array([example.timestamp for example in examples])
    cut = np.sort(times)[-min(rows, len(times))]
    targets = [example.gold if example.gold is not None else example.incumbent for example in examples]
    answers = [canonical_json(None if answer is None else slice_of(answer)) for answer in targets]
    names, labels = np.unique(np.array(answers, dtype=object).astype(str), return_inverse=True)
    late = times >= cut
    if late.all():
        return ""
    fresh = sorted(set(labels[late].tolist()) - set(labels[~late].tolist()))
    if fresh:
        named = ", ".join(str(names[place]).removeprefix("b'").removesuffix("'") for place in fresh[:3])
        return f"; {len(fresh)} answers of theirs were never seen before ({named})"
    observed = _distance(labels, late)
    rng = np.random.default_rng(seed)
    chance = np.array([_distance(labels, rng.permutation(late)) for _ in range(RANDOM_SLICES)])
    if observed > chance.mean() + DRIFT_DEVIATIONS * max(chance.std(), 1e-3):
        return f"; answers drift (total variation {observed:.3f} from those before, {chance.mean():.3f} by chance)"
    return ""


def hashed(units: Sequence[str], seed: int) -> list[str]:
    """Units in an order that a seed decides."""
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode("utf-8", "surrogatepass")).hexdigest())


def _distance(labels: NDArray[np.int64], chosen: NDArray[np.bool_]) -> float:
    """Total variation between the labels of the chosen rows and of the others, in [0, 1]."""
    size = int(labels.max()) + 1
    one = np.bincount(labels[chosen], minlength=size) / max(1, int(chosen.sum()))
    other = np.bincount(labels[~chosen], minlength=size) / max(1, int((~chosen).sum()))
    return float(0.5 * np.abs(one - other).sum())
