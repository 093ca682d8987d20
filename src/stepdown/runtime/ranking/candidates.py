"""What a field may be: every piece of a text that its rule reads, or that looks like a name or a number of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from stepdown.core.extraction.deriving import MOST_CHARACTERS
from stepdown.core.extraction.graphemes import is_boundary
from stepdown.core.extraction.values import NORMALISERS, cast, pieces, value_of

MOST = 400
"""Of one rule in one text."""
_LONGEST = 120
_WORD = re.compile(r"\S+")
_PARTING = re.compile(r"[ \t]{2,}|\t|[|;]|[ \u00a0]?:[ \u00a0]+|[ ][-–—·•=@/][ ]|,[ ]|#[ ]?|°[ ]?|№[ ]?")
_EDGES = " \t\r.,;:!?\"'`()[]{}<>«»“”‘’„…|*_~#·•=@°"


@dataclass(frozen=True)
class Candidate:
    """Characters start to end, and the value that they have, None where the text leaves it unclear."""

    start: int
    end: int
    value: Any


def candidates(rule: str, text: str, types: tuple[str, ...]) -> list[Candidate]:
    """From the left, at most 400."""
    text = text[:MOST_CHARACTERS]
    if NORMALISERS[rule].patterns:
        read = pieces(rule, text, MOST)
        return [Candidate(start, end, None if value is None else cast(value, types)) for start, end, value in read]
    found = [(start, end, value_of(rule, text[start:end], types, text)) for start, end in _named(text)]
    return [Candidate(start, end, value) for start, end, value in found if value is not None][:MOST]


@lru_cache(64)
def _named(text: str) -> tuple[tuple[int, int], ...]:
    """Words with a digit, parts of lines between what parts them, and whole lines."""
    found: dict[tuple[int, int], None] = {}
    for match in re.finditer(r"[^\n]+", text):
        if len(found) >= 2 * MOST:
            break
        for start, end in islice(_pieces_of_line(text, *match.span()), 2 * MOST):
            piece = _trimmed(text, start, end)
            if 0 < piece[1] - piece[0] <= _LONGEST and all(is_boundary(text, edge) for edge in piece):
                found[piece] = None
    return tuple(sorted(found))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without marks and spaces at its edges."""
    while start < end and text[start] in _EDGES:
        start += 1
    while end > start and text[end - 1] in _EDGES:
        end -= 1
    return start, end


def _pieces_of_line(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    yield first, last
    at = first
    for mark in _PARTING.finditer(text, first, last):
        yield at, mark.start()
        at = mark.end()
    yield at, last
    for word in _WORD.finditer(text, first, last):
        if any(letter.isdigit() for letter in word.group()):
            yield word.span()
