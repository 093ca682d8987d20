"""Answers as sums of table rows: one row per word, which has its character n-grams folded in, and one per phrase."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.runtime.quantised import QuantisedRows
from stepdown.runtime.words import MAX_CHARACTERS, character_ngrams, phrases, split_words

FloatArray = NDArray[np.float32]

EXTRA_COLUMNS = 1
"""After the labels' columns: the sum of squared idf, for the norm."""
_CACHE_BYTES = 16 * 2**20
_FOLDED_AT_ONCE = 2_000


@dataclass(frozen=True)
class Vocabulary:
    """Which n-grams are known. Features are numbered words first, then phrases, then character n-grams."""

    words: tuple[str, ...]
    phrases: tuple[str, ...]
    grams: tuple[str, ...]
    shortest: int
    longest: int

    def __len__(self) -> int:
        return len(self.words) + len(self.phrases) + len(self.grams)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class NgramTable:
    """logits of a text = sum of its rows / its norm + bias. A new word is folded once and kept while there is room.

    weights: (features, labels + EXTRA_COLUMNS), idf folded in. Safe to use from several threads: rows are added under a
    lock, never changed, and are found only once they are written.
    """

    def __init__(self, vocabulary: Vocabulary, weights: QuantisedRows, squares: FloatArray, bias: FloatArray) -> None:
        self._shortest, self._longest = vocabulary.shortest, vocabulary.longest
        words, pairs = len(vocabulary.words), len(vocabulary.phrases)
        self._known = {word: place for place, word in enumerate(vocabulary.words)}
        self._pairs = {pair: place for place, pair in enumerate(vocabulary.phrases, words)}
        self._grams = {gram: place for place, gram in enumerate(vocabulary.grams, words + pairs)}
        self._weights, self._squares, self.bias = weights, squares, bias
        self._labels = len(bias)
        columns = self._labels + EXTRA_COLUMNS
        spare = max(64, min(20_000, _CACHE_BYTES // (4 * columns)))
        self._rows = np.zeros((words + pairs + spare, columns), dtype=np.float32)
        for start in range(0, words + pairs, _FOLDED_AT_ONCE):
            stop = min(start + _FOLDED_AT_ONCE, words + pairs)
            self._rows[start:stop, : self._labels] = weights.rows(slice(start, stop))
            self._rows[start:stop, self._labels] = squares[start:stop]
        for word, place in self._known.items():
            self._rows[place] += self._gram_sums(word)
        self._places = dict(self._known)
        self._free = words + pairs
        self._lock = threading.Lock()
        self._no_sums = np.zeros(columns, dtype=np.float32)

    def logits(self, text: str) -> tuple[FloatArray, float, float]:
        """Logits (labels,), the share of the text's words that are known, and 1.0 if it was cut, else 0.0."""
        places, known, new = self._find(text)
        gathered = self._rows[places]
        for position, row in new:
            gathered[position] = row
        total = np.add.reduce(gathered, axis=0) if places else self._no_sums
        scale = max(float(total[-1]), 1e-12) ** -0.5
        return total[:-1] * np.float32(scale) + self.bias, known, float(len(text) > MAX_CHARACTERS)

    def logits_many(self, texts: Sequence[str]) -> tuple[FloatArray, NDArray[np.float64]]:
        """Logits (n, labels) and (n, 2) of known share and truncated."""
        logits = np.empty((len(texts), self._labels), dtype=np.float32)
        extra = np.empty((len(texts), 2), dtype=np.float64)
        for position, (one, known, truncated) in enumerate(self._each(texts)):
            logits[position] = one
            extra[position] = (known, truncated)
        return logits, extra

    def _each(self, texts: Sequence[str]) -> Iterator[tuple[FloatArray, float, float]]:
        for text in texts:
            yield self.logits(text)

    def _find(self, text: str) -> tuple[list[int], float, list[tuple[int, FloatArray]]]:
        """The rows of a text in a fixed order, the share of known words, and rows that the table has no room for."""
        words = split_words(text)
        distinct = dict.fromkeys(words)
        find = self._places.get
        places = [find(word, -1) for word in distinct]
        new: list[tuple[int, FloatArray]] = []
        known = 1.0
        limit = len(self._known)
        if -1 in places or (places and max(places) >= limit):
            known = sum(0 <= place < limit for place in places) / len(places)
            new = self._learn(list(distinct), places)
        pairs = self._pairs.get
        places += sorted({place for pair in phrases(words) if (place := pairs(pair)) is not None})
        return places, known, new

    def _learn(self, words: list[str], places: list[int]) -> list[tuple[int, FloatArray]]:
        """Fold the words that have no row yet; `places` is filled in where the table has room for them."""
        new = []
        for position, place in enumerate(places):
            if place >= 0:
                continue
            row = self._gram_sums(words[position])
            with self._lock:
                if self._free < len(self._rows):
                    self._rows[self._free] = row
                    self._places[words[position]] = places[position] = self._free
                    self._free += 1
                    continue
            places[position] = 0
            new.append((position, row))
        return new

    def _gram_sums(self, word: str) -> FloatArray:
        find = self._grams.get
        grams = character_ngrams(word, self._shortest, self._longest)
        places = [place for gram in grams if (place := find(gram)) is not None]
        sums = np.zeros(self._labels + EXTRA_COLUMNS, dtype=np.float32)
        sums[:-1] = self._weights.sums(places)
        sums[-1] = self._squares[places].sum()
        return sums
