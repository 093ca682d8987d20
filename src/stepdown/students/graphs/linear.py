"""The linear student as a graph: int8 rows of the table at the places of a text's features, added up."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.form_files import NGRAMS, read_json
from stepdown.runtime.kinds.linear import WEIGHTS
from stepdown.runtime.ngram_table import Vocabulary
from stepdown.runtime.words import character_ngrams, phrases, split_words
from stepdown.students.graphs import Graph, model_of

TEXT = """
linear (int64[features] places) => (float[labels] logits) <int64[1] first = {0}, float tiny = {1e-12}> {
    whole = Gather(weights, places)
    values = Cast<to = 1>(whole)
    steps = Gather(scales, places)
    rows = Mul(values, steps)
    total = ReduceSum<keepdims = 0>(rows, first)
    parts = Gather(squares, places)
    square = ReduceSum<keepdims = 0>(parts, first)
    positive = Max(square, tiny)
    norm = Sqrt(positive)
    normed = Div(total, norm)
    logits = Add(normed, bias)
}"""


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    """logits = Σ rows / √Σ squares + bias. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / f"{WEIGHTS}.safetensors")
    known = read_json(folder, f"{NGRAMS}.json", Vocabulary)
    words, pairs = len(known.words), len(known.words) + len(known.phrases)
    of_word, of_pair, of_gram = (
        {name: place for place, name in enumerate(names, start)}
        for names, start in ((known.words, 0), (known.phrases, words), (known.grams, pairs))
    )

    def input_of(text: str) -> NDArray[np.int64]:
        """The places of a text's distinct words and phrases, and of the character n-grams of each word."""
        read = split_words(text)
        distinct = dict.fromkeys(read)
        grams = chain.from_iterable(character_ngrams(word, known.shortest, known.longest) for word in distinct)
        features = ((of_word, distinct), (of_pair, dict.fromkeys(phrases(read))), (of_gram, grams))
        return np.array([places[name] for places, own in features for name in own if name in places], dtype=np.int64)

    return Graph(model_of(TEXT, {**arrays, "scales": arrays["scales"][:, None]}), input_of)
