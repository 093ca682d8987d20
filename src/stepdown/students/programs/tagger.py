"""An object of values that are marked in a text or chosen: tokens through the graph, its outputs read as a form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepdown.core.extraction.form import Field, Form, Role
from stepdown.students.encoders.tag_answering import Answering
from stepdown.students.encoders.tag_layout import units_of
from stepdown.students.programs.graph import Graph
from stepdown.students.programs.tokens import Tokens


class Model:
    """An exported tagger; its graph takes ids (1, tokens) and gives logits (1, labels) and tags (1, tokens, tags)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        said = json.loads((folder / "form.json").read_text(encoding="utf-8"))
        fields = tuple(Field(**_tuples(each)) for each in said["form"].pop("fields", ()))
        form = Form(fields=fields, **_tuples(said["form"]))
        self._answering = Answering(form, [Role(**_tuples(each)) for each in said["roles"]])
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


def _tuples(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
