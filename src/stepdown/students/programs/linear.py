"""A label by words, phrases and character n-grams: their places through the graph, then the surest label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.students.programs.graph import Graph
from stepdown.students.signals import one_answer
from stepdown.students.words import MAX_CHARACTERS, character_ngrams, phrases, split_words


class Model:
    """An exported linear student; its graph takes the places (n,) of a text's features and gives logits (labels,)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._labels = settings["labels"]
        self._graph = Graph(folder)
        known = json.loads((folder / "ngrams.json").read_text(encoding="utf-8"))
        self._lengths = known["shortest"], known["longest"]
        words, pairs = len(known["words"]), len(known["phrases"])
        self._words = {name: place for place, name in enumerate(known["words"])}
        self._phrases = {name: place for place, name in enumerate(known["phrases"], words)}
        self._grams = {name: place for place, name in enumerate(known["grams"], words + pairs)}

    def answer(self, text: str) -> tuple[str, tuple[float, ...]]:
        """The label and its signals: top, margin, entropy, energy, known, truncated."""
        words = split_words(text)
        distinct = dict.fromkeys(words)
        found = [self._words[word] for word in distinct if word in self._words]
        known = len(found) / len(distinct) if distinct else 1.0
        for word in distinct:
            found += [self._grams[gram] for gram in character_ngrams(word, *self._lengths) if gram in self._grams]
        found += {self._phrases[pair]: None for pair in phrases(words) if pair in self._phrases}
        best, *signals = one_answer(self._graph.run(np.array(found, dtype=np.int64))[0])
        return self._labels[best], (*signals, known, float(len(text) > MAX_CHARACTERS))
