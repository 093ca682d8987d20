"""What varies by nature: dates, times, ids and numbers, which are slots of a prompt although a sample has only one.

A prompt that says "Today is 2026-11-30" says another day tomorrow. Such texts are found by their form; in a template
they are slots that take any text of the same kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["date", "id", "number"]
MARKS: dict[Kind, str] = {"date": "\ue0d0", "id": "\ue0d1", "number": "\ue0d2"}
"""Private-use characters that stand for a text of a kind while templates are mined."""
KINDS: dict[str, Kind] = {mark: kind for kind, mark in MARKS.items()}

_MONTH = (
    r"(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|july?|juli|aug(?:ust)?|"
    r"sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)"
)
_WEEKDAY = (
    r"(?:mon(?:day)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:rs|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?|"
    r"montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag)"
)
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:\s?(?:am|pm|a\.m\.|p\.m\.))?(?:\s?(?:z|utc|gmt|[+-]\d{2}:?\d{2}))?"
_DAY = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})|"
    rf"\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s)?{_MONTH}(?:\.?,?\s\d{{4}})?|"
    rf"{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?|{_MONTH}\.?\s\d{{4}}|\d{{4}}年\d{{1,2}}月(?:\d{{1,2}}日)?)"
)
_DATE = rf"(?:{_WEEKDAY},?\s)?{_DAY}(?:(?:[T ]|,\s|\sat\s){_TIME})?|{_TIME}"
_ID = (
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|"
    r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12,64}|"
    r"(?=[\w-]*\d[\w-]*\d[\w-]*\d[\w-]*\d)(?=[\w-]*[a-z])[a-z0-9]+(?:[-_][a-z0-9]+)*|\d{9,}"
)
_NUMBER = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d+)?|\d+[.,]\d+|\d{4,}"
_FORMS: dict[Kind, str] = {"date": _DATE, "id": _ID, "number": _NUMBER}
_FOUND = re.compile(
    "|".join(rf"(?P<{kind}>(?<![\w.,:/-])(?:{form})(?![\w]|[.,:/-]\w))" for kind, form in _FORMS.items()), re.IGNORECASE
)
_MASKED = r"\[[A-Z_]{2,30}\]"
"""What stands where personal data were: a masked request fits as it did before."""
_WHOLE = {kind: re.compile(f"(?i:{form})|{_MASKED}") for kind, form in _FORMS.items()}
_LONGEST = 80


class Masked(NamedTuple):
    """A text with a mark in place of each text of a kind, and those texts in order."""

    text: str
    values: tuple[str, ...]


def masked(text: str) -> Masked:
    """A text with what varies by nature marked; as it is where it holds a mark itself."""
    if any(mark in text for mark in KINDS):
        return Masked(text, ())
    values: list[str] = []

    def mark(found: re.Match[str]) -> str:
        values.append(found[0])
        return MARKS[found.lastgroup]  # type: ignore[index]

    return Masked(_FOUND.sub(mark, text), tuple(values))


def is_of_kind(kind: str, value: str) -> bool:
    """Whether a text is of a kind, and nothing else."""
    form = _WHOLE.get(kind)  # type: ignore[call-overload]
    return form is not None and len(value) <= _LONGEST and form.fullmatch(value.strip()) is not None


def end_of_kind(kind: str, text: str, position: int, stop: int) -> int:
    """Where a text of a kind that begins at a position ends; -1 where none begins there."""
    form = _WHOLE.get(kind)  # type: ignore[call-overload]
    found = form.match(text, position, min(stop, position + _LONGEST)) if form is not None else None
    return found.end() if found is not None else -1


def parts(text: str) -> Iterator[str]:
    """A marked text in pieces: constant texts, and marks by themselves."""
    yield from (piece for piece in re.split(f"([{''.join(KINDS)}])", text) if piece)
