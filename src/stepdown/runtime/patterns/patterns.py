"""What is seen of a word, and of two neighbours: names of features, each for a place relative to the token that it
speaks of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

BEFORE, AFTER = "<s>", "</s>"
"""Stand for what is before and after the text; no token is written so."""
UNKNOWN = "<?>"
"""Begins what stands for a word of which only the shape is seen."""
OFFSETS = (-2, -1, 0, 1, 2)
"""Where a word stands, seen from the token that a feature speaks of."""
PAIR_OFFSETS = (-2, -1, 0, 1)
"""Where the first word of a pair stands."""
_DIGIT = re.compile(r"\d")
_AFFIX = 4


def word_features(word: str) -> tuple[tuple[str, ...], ...]:
    """Names of a word's features, for each of OFFSETS: all of it at 0, less of it the further away it stands."""
    if word in (BEFORE, AFTER):
        return tuple((f"{offset} w {word}",) for offset in OFFSETS)
    if word.startswith(UNKNOWN):
        return tuple((f"{offset} h {word[len(UNKNOWN) :]}",) if abs(offset) < 2 else () for offset in OFFSETS)
    lower = word.lower()
    form = shape(word)
    near: tuple[str, ...] = (f"w {lower}", f"h {form}")
    if any(letter.isdigit() for letter in lower):
        near += (f"n {_DIGIT.sub('0', lower)}",)
    ends = tuple(f"s {lower[-length:]}" for length in range(1, _AFFIX + 1) if length < len(lower))
    starts = tuple(f"p {lower[:length]}" for length in range(1, _AFFIX + 1) if length < len(lower))
    at = {0: near + ends + starts, 1: near + ends[2:3], 2: near[:1]}
    return tuple(tuple(f"{offset} {name}" for name in at[abs(offset)]) for offset in OFFSETS)


def pair_features(pair: str) -> tuple[str, ...]:
    """The name of a pair's feature at each of PAIR_OFFSETS."""
    return tuple(f"{offset} b {pair}" for offset in PAIR_OFFSETS)


def text_features(lower: Sequence[str], pairs: Sequence[str]) -> list[str]:
    """Names of the words and pairs of a text of several lines: another line may say what a bare "9" means."""
    return [f"t w {word}" for word in dict.fromkeys(lower)] + [f"t b {pair}" for pair in dict.fromkeys(pairs)]


def neighbours(lower: Sequence[str]) -> list[str]:
    """Pairs of neighbours, with what is before and after the text."""
    return [f"{left} {right}" for left, right in zip([BEFORE, *lower], [*lower, AFTER], strict=True)]


def choice_feature(field: str, choice: int) -> str:
    """What a closed field's choice says of every token; 0 for "not there"."""
    return f"c {choice} {field}"


def listed_feature(field: int, place: str) -> str:
    """A token begins, or is inside, a listed value of a field."""
    return f"g {place} {field}"


@lru_cache(4096)
def shape(word: str) -> str:
    """The kinds of a word's characters, runs shortened to two: "Xx" for "The", "0" and "00" for numbers, "x'"."""
    kinds = [_kind(character) for character in word[:32]]
    return "".join(kind for place, kind in enumerate(kinds) if kinds[max(0, place - 2) : place] != [kind, kind])


def _kind(character: str) -> str:
    if character.isdigit():
        return "0"
    if character.isupper():
        return "X"
    return "x" if character.isalpha() else character
