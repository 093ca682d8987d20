"""A label by an encoder: tokens through the graph, then the surest label and the signals of how sure it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepdown.students.programs.graph import Graph
from stepdown.students.programs.subwords import Tokens
from stepdown.students.signals import one_answer


class Model:
    """An exported encoder; its graph takes ids (1, tokens) and gives logits (1, labels)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._labels = settings["labels"]
        self._tokens = Tokens(folder, settings["max_length"], settings["characters"])
        self._graph = Graph(folder)

    def answer(self, text: str) -> tuple[str, tuple[float, ...]]:
        """The label and its signals: top, margin, entropy, energy, truncated."""
        ids, cut = self._tokens.read(text)
        best, *signals = one_answer(self._graph.run(ids[None])[0][0])
        return self._labels[best], (*signals, float(cut))
