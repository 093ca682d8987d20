"""A label by static token vectors: tokens through the graph, then the surest label and the signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepdown.students.programs.graph import Graph
from stepdown.students.programs.subwords import Tokens
from stepdown.students.signals import one_answer


class Model:
    """An exported token CNN; its graph takes ids (tokens,) and gives logits (labels,) and how many are known."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._labels = settings["labels"]
        self._tokens = Tokens(folder, settings["max_length"], settings["characters"])
        self._graph = Graph(folder)

    def answer(self, text: str) -> tuple[str, tuple[float, ...]]:
        """The label and its signals: top, margin, entropy, energy, known, truncated."""
        ids, cut = self._tokens.read(text)
        logits, seen = self._graph.run(ids)
        best, *signals = one_answer(logits)
        known = float(seen) / len(ids) if len(ids) else 1.0
        return self._labels[best], (*signals, known, float(cut))
