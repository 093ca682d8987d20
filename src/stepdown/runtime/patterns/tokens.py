"""Words, numbers and marks of a text with their places. Nothing but the standard library."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import islice

from stepdown.core.extraction.graphemes import is_boundary

MAX_CHARACTERS = 20_000
"""What is read of a text, at most."""

# Scripts written without spaces, of which every letter is a token: Thai to Myanmar, Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# A run of letters is cut at 32, as in `runtime.words`, so that one endless word stays bounded.
_TOKEN = re.compile(rf"\d{{1,32}}|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]{{1,32}}|[^\w\s]|_")


@dataclass(frozen=True)
class Tokens:
    """words: as written. bounds: the characters start to end of each. truncated: the text has more than was read.

    lines: it has more than one, as inputs of several slots do, one a line.
    """

    words: list[str]
    bounds: list[tuple[int, int]]
    truncated: bool
    lines: bool = False

    def __len__(self) -> int:
        return len(self.words)


def read_tokens(text: str, limit: int) -> Tokens:
    """At most `limit` tokens of a text. Letters, digits and single marks; what is read as one character stays whole."""
    read = text[:MAX_CHARACTERS]
    bounds = [match.span() for match in islice(_TOKEN.finditer(read), limit + 1)]
    if not read.isascii():
        bounds = _whole_characters(read, bounds)
    truncated = len(bounds) > limit or len(read) < len(text)
    bounds = bounds[:limit]
    return Tokens([read[start:end] for start, end in bounds], bounds, truncated, "\n" in read.strip())


def _whole_characters(text: str, bounds: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Marks and joiners go with what they belong to, and the letters after a vowel sign with their word."""
    merged: list[tuple[int, int]] = []
    for start, end in bounds:
        if merged and merged[-1][1] == start and _belongs(text, start):
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _belongs(text: str, at: int) -> bool:
    if not is_boundary(text, at):
        return True
    return unicodedata.category(text[at - 1])[0] == "M" and text[at].isalpha()
