"""What words and pairs of words say of the tags round them, added up once and kept: the hot path of the patterns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stepdown.runtime.patterns.patterns import (
    AFTER,
    BEFORE,
    OFFSETS,
    PAIR_OFFSETS,
    neighbours,
    pair_features,
    text_features,
    word_features,
)
from stepdown.runtime.patterns.tokens import Tokens
from stepdown.runtime.quantised import QuantisedRows

FloatArray = NDArray[np.float32]
_KEPT_BYTES = 16 * 2**20
_LONGEST_KEPT = 40
"""Characters; what is longer is worked out each time, so that what is kept is bounded in bytes."""
_NOTHING = 0


class FoldedRows:
    """By name the sums of its features' rows, one for each block: float32 (blocks, tags).

    Worked out when a name is first met and kept while there is room. Safe to use from several threads: rows are added
    under a lock, never changed, and are found only once they are written.
    """

    def __init__(self, blocks: int, tags: int, fold: Callable[[str], FloatArray | None]) -> None:
        room = max(256, min(20_000, _KEPT_BYTES // (4 * blocks * tags)))
        self._rows = np.zeros((room, blocks, tags), dtype=np.float32)
        self._places: dict[str, int] = {}
        self._free = 1
        self._fold = fold
        self._lock = threading.Lock()

    def gather(self, names: Sequence[str]) -> FloatArray:
        """(names, blocks, tags); zeros for what has no features."""
        find = self._places.get
        places = [find(name, -1) for name in names]
        if -1 not in places:
            return self._rows[places]
        extra = [
            (at, row)
            for at, place in enumerate(places)
            if place < 0 and (row := self._learn(names, places, at)) is not None
        ]
        gathered = self._rows[places]
        for at, row in extra:
            gathered[at] = row
        return gathered

    def _learn(self, names: Sequence[str], places: list[int], at: int) -> FloatArray | None:
        """Fold a name that is not kept: its place is filled in, or its row returned where there is no room."""
        name = names[at]
        row = self._fold(name)
        places[at] = _NOTHING
        if row is None:
            return None
        with self._lock:
            if self._free == len(self._rows) or len(name) > _LONGEST_KEPT:
                return row
            self._rows[self._free] = row
            self._places[name] = places[at] = self._free
            self._free += 1
        return None


class EmissionTable:
    """Scores of every tag for every token. ids: features by name; weights: a row of (tags,) each."""

    def __init__(self, ids: Mapping[str, int], weights: QuantisedRows) -> None:
        self._ids, self._weights = ids, weights
        self.tags = weights.values.shape[1]
        self._words = FoldedRows(len(OFFSETS), self.tags, self._fold_word)
        self._pairs = FoldedRows(len(PAIR_OFFSETS), self.tags, self._fold_pair)
        self._texts = {name: place for name, place in ids.items() if name.startswith("t ")}
        self._known_words = {name[4:] for name in ids if name.startswith("0 w ")}
        self._known_pairs = {name.split(" ", 2)[2] for name in ids if name.split(" ", 2)[1] == "b" and name[0] != "t"}

    def emissions(self, tokens: Tokens, lower: Sequence[str]) -> FloatArray:
        """(tokens, tags) of words and their neighbours."""
        count = len(tokens)
        rows = self._words.gather([BEFORE, BEFORE, *tokens.words, AFTER, AFTER])
        scores: FloatArray = rows[0:count, 0] + rows[1 : count + 1, 1]
        for block in range(2, len(OFFSETS)):
            scores += rows[block : count + block, block]
        known = self._known_pairs
        pairs = neighbours(lower)
        here = [at for at, pair in enumerate(pairs) if pair in known]
        if here:
            wide = np.zeros((count + 3, len(PAIR_OFFSETS), self.tags), dtype=np.float32)
            wide[[at + 1 for at in here]] = self._pairs.gather([pairs[at] for at in here])
            for block in range(len(PAIR_OFFSETS)):
                scores += wide[block : count + block, block]
        if tokens.lines:
            texts = self._texts
            scores += self._weights.sums([texts[name] for name in text_features(lower, pairs) if name in texts])
        return scores

    def known(self, lower: Sequence[str]) -> float:
        """The share of words that were learned."""
        known = self._known_words
        return sum(word in known for word in lower) / len(lower) if lower else 1.0

    def row(self, name: str) -> FloatArray:
        """A feature's row; zeros where it is not known."""
        place = self._ids.get(name)
        return self._weights.sums([] if place is None else [place])

    def _fold_word(self, word: str) -> FloatArray:
        return np.stack([self._sums(names) for names in word_features(word)])

    def _fold_pair(self, pair: str) -> FloatArray:
        return np.stack([self._sums((name,)) for name in pair_features(pair)])

    def _sums(self, names: Sequence[str]) -> FloatArray:
        return self._weights.sums([place for name in names if (place := self._ids.get(name)) is not None])
