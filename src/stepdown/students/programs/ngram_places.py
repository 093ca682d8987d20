"""The places of a text's words, phrases and character n-grams in an exported `ngrams.json`."""

from __future__ import annotations

import json
from pathlib import Path

from stepdown.students.words import MAX_CHARACTERS, character_ngrams, phrases, split_words


class NgramPlaces:
    """What a model of n-grams sees of a text."""

    def __init__(self, folder: Path) -> None:
        known = json.loads((folder / "ngrams.json").read_text(encoding="utf-8"))
        self._lengths = known["shortest"], known["longest"]
        words, pairs = len(known["words"]), len(known["phrases"])
        self._words = {name: place for place, name in enumerate(known["words"])}
        self._phrases = {name: place for place, name in enumerate(known["phrases"], words)}
        self._grams = {name: place for place, name in enumerate(known["grams"], words + pairs)}

    def read(self, text: str) -> tuple[list[int], float, bool]:
        """The places of what is known of a text, the share of its words that are, and whether it was cut."""
        words = split_words(text)
        distinct = dict.fromkeys(words)
        found = [self._words[word] for word in distinct if word in self._words]
        known = len(found) / len(distinct) if distinct else 1.0
        for word in distinct:
            found += [self._grams[gram] for gram in character_ngrams(word, *self._lengths) if gram in self._grams]
        found += {self._phrases[pair]: None for pair in phrases(words) if pair in self._phrases}
        return found, known, len(text) > MAX_CHARACTERS
