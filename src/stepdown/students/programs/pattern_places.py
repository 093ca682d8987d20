"""The places of a text's word patterns in an exported `patterns.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from stepdown.students.patterns.patterns import (
    AFTER,
    BEFORE,
    OFFSETS,
    PAIR_OFFSETS,
    listed_feature,
    neighbours,
    pair_features,
    text_features,
    word_features,
)
from stepdown.students.patterns.tokens import Tokens

Listed = Mapping[int, set[tuple[int, str]]]
_KEPT = 4_096


class PatternPlaces:
    """What a chain of tags sees of a text. values: the gazetteer. zeros: the place after the last, a row of zeros."""

    def __init__(self, folder: Path) -> None:
        stored = json.loads((folder / "patterns.json").read_text(encoding="utf-8"))
        self._ids = {name: place for place, name in enumerate(stored["names"])}
        self.values = [(tuple(words), tuple(fields)) for words, fields in stored["values"]]
        self.zeros = len(self._ids)
        self._word = lru_cache(_KEPT)(self._of_word)

    def read(self, tokens: Tokens, lower: list[str], listed: Listed) -> tuple[list[int], list[list[int]]]:
        """The places of what holds for every token, and those of each token by itself."""
        words = [self._word(word) for word in (BEFORE, BEFORE, *tokens.words, AFTER, AFTER)]
        pairs = neighbours(lower)
        around = [self._found(pair_features(pair), keep=True) for pair in ("", *pairs, "")]
        rows = []
        for token in range(len(tokens)):
            row = [place for block in range(len(OFFSETS)) for place in words[token + block][block]]
            row += [place for block in range(len(PAIR_OFFSETS)) if (place := around[token + block][block]) >= 0]
            row += self._found([listed_feature(*each) for each in sorted(listed.get(token, ()))])
            rows.append(row)
        return self._found(text_features(lower, pairs) if tokens.lines else ()), rows

    def known(self, lower: list[str]) -> float:
        """The share of words that were learned."""
        return sum(f"0 w {word}" in self._ids for word in lower) / len(lower) if lower else 1.0

    def _of_word(self, word: str) -> list[list[int]]:
        return [self._found(names) for names in word_features(word)]

    def _found(self, names: list[str] | tuple[str, ...], keep: bool = False) -> list[int]:
        """The places of the names that are known; keep: −1 for one that is not."""
        places = [self._ids.get(name, -1) for name in names]
        return places if keep else [place for place in places if place >= 0]
