"""A text's candidates with the scores that a table of weights gives them: the hot path. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.runtime.ranking.candidates import Candidate, candidates
from stepdown.runtime.ranking.rank_answering import Option, RankAnswering, options_of
from stepdown.runtime.ranking.surroundings import describe


@dataclass(frozen=True)
class Table:
    """ids: features by name. absent: by copied field the score of its not being there. weights: (features, fields)."""

    ids: Mapping[str, int]
    absent: Sequence[float]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Places:
    """The candidates of one rule, which features of each are known, and how many of them there are of how many."""

    found: list[Candidate]
    rows: list[list[int]]
    known: list[float]


def places_of(ids: Mapping[str, int], rule: str, text: str, types: tuple[str, ...]) -> Places:
    """What a rule reads in a text, as places in the table."""
    found = candidates(rule, text, types)
    described = describe(rule, text, found)
    rows = [[place for name in names if (place := ids.get(name)) is not None] for names in described]
    known = [len(row) / len(names) for row, names in zip(rows, described, strict=True)]
    return Places(found, rows, known)


def offer(answering: RankAnswering, table: Table, text: str) -> tuple[dict[str, list[Option]], float]:
    """By copied field its options, the likeliest first; and the least share of known features of a chosen candidate."""
    offered: dict[str, list[Option]] = {}
    known = 1.0
    for (rule, types), fields in answering.rules().items():
        places = places_of(table.ids, rule, text, types)
        scores = scored(table, places.rows, fields)
        known = min(known, spread(answering, table.absent, places, scores, fields, offered))
    return offered, known


def scored(table: Table, rows: Sequence[Sequence[int]], fields: Sequence[int]) -> NDArray[np.float32]:
    """(candidates, fields)."""
    if not rows:
        return np.zeros((0, len(fields)), dtype=np.float32)
    own = table.weights[:, fields]
    return np.stack([own[row].sum(axis=0) if row else np.zeros(len(fields), dtype=np.float32) for row in rows])


def spread(
    answering: RankAnswering,
    absent: Sequence[float],
    places: Places,
    scores: NDArray[np.float32],
    fields: Sequence[int],
    offered: dict[str, list[Option]],
) -> float:
    """Put the options of some fields into `offered`; returns the least share of known features of a likeliest one."""
    known = 1.0
    at = {id(each): place for place, each in enumerate(places.found)}
    for column, field in enumerate(fields):
        options = options_of(places.found, scores[:, column].tolist(), absent[field])
        offered[answering.copied[field].field] = options
        best = options[0].candidate
        if best is not None:
            known = min(known, places.known[at[id(best)]])
    return known
