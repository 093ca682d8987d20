"""The context of a piece in a text of several lines: its line, and the words that label it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LETTERS = re.compile(r"[^\W\d_]{2,24}")
MOST_LABEL_WORDS = 6
_MOST_ROUND = 400
"""Characters to either side, of lines that are no lines."""
ABOVE = "^"
"""Begins the words of the line above, which name what has no words before it on its own."""


def lines_round(text: str, start: int, end: int, above: int = 0) -> str:
    """The line, or lines, of a text on which a piece stands, and as many lines above."""
    first = text.rfind("\n", 0, start) + 1
    for _ in range(above):
        first = text.rfind("\n", 0, max(0, first - 1)) + 1
    last = text.find("\n", end)
    return text[max(first, start - _MOST_ROUND) : min(last if last >= 0 else len(text), end + _MOST_ROUND)]


def label_words(text: str, start: int) -> tuple[str, ...]:
    """The last few words before a place, in lower case: those on its line, else those of the line above."""
    first = text.rfind("\n", 0, start) + 1
    words = _LETTERS.findall(text[max(first, start - 200) : start].lower())[-MOST_LABEL_WORDS:]
    if words or first < 2:
        return tuple(words)
    above = text.rfind("\n", 0, first - 1) + 1
    found = _LETTERS.findall(text[max(above, first - 200) : first].lower())[-MOST_LABEL_WORDS:]
    return tuple(ABOVE + word for word in found)


def cued(cues: Mapping[str, float], text: str, start: int) -> float:
    """The sum of the cues among the words before a place: the evidence for it."""
    return sum(cues.get(word, 0.0) for word in set(label_words(text, start)))
