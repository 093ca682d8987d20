"""An object of values that rules read in a document: scores of candidates in the graph, the rest in modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.core.extraction.writing import fitting
from stepdown.students.programs.form_answering import form_and_roles
from stepdown.students.programs.graph import Graph
from stepdown.students.programs.ngram_places import NgramPlaces
from stepdown.students.ranking.rank_answering import Option, RankAnswering
from stepdown.students.ranking.scoring import Places, places_of, spread
from stepdown.students.ranking.strangeness import Familiar


class Model:
    """An exported ranker. Its graph takes two numbers, then the places of two kinds of features:

    how many of n-grams there are and how many each candidate has, filled up with the row of zeros. It gives logits
    (labels,) where something is chosen, and scores (candidates, fields) where something is read.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        ranks = json.loads((folder / "ranks.json").read_text(encoding="utf-8"))
        form, roles, _ = form_and_roles(folder)
        familiar = Familiar(frozenset(ranks["contexts"]), ranks["most"])
        self._answering = RankAnswering(form, roles, fitting(form) if form.schemas else None, familiar)
        layout = self._answering.layout
        self._ngrams = NgramPlaces(folder) if layout.groups else None
        self._nothing = np.zeros(layout.labels, dtype=np.float32)
        self._ids = {name: place for place, name in enumerate(ranks["names"])}
        self._absent: list[float] = ranks["absent"]
        self._zeros = max(1, len(self._ids))
        self._longest = settings["max_characters"]
        self._graph = Graph(folder)

    def answer(self, text: str) -> tuple[Any, tuple[float, ...]]:
        """The object and its signals, "abstains" among them."""
        read = text[: self._longest]
        places = [places_of(self._ids, rule, read, types) for rule, types in self._answering.rules()]
        chosen = self._ngrams.read(text)[0] if self._ngrams else []
        outputs = iter(self._graph.run(self._filled(chosen, [row for each in places for row in each.rows])))
        logits = next(outputs) if self._ngrams else self._nothing
        offered, known = self._offer(places, next(outputs)) if places else ({}, 1.0)
        ranked = self._answering.answer(read, offered, logits, known, len(text) > self._longest)
        return ranked.answer, ranked.signals

    def _offer(self, places: list[Places], scores: Any) -> tuple[dict[str, list[Option]], float]:
        offered: dict[str, list[Option]] = {}
        known, at = 1.0, 0
        for each, fields in zip(places, self._answering.rules().values(), strict=True):
            own = scores[at : at + len(each.rows)][:, fields]
            known = min(known, spread(self._answering, self._absent, each, own, fields, offered))
            at += len(each.rows)
        return offered, known

    def _filled(self, chosen: list[int], rows: list[list[int]]) -> Any:
        rows = rows or [[]]
        width = max(1, *map(len, rows))
        filled = [place for row in rows for place in (*row, *[self._zeros] * (width - len(row)))]
        return np.array([len(chosen), width, *chosen, *filled], dtype=np.int64)
