"""From a tagger's logits to spans and choices, with how sure it is of each. numpy alone; the hot path."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.spans import Choice
from stepdown.runtime.tags.layout import OUTSIDE, Group, IntArray, Layout

FloatArray = NDArray[np.float32]
_LEAST = 1e-12
_NEVER = np.float32(-1e9)


@dataclass(frozen=True)
class Chosen:
    """What the logits of a field say. choice: as `spans.assemble` reads it. probability: of all of it being right."""

    choice: Choice
    probability: float
    margin: float


@dataclass(frozen=True)
class Tagged:
    """The tags of a text's units. tags: (units,). scores: (units,), their log-probabilities, out of those of every tag,
    (units, tags).

    margin: the least distance of a unit's tag to the next best. entropy: (units,), as a share of log(tags).
    """

    tags: IntArray
    scores: FloatArray
    log_probabilities: FloatArray
    margin: float
    entropy: FloatArray


def choose(group: Group, logits: FloatArray) -> Chosen:
    """What a group's logits say. logits: of the whole text."""
    own = logits[group.start : group.start + group.size]
    if group.one:
        best = int(own.argmax())
        exponents = np.exp(own - own[best])
        total = float(exponents.sum())
        exponents[best] = 0.0
        return Chosen(best, 1.0 / total, (1.0 - float(exponents.max())) / total)
    there = 1.0 / (1.0 + np.exp(-np.clip(own, -30.0, 30.0)))
    sure = np.maximum(there, 1.0 - there)
    choice = tuple((np.flatnonzero(there > 0.5) + 1).tolist())
    return Chosen(choice, float(sure.prod()), float(2.0 * sure.min() - 1.0))


def tag(logits: FloatArray, forbidden: FloatArray | None = None) -> Tagged:
    """The most likely tags of (units, tags) logits that are well formed. forbidden: `forbid`'s, added to every row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    total = exponents.sum(axis=1)
    rest = np.log(total)
    log_probabilities = shifted - rest[:, None]
    tags = best_path(shifted if forbidden is None else shifted + forbidden)
    rows = np.arange(len(tags))
    scores = log_probabilities[rows, tags]
    entropy = (rest - np.einsum("ij,ij->i", exponents, shifted) / total) / np.log(max(2, logits.shape[1]))
    exponents[rows, tags] = 0.0
    margins = np.exp(scores) - exponents.max(axis=1) / total
    return Tagged(tags, scores, log_probabilities, max(0.0, float(margins.min())), np.maximum(entropy, 0.0))


def forbid(layout: Layout, allowed: Set[str]) -> FloatArray:
    """What to add to logits so that no field is tagged but the allowed ones: (tags,)."""
    added = np.zeros(layout.tags, dtype=np.float32)
    for place, field in enumerate(layout.copied):
        if field not in allowed:
            added[1 + 2 * place : 3 + 2 * place] = _NEVER
    return added


def best_path(scores: FloatArray) -> IntArray:
    """The tags with the highest sum of (units, tags) scores in which each value begins before it goes on (Viterbi).

    Almost always the best tag of every unit is such a path already.
    """
    tags: IntArray = scores.argmax(axis=1)
    before = np.concatenate([[OUTSIDE], tags[:-1]])
    inside = (tags > OUTSIDE) & (tags % 2 == 0)
    if not (inside & (before != tags) & (before != tags - 1)).any():
        return tags
    return _viterbi(scores)


def _viterbi(scores: FloatArray) -> IntArray:
    """Anything may follow anything, except that inside k follows begin k or inside k alone."""
    units, tags = scores.shape
    came_from = np.empty((units, tags), dtype=np.int64)
    begins, insides = np.arange(1, tags, 2), np.arange(2, tags, 2)
    best = scores[0].copy()
    best[insides] = _NEVER
    for unit in range(1, units):
        top = int(best.argmax())
        came_from[unit] = top
        went_on = best[insides] >= best[begins]
        came_from[unit, insides] = np.where(went_on, insides, begins)
        reached = np.full(tags, best[top], dtype=np.float32)
        reached[insides] = np.where(went_on, best[insides], best[begins])
        best = reached + scores[unit]
    path = np.empty(units, dtype=np.int64)
    path[-1] = best.argmax()
    for unit in range(units - 1, 0, -1):
        path[unit - 1] = came_from[unit, path[unit]]
    return path


def values_of(tags: IntArray) -> list[tuple[int, int, int]]:
    """(field's place, first unit, unit after the last) of every value, in order."""
    found = []
    tagged = tags.tolist()
    for first in np.flatnonzero(tags % 2 == 1).tolist():
        after = first + 1
        while after < len(tagged) and tagged[after] == tagged[first] + 1:
            after += 1
        found.append((tagged[first] // 2, first, after))
    return found


def field_probabilities(tagged: Tagged) -> FloatArray:
    """For every field with tags the probability that each unit is tagged right for it: (fields,).

    A unit counts as right for a field by its own tag where that is the field's, else by being none of the field's.
    """
    spread = np.exp(tagged.log_probabilities)
    there = np.minimum((spread[:, 1::2] + spread[:, 2::2]).astype(np.float64), 1.0 - _LEAST)
    logs = np.log1p(-there)
    for unit in np.flatnonzero(tagged.tags).tolist():
        logs[unit, (int(tagged.tags[unit]) - 1) // 2] = tagged.scores[unit]
    probabilities: FloatArray = np.exp(logs.sum(axis=0)).astype(np.float32)
    return probabilities


def same_decisions(layout: Layout, found: tuple[Any, ...], reference: tuple[Any, ...]) -> float:
    """The share of decisions on which two outputs for one text agree: every group, and every tag that either gives."""
    same = [choose(group, found[0]).choice == choose(group, reference[0]).choice for group in layout.groups]
    ours, theirs = found[1].argmax(axis=1), reference[1].argmax(axis=1)
    given = (ours > OUTSIDE) | (theirs > OUTSIDE)
    same += (ours == theirs)[given].tolist()
    return float(np.mean(same)) if same else 1.0
