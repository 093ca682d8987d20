"""A text with the values of two answers marked in it: who says what of which characters, however the two overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from stepdown.core.extraction.form import Span
from stepdown.report.format import clean

MOST_SPANS = 100
"""Of one answer, so that no record makes a page without end."""
BEFORE = 120
"""Characters shown before the first difference where the text is too long to show from its beginning."""


@dataclass(frozen=True)
class Piece:
    """Some characters of a text. said: the fields that they are a value of, by who says so; {} for none."""

    text: str
    said: Mapping[str, tuple[str, ...]]

    @property
    def agreed(self) -> bool:
        """Whether all who were asked say the same of it."""
        return len(set(self.said.values())) == 1


def mark(text: str, spans: Mapping[str, Iterable[Span]], most: int) -> list[Piece]:
    """The text cut where anybody's span begins or ends; at most about `most` characters, with the first difference.

    spans: of each who was asked, by name. Those outside the text are passed over. The text's order is kept, and joined
    the pieces are the text that is shown.
    """
    bounded = {
        who: [span for span in list(given)[:MOST_SPANS] if 0 <= span.start < span.end <= len(text)]
        for who, given in spans.items()
    }
    start, end = _window(len(text), bounded, most)
    cuts = {start, end}
    for given in bounded.values():
        cuts.update(place for span in given for place in (span.start, span.end) if start < place < end)
    order = sorted(cuts)
    pieces = [Piece(clean(text[left:right]), _said(bounded, left, right)) for left, right in pairwise(order)]
    before, after = (Piece("…", {}),) if start else (), (Piece("…", {}),) if end < len(text) else ()
    return [*before, *pieces, *after]


def _window(length: int, spans: Mapping[str, list[Span]], most: int) -> tuple[int, int]:
    """The characters to show: from the beginning where that reaches the first difference, else from before it."""
    if length <= most:
        return 0, length
    counted = Counter(span for given in spans.values() for span in set(given))
    differing = [span for span, number in counted.items() if number < len(spans)]
    first = min((span.start for span in differing), default=0)
    last = min((span.end for span in differing if span.start == first), default=0)
    start = 0 if last <= most else max(0, first - BEFORE)
    return start, min(length, start + most)


def _said(spans: Mapping[str, list[Span]], left: int, right: int) -> dict[str, tuple[str, ...]]:
    """The fields whose spans hold these characters, by who says so; {} where nobody says anything."""
    said = {
        who: tuple(dict.fromkeys(span.field for span in given if span.start <= left and right <= span.end))
        for who, given in spans.items()
    }
    return said if any(said.values()) else {}
