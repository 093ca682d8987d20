"""Cutting the text of one message by the parts of its template: constants are searched for, slots lie between.

A text whose white space differs from the template's is cut too: any run of spaces or line breaks equals any other. The
value of a slot is always the text as it came.

Dates, times, ids and long numbers vary by nature, and are slots of a template although a sample may have only one of
them: a prompt that says "Today is 2026-11-30" names another day tomorrow. They are found by their form; such a slot
takes any text of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

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


if TYPE_CHECKING:
    from stepdown.core.tasks import Part

SPACE = "_"
"""A slot whose name begins so is no input: `_space` holds white space that may be there or not; `_date`, `_id` and
`_number` hold texts of that kind."""
SPACES = f"{SPACE}space"
_MOST_TRIES = 1_000
_RUN = re.compile(r"\s+")

Spans = dict[str, tuple[int, int]]


def cut_text(parts: Sequence[Part], text: str) -> dict[str, str] | None:
    """The value of every slot of one message's text, in order; None when the text does not fit the parts.

    White space round the text counts only where a slot, or a constant that has some, stands at that end.
    """
    if not parts:
        return {} if not text.strip() else None
    spans = _cut(parts, [part.text for part in parts], text)
    if spans is None and _begins_alike(parts, text):
        spans = _cut_loosely(parts, text)
    return None if spans is None else {slot: text[start:end] for slot, (start, end) in spans.items()}


def kind_of(slot: str) -> str:
    """What a slot that is no input holds: "space", "date", "id" or "number"; "" for an input."""
    return slot[1:].split("_", 1)[0] if slot.startswith(SPACE) else ""


def holds(slot: str, value: str) -> bool:
    """Whether a slot may hold a value: an input any, white space no letter, the others texts of their kind."""
    kind = kind_of(slot)
    if kind in ("", "space"):
        return not kind or not value.strip()
    return is_of_kind(kind, value)


def _cut(parts: Sequence[Part], texts: Sequence[str], text: str) -> Spans | None:
    """texts: the constants, by part; "" for a slot."""
    first, last = texts[0], texts[-1]
    position = len(text) - len(text.lstrip()) if first and not first[0].isspace() else 0
    stop = max(position, len(text.rstrip()) if last and not last[-1].isspace() else len(text))
    # The last constant is anchored at the end, so that an input that repeats it is still cut whole.
    if last and not text.endswith(last, position, stop):
        return None
    spans: Spans = {}
    pending, place = "", 0
    while place < len(parts):
        if _is_free(parts[place]):
            pending = parts[place].slot
            place += 1
            continue
        end = place
        while end < len(parts) and not _is_free(parts[end]):
            end += 1
        run = _Run([(part.slot, constant) for part, constant in zip(parts[place:end], texts[place:end], strict=True)])
        is_last = end == len(parts)
        found = run.ending(text, position, stop) if is_last and pending else run.found(text, position, stop, pending)
        if found is None:
            return None
        if pending:
            spans[pending] = (position, found.start)
        spans.update(found.inside)
        pending, position, place = "", found.end, end
    if pending:
        spans[pending] = (position, stop)
    elif position != stop:
        return None
    return spans


def _is_free(part: Part) -> bool:
    """Whether a slot holds whatever stands between its constants."""
    return bool(part.slot) and kind_of(part.slot) in ("", "space")


class _Found(NamedTuple):
    start: int
    end: int
    inside: Spans


class _Run:
    """Constants with slots of a kind between them, which stand together in a text."""

    def __init__(self, pieces: list[tuple[str, str]]) -> None:
        """pieces: (slot, "") or ("", constant)."""
        self._pieces = pieces
        self._begins = pieces[0][1]
        self._length = len(pieces)

    def found(self, text: str, position: int, stop: int, pending: str) -> _Found | None:
        """The first place from a position on; only that very position where no slot is pending before it."""
        if not pending:
            return self._at(text, position, stop)
        at = text.find(self._begins, position, stop)
        for _ in range(_MOST_TRIES):
            if at < 0 or (found := self._at(text, at, stop)) is not None:
                return found if at >= 0 else None
            at = text.find(self._begins, at + 1, stop)
        return None

    def ending(self, text: str, position: int, stop: int) -> _Found | None:
        """The last place, if it ends where the text does."""
        at = stop
        for _ in range(_MOST_TRIES):
            at = text.rfind(self._begins, position, at + len(self._begins) - 1 if at < stop else stop)
            if at < 0:
                return None
            found = self._at(text, at, stop)
            if found is not None and found.end == stop:
                return found
            if self._length == 1:
                return None
        return None

    def _at(self, text: str, at: int, stop: int) -> _Found | None:
        inside: Spans = {}
        position = at
        for slot, constant in self._pieces:
            if slot:
                end = end_of_kind(kind_of(slot), text, position, stop)
                if end < 0:
                    return None
                inside[slot] = (position, end)
                position = end
            elif text.startswith(constant, position, stop):
                position += len(constant)
            else:
                return None
        return _Found(at, position, inside)


def _begins_alike(parts: Sequence[Part], text: str) -> bool:
    """Whether a text begins, or ends, with the word that its template does: most that do not fit at all do not."""
    first, last = parts[0].text.split(None, 1), parts[-1].text.rsplit(None, 1)
    if first:
        return text.lstrip().startswith(first[0])
    return bool(last) and text.rstrip().endswith(last[-1])


def _cut_loosely(parts: Sequence[Part], text: str) -> Spans | None:
    """With every run of white space, in text and constants, read as one blank."""
    starts: list[int] = []
    pieces: list[str] = []
    position = 0
    for run in _RUN.finditer(text):
        pieces += [text[position : run.start()], " "]
        starts += [*range(position, run.start()), run.start()]
        position = run.end()
    pieces.append(text[position:])
    starts += range(position, len(text) + 1)
    constants = [_RUN.sub(" ", part.text) for part in parts]
    spans = _cut(parts, constants, "".join(pieces))
    return None if spans is None else {slot: (starts[start], starts[end]) for slot, (start, end) in spans.items()}
