"""An object of values that are marked in a text or chosen: tokens through the graph, its outputs read as a form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepdown.students.encoders.tag_layout import units_of
from stepdown.students.programs.form_answering import read_form
from stepdown.students.programs.graph import Graph
from stepdown.students.programs.subwords import Tokens


class Model:
    """An exported tagger; its graph takes ids (1, tokens) and gives logits (1, labels) and tags (1, tokens, tags)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._answering, said = read_form(folder)
        self._whole_words = said["whole_words"]
        self._tokens = Tokens(folder, settings["max_length"], settings["characters"])
        self._graph = Graph(folder)

    def answer(self, text: str) -> tuple[Any, tuple[float, ...]]:
        """The object and its signals, "abstains" among them."""
        reading = self._tokens.places(text)
        outputs = tuple(output[0] for output in self._graph.run(reading.ids[None]))
        units = units_of(reading, self._whole_words)
        answered = self._answering.answer(text, units, outputs, reading.truncated)
        return answered.answer, answered.signals
