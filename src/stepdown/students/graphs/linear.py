"""The linear student as a graph: rows of the table for the places of a text's features, added up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.form_files import NGRAMS, read_json
from stepdown.runtime.kinds.linear import WEIGHTS
from stepdown.runtime.ngram_table import Vocabulary
from stepdown.runtime.words import character_ngrams, phrases, split_words
from stepdown.students.graphs import Graph
from stepdown.students.graphs._writing import GraphWriter


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    """logits = Σ rows / √Σ squares + bias, the table in int8 with a scale for each row. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / f"{WEIGHTS}.safetensors")
    written = GraphWriter("places")
    total = written.node(
        "ReduceSum", written.rows_at(arrays, "places"), written.weight("rows", np.array([0])), keepdims=0
    )
    each = written.node("Gather", written.weight("squares", arrays["squares"]), "places")
    square = written.node("ReduceSum", each, written.weight("all", np.array([0])), keepdims=0)
    norm = written.node("Sqrt", written.node("Max", square, written.weight("tiny", np.float32(1e-12))))
    written.node("Add", written.node("Div", total, norm), written.weight("bias", arrays["bias"]), output="logits")
    vocabulary = read_json(folder, f"{NGRAMS}.json", Vocabulary)
    names = [*vocabulary.words, *vocabulary.phrases, *vocabulary.grams]
    words, grams = len(vocabulary.words), len(vocabulary.words) + len(vocabulary.phrases)
    places = [
        {name: place for place, name in enumerate(names) if start <= place < stop}
        for start, stop in ((0, words), (words, grams), (grams, len(names)))
    ]

    def input_of(text: str) -> NDArray[np.int64]:
        """A text's distinct words, their character n-grams, and its distinct phrases, those that are known."""
        read = split_words(text)
        distinct = dict.fromkeys(read)
        parts = [gram for word in distinct for gram in character_ngrams(word, vocabulary.shortest, vocabulary.longest)]
        features = zip(places, (distinct, dict.fromkeys(phrases(read)), parts), strict=True)
        return np.array([known[name] for known, own in features for name in own if name in known], dtype=np.int64)

    return Graph(written.serialised({"logits": [len(manifest.labels)]}), input_of)
