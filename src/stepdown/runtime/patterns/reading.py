"""Words of a text to the probability of every tag: table, choices, gazetteer and chain together, as served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.runtime.patterns.chain import LEAST, Chain
from stepdown.runtime.patterns.emission_table import EmissionTable
from stepdown.runtime.patterns.gazetteer_lists import PLACES, Gazetteer, listed_at, listed_share
from stepdown.runtime.patterns.patterns import choice_feature, listed_feature
from stepdown.runtime.patterns.tokens import Tokens
from stepdown.runtime.tags.layout import Layout

FloatArray = NDArray[np.float32]
Listed = Mapping[int, set[tuple[int, str]]]


@dataclass(frozen=True)
class Read:
    """scores: (tokens, tags), log-probabilities. known: the share of words that were learned. listed: of the tokens
    that belong to a field, the share that stands in a value of it known from training."""

    scores: FloatArray
    known: float
    listed: float


class PatternReader:
    """Reads texts with a trained chain."""

    def __init__(self, layout: Layout, table: EmissionTable, gazetteer: Gazetteer, chain: Chain) -> None:
        self._table, self._gazetteer, self._chain = table, gazetteer, chain
        self._singles = layout.single
        rows = [
            table.row(choice_feature(group.field, choice)) for group in self._singles for choice in range(group.size)
        ]
        self._choices = np.array(rows, dtype=np.float32).reshape(len(rows), table.tags)
        self._listed = np.array(
            [[table.row(listed_feature(field, place)) for place in PLACES] for field in range(len(layout.copied))],
            dtype=np.float32,
        ).reshape(-1, table.tags)

    def read(self, tokens: Tokens, logits: FloatArray | None) -> Read:
        """What a text of at least one word says. logits: of the closed fields, None where there are none."""
        lower = [word.lower() for word in tokens.words]
        scores = self._table.emissions(tokens, lower)
        if logits is not None and len(self._choices):
            scores += self._probabilities(logits) @ self._choices
        listed = listed_at(self._gazetteer, lower)
        if listed:
            scores += self._marked(listed, len(tokens)) @ self._listed
        marginals = self._chain.marginals(scores)
        logs = np.log(np.maximum(marginals, LEAST), dtype=np.float32)
        return Read(logs, self._table.known(lower), listed_share(listed, marginals.argmax(axis=1).tolist()))

    def _marked(self, listed: Listed, tokens: int) -> FloatArray:
        """(tokens, features of the gazetteer), 1 where one holds."""
        marks = np.zeros((tokens, len(self._listed)), dtype=np.float32)
        at = [(token, len(PLACES) * field + PLACES.index(place)) for token in listed for field, place in listed[token]]
        marks[tuple(zip(*at, strict=True))] = 1.0
        return marks

    def _probabilities(self, logits: FloatArray) -> FloatArray:
        """Of every choice of the closed fields that have one answer, side by side."""
        found = []
        for group in self._singles:
            own = logits[group.start : group.start + group.size]
            exponents = np.exp(own - own.max())
            found.append(exponents / exponents.sum())
        return np.concatenate(found)
