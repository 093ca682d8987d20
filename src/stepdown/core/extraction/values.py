"""How a piece of text becomes a field's value: the incumbent's normalisation, one named rule a field.

A rule reads both ways: `value_of` gives the value of a piece, `places` the pieces of a text that mean a value. The
second only proposes; what it finds is proved by the first, so that what is taught is what will be answered.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stepdown.core.extraction import amounts, dates, numerals
from stepdown.core.extraction.answers import same
from stepdown.core.extraction.graphemes import is_boundary, is_word_edge

MAX_PLACES = 64
"""Of one value in one text: more are of no use."""
_PUNCTUATION = " \t\r\n.,;:!?\"'`()[]{}<>«»“”‘’„…¡¿*_~|/\\-–—"


@dataclass(frozen=True)
class Normaliser:
    """A rule. of: the value of a piece, None where the rule does not read it.

    patterns: what pieces look like, where that does not depend on the value; () where the value's own letters are
    looked for. gives: what the values look like, then. within: the value of a piece that stands in a text, where the
    text tells what the piece alone does not ("03/04/25", "1.234"); `of` is then of the piece alone.
    """

    name: str
    of: Callable[[str], Any]
    patterns: tuple[str, ...] = ()
    gives: str = ""
    within: Callable[[str, str], Any] | None = None

    def read(self, piece: str, text: str) -> Any:
        """The value of a piece of a text, None where the rule does not read it."""
        return self.of(piece) if self.within is None else self.within(piece, text)

    def may_give(self, text: str) -> bool:
        """Whether a value, as text, can come of the rule at all."""
        return bool(re.fullmatch(self.gives, text)) if self.patterns else self.of(text) == text


_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
_DATE = r"\d{4}-\d\d-\d\d"


def _code(piece: str) -> str:
    return re.sub(r"[\s\-_./]+", "", piece).upper()


def _title(piece: str) -> str:
    return " ".join(word[:1].upper() + word[1:].lower() for word in piece.split())


def _amount(name: str, write: Callable[[amounts.Number], Any], patterns: tuple[str, ...], gives: str) -> Normaliser:
    def within(piece: str, text: str) -> Any:
        number = amounts.amount(piece, text)
        return None if number is None else write(number)

    return Normaliser(name, lambda piece: within(piece, piece), patterns, gives, within)


def _dated(order: str, form: str) -> Normaliser:
    order_of = dates.ORDERS[order]

    def within(piece: str, text: str) -> str | None:
        day = dates.read_date(piece, order_of(text))
        return None if day is None else dates.date_as(form, day)

    gives = dates.FORMATS[form][1]
    return Normaliser(date_rule(order, form), lambda piece: within(piece, ""), dates.DATES, gives, within)


def date_rule(order: str, form: str) -> str:
    """The name of the rule that reads dates in one of `dates.ORDERS` and writes them in one of `dates.FORMATS`."""
    return f"date in any language, {order}, as {form}"


def date_form(rule: str) -> str | None:
    """The form in which a rule writes dates; None for a rule that reads none."""
    if rule.startswith("date in any language, "):
        return rule.rpartition(", as ")[2]
    return "ISO" if rule in ("date, month first", "date, day first") else None


NORMALISERS: dict[str, Normaliser] = {
    rule.name: rule
    for rule in (
        Normaliser("as written", str.strip),
        Normaliser("trimmed punctuation", lambda piece: piece.strip(_PUNCTUATION)),
        Normaliser("single spaces", lambda piece: " ".join(piece.split())),
        Normaliser("lower", lambda piece: " ".join(piece.split()).lower()),
        Normaliser("upper", lambda piece: " ".join(piece.split()).upper()),
        Normaliser("title", _title),
        Normaliser("code", _code),
        Normaliser("integer", numerals.whole, (numerals.ORDINAL, numerals.DIGITS, numerals.WORDS), _NUMBER),
        Normaliser("number", numerals.decimal, (numerals.SCALED, numerals.DECIMAL, numerals.WORDS), _NUMBER),
        Normaliser("money", numerals.money, (numerals.MONEY,), _NUMBER),
        Normaliser("date, month first", numerals.month_first, numerals.MONTH_FIRST, _DATE),
        Normaliser("date, day first", numerals.day_first, numerals.DAY_FIRST, _DATE),
        Normaliser("time", numerals.time_of_day, numerals.TIME, r"\d\d:\d\d"),
        _amount("amount", amounts.as_number, (amounts.AMOUNT,), _NUMBER),
        _amount("amount, two decimals", amounts.with_two_decimals, (amounts.AMOUNT,), r"-?\d+\.\d\d"),
        _amount("amount, 1,234.56", amounts.in_english, (amounts.AMOUNT,), r"-?\d{1,3}(?:,\d{3})*\.\d\d"),
        _amount("amount, 1.234,56", amounts.in_german, (amounts.AMOUNT,), r"-?\d{1,3}(?:\.\d{3})*,\d\d"),
        _amount("amount, minor units", amounts.as_minor_units, (amounts.AMOUNT,), r"-?\d+"),
        _amount("percentage", amounts.as_number, (amounts.PERCENT,), _NUMBER),
        _amount("percentage as a share", amounts.as_share, (amounts.PERCENT,), _NUMBER),
        Normaliser("currency", amounts.currency, amounts.CURRENCY, r"[A-Z]{3}"),
        *(_dated(order, form) for form in dates.FORMATS for order in dates.ORDERS),
    )
}
"""Every rule by name, the plainest first: of rules that do equally well, the first is taken."""


def value_of(name: str, piece: str, types: tuple[str, ...] = ("string",), text: str = "") -> Any:
    """The value that a piece of text has under the rule `name`, of one of the JSON `types`; None where it has none.

    Where the rule looks for a form of its own (a number, a date) there may be words round it. text: all of the text
    that the piece stands in, which may tell what the piece alone does not.
    """
    rule = NORMALISERS[name]
    text = text or piece
    value = rule.read(piece, text)
    if value is None and rule.patterns:
        matches = dict(_matches(rule, piece))
        if len(matches) == 1:
            ((start, end),) = matches.items()
            value = rule.read(piece[start:end], text)
    return None if value is None or value == "" else cast(value, types)


def cast(value: Any, types: tuple[str, ...]) -> Any:
    """A text or number as the first of the JSON types that can hold it; None where none can."""
    if isinstance(value, str):
        return value if "string" in types else _as_number(value, types)
    if "integer" in types and isinstance(value, int):
        return value
    if "number" in types:
        return value
    return str(value) if "string" in types else None


def _as_number(value: str, types: tuple[str, ...]) -> float | int | None:
    if len(value) > 18 or not re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
        return None
    number = numerals.tidy(float(value)) if "." in value else int(value)
    return number if "number" in types or ("integer" in types and isinstance(number, int)) else None


def places(name: str, text: str, value: Any, types: tuple[str, ...] = ("string",)) -> list[tuple[int, int]]:
    """Where a value stands in a text under a rule: (start, end) in characters, whole words first, then from the left.

    No place begins or ends inside a grapheme.
    """
    rule = NORMALISERS[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not rule.may_give(str(value)):
        return []
    if rule.patterns:
        read = [(start, end, each) for start, end, each in _kept(name, text) if each is not None]
        spans = [(start, end) for start, end, each in read if same(cast(each, types), value)][:MAX_PLACES]
    else:
        spans = []
        for start, end in _spelled(name, text, value):
            whole = is_boundary(text, start) and is_boundary(text, end)
            if whole and same(value_of(name, text[start:end], types, text), value):
                spans.append((start, end))
                if len(spans) == MAX_PLACES:
                    break
    return sorted(set(spans), key=lambda place: (_inside_words(text, place), place))


def pieces(name: str, text: str, most: int | None = None) -> tuple[tuple[int, int, Any], ...]:
    """All that looks as the pieces of a rule with a form of its own (a number, a date) do: start, end, and the value,
    of no type yet; None where the text leaves it unclear. most: no more than so many, from the left."""
    rule = NORMALISERS[name]
    spans = [match_ for match_ in _matches(rule, text)[:most] if all(is_boundary(text, edge) for edge in match_)]
    return tuple((start, end, rule.read(text[start:end], text)) for start, end in spans)


@functools.lru_cache(4096)
def _kept(name: str, text: str) -> tuple[tuple[int, int, Any], ...]:
    """For learning, where a text is looked at again and again; what serves keeps no texts."""
    return pieces(name, text)


def readings(name: str, text: str, types: tuple[str, ...] = ("string",)) -> Iterator[Any]:
    """Every value that a rule with a form of its own (a number, a date, a currency) reads in a text, from the left."""
    for _, _, read in pieces(name, text):
        value = None if read is None else cast(read, types)
        if value is not None:
            yield value


def _inside_words(text: str, place: tuple[int, int]) -> int:
    return sum(not is_word_edge(text, edge) for edge in place)


def _matches(rule: Normaliser, text: str) -> list[tuple[int, int]]:
    """What looks as the rule's pieces do, without overlaps: an earlier pattern's claim stands."""
    claimed: list[tuple[int, int]] = []
    for pattern in rule.patterns:
        earlier = tuple(claimed)
        for match in _compiled(pattern).finditer(text):
            start, end = match.span()
            if not earlier or all(end <= left or right <= start for left, right in earlier):
                claimed.append((start, end))
    return sorted(claimed)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _spelled(name: str, text: str, value: Any) -> Iterator[tuple[int, int]]:
    """Where a value's own letters stand, in any case and with any white space for a space."""
    sought = str(value)
    if not sought:
        return
    if name in ("as written", "trimmed punctuation"):
        yield from _finds(text, sought)
    elif name == "code":
        spaced = r"[\s\-_./]*".join(map(re.escape, sought)) if len(sought) <= 64 else re.escape(sought)
        yield from (match.span() for match in re.finditer(spaced, text, re.IGNORECASE))
    elif "  " in text or not text.isprintable():
        pattern = r"\s+".join(map(re.escape, sought.split()))
        yield from (match.span() for match in re.finditer(pattern, text, re.IGNORECASE))
    else:
        yield from _finds(folded(text), folded(sought))


def _finds(text: str, sought: str) -> Iterator[tuple[int, int]]:
    at = text.find(sought)
    while at >= 0:
        yield at, at + len(sought)
        at = text.find(sought, at + 1)


@functools.lru_cache(4096)
def folded(text: str) -> str:
    """Lower case, letter for letter: what would become longer stays, so that places are the same."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
