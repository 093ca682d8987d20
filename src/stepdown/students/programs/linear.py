"""A label by words, phrases and character n-grams: their places through the graph, then the surest label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stepdown.students.programs.graph import Graph
from stepdown.students.programs.ngram_places import NgramPlaces
from stepdown.students.signals import one_answer


class Model:
    """An exported linear student; its graph takes the places (n,) of a text's features and gives logits (labels,)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._labels = settings["labels"]
        self._graph = Graph(folder)
        self._places = NgramPlaces(folder)

    def answer(self, text: str) -> tuple[str, tuple[float, ...]]:
        """The label and its signals: top, margin, entropy, energy, known, truncated."""
        found, known, cut = self._places.read(text)
        best, *signals = one_answer(self._graph.run(np.array(found, dtype=np.int64))[0])
        return self._labels[best], (*signals, known, float(cut))
