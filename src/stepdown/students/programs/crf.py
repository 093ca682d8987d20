"""An object of values that are found by words and word patterns, or chosen by n-grams: sums of rows in the graph, the
chain of tags and the reading of it in the modules that serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.students.encoders.tag_layout import Units
from stepdown.students.patterns.chain import LEAST, Chain
from stepdown.students.patterns.gazetteer_lists import Gazetteer, listed_at, listed_share
from stepdown.students.patterns.tokens import Tokens, read_tokens
from stepdown.students.programs.form_answering import read_form
from stepdown.students.programs.graph import Graph
from stepdown.students.programs.ngram_places import NgramPlaces
from stepdown.students.programs.pattern_places import Listed, PatternPlaces


class Model:
    """An exported CRF student. Its graph takes three numbers, then the places of three kinds of features:

    how many of n-grams there are, how many of patterns of the whole text, and how many each token has, filled up with
    the row of zeros. It gives logits (labels,), and scores (tokens, tags) of each token by itself; where nothing is
    chosen, or nothing is copied, the other alone.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._answering, _ = read_form(folder)
        layout = self._answering.layout
        self._ngrams = NgramPlaces(folder) if layout.groups else None
        self._patterns = PatternPlaces(folder) if layout.copied else None
        if self._patterns is not None:
            self._gazetteer = Gazetteer(self._patterns.values)
            self._chain = Chain(np.load(folder / "transitions.npy", allow_pickle=False))
        self._nothing = np.zeros(layout.labels, dtype=np.float32)
        self._tags, self._max_tokens = layout.tags, settings["max_tokens"]
        self._graph = Graph(folder)

    def answer(self, text: str) -> tuple[Any, tuple[float, ...]]:
        """The object and its signals, "abstains", known and listed among them."""
        chosen, known, cut = self._ngrams.read(text) if self._ngrams else ([], 1.0, False)
        tokens = read_tokens(text, self._max_tokens)
        count, share = len(tokens), 1.0
        read = self._patterns is not None and count > 0
        lower = [word.lower() for word in tokens.words]
        listed = listed_at(self._gazetteer, lower) if read else {}
        outputs = iter(self._graph.run(self._places(chosen, tokens, lower, listed)))
        logits = next(outputs) if self._ngrams else self._nothing
        scores = np.zeros((count, self._tags), dtype=np.float32)
        if self._patterns is not None and count:
            marginals = self._chain.marginals(next(outputs))
            scores = np.log(np.maximum(marginals, LEAST), dtype=np.float32)
            known, share = self._patterns.known(lower), listed_share(listed, marginals.argmax(axis=1).tolist())
        units = Units(np.arange(count), np.array(tokens.bounds, dtype=np.int64).reshape(count, 2))
        answered = self._answering.answer(text, units, (logits, scores), tokens.truncated or cut)
        return answered.answer, (*answered.signals, known, share)

    def _places(self, chosen: list[int], tokens: Tokens, lower: list[str], listed: Listed) -> Any:
        whole: list[int] = []
        rows: list[list[int]] = [[]]
        if self._patterns is not None and len(tokens):
            whole, rows = self._patterns.read(tokens, lower, listed)
        width = max(1, *map(len, rows))
        return np.fromiter(self._filled(chosen, whole, rows, width), dtype=np.int64)

    def _filled(self, chosen: list[int], whole: list[int], rows: list[list[int]], width: int) -> Iterator[int]:
        zeros = [self._patterns.zeros if self._patterns is not None else 0] * width
        yield from (len(chosen), len(whole), width, *chosen, *whole)
        for row in rows:
            yield from row
            yield from zeros[len(row) :]
