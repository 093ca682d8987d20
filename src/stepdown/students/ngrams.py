"""The vocabulary of the words, phrases and character n-grams that are worth keeping, and texts as rows of a matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import needs
from stepdown.runtime.ngram_table import Vocabulary
from stepdown.runtime.words import character_ngrams, phrases, split_words


@dataclass(frozen=True)
class Counted:
    """Texts read into words once, and in how many of them each n-gram stands."""

    texts: list[list[str]]
    words: Counter[str]
    phrases: Counter[str]
    grams: Counter[str]
    shortest: int
    longest: int


def count_ngrams(texts: Sequence[str], shortest: int, longest: int) -> Counted:
    """Read texts and count. Character n-grams are counted through the distinct words, which are far fewer."""
    split = [split_words(text) for text in texts]
    words: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    grams: Counter[str] = Counter()
    for each in split:
        words.update(set(each))
        pairs.update(set(phrases(each)))
    for word, count in words.items():
        for gram in set(character_ngrams(word, shortest, longest)):
            grams[gram] += count
    return Counted(split, words, pairs, grams, shortest, longest)


def choose_vocabulary(counted: Counted, min_count: int, max_features: int) -> tuple[Vocabulary, NDArray[np.float32]]:
    """The n-grams that stand in at least `min_count` texts, the most frequent `max_features` of them, with their idf.

    idf: float32 (features,), log((1 + n) / (1 + count)) + 1.
    """
    ranked = [
        (-count, kind, name)
        for kind, counter in enumerate((counted.words, counted.phrases, counted.grams))
        for name, count in counter.items()
        if count >= min_count
    ]
    if len(ranked) > max_features:
        ranked = sorted(ranked)[:max_features]
    kept = sorted((kind, name, -count) for count, kind, name in ranked)
    names: list[list[str]] = [[], [], []]
    for kind, name, _ in kept:
        names[kind].append(name)
    n = len(counted.texts)
    counts = np.minimum([count for *_, count in kept], n)
    idf = (np.log((1.0 + n) / (1.0 + counts)) + 1.0).astype(np.float32)
    chosen = Vocabulary(tuple(names[0]), tuple(names[1]), tuple(names[2]), counted.shortest, counted.longest)
    return chosen, idf


def features(texts: Iterable[list[str]], vocabulary: Vocabulary, idf: NDArray[np.float32]) -> Any:
    """A scipy CSR matrix float32 (n, features) of idf weights, each row divided by the norm of its parts.

    The norm adds the squares part by part (an n-gram that stands in two words counts twice), which keeps it additive.
    Raises MissingExtra without scipy.
    """
    with needs("train", "Training a student on n-grams"):
        from scipy import sparse
    word_place = {word: place for place, word in enumerate(vocabulary.words)}
    pair_place = {pair: place for place, pair in enumerate(vocabulary.phrases, len(word_place))}
    gram_place = {gram: place for place, gram in enumerate(vocabulary.grams, len(word_place) + len(pair_place))}
    places: dict[str, list[int]] = {}
    columns: list[int] = []
    starts = [0]
    for words in texts:
        for word in dict.fromkeys(words):
            if word not in places:
                grams = character_ngrams(word, vocabulary.shortest, vocabulary.longest)
                own = [word_place[word]] if word in word_place else []
                places[word] = own + [gram_place[gram] for gram in grams if gram in gram_place]
            columns += places[word]
        columns += [pair_place[pair] for pair in dict.fromkeys(phrases(words)) if pair in pair_place]
        starts.append(len(columns))
    column = np.asarray(columns, dtype=np.int32)
    squares = np.concatenate([[0.0], np.cumsum(idf[column].astype(np.float64) ** 2)])
    norms = np.sqrt(np.maximum(np.diff(squares[starts]), 1e-12))
    values = idf[column] / np.repeat(norms, np.diff(starts)).astype(np.float32)
    matrix = sparse.csr_matrix((values.astype(np.float32), column, starts), shape=(len(starts) - 1, len(vocabulary)))
    matrix.sum_duplicates()
    return matrix
