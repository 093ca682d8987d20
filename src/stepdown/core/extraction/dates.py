"""Dates as they stand in documents of many languages, and in the forms that answers are written in.

In digits alone the order of day and month differs from place to place. It is read off the date itself (a day above 12,
points between the numbers), else off the other dates of its text, else off its language and currency; where nothing
tells, the date is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from stepdown.core.extraction.languages import language_of
from stepdown.core.extraction.month_names import MONTHS, pattern, unaccented

_MONTH = rf"(?P<name>{pattern()})\.?"
_YEAR = r"(?P<year>\d{4}|['’]\d{2}|\d{2})"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|re|º|ª|°|\.)?"
_OF = r"(?:[ \t\-./]*(?:(?:de|del|of|of the|d['’])[ \t]+)?)"
_DIGITS = r"(?P<first>\d{1,2})(?P<mark>[./\-])[ ]?(?P<second>\d{1,2})(?P=mark)[ ]?(?P<year>\d{4}|\d{2})"
_EDGE = r"(?![\w]|[./\-]\d)"
ISO = rf"(?<![\w./\-])(?P<year>\d{{4}})[./\-](?P<month>\d{{1,2}})[./\-](?P<day>\d{{1,2}}){_EDGE}"
SIGNED = r"(?<!\d)(?P<year>\d{4})[年년][ ]?(?P<month>\d{1,2})[月월][ ]?(?P<day>\d{1,2})[日일]"
NAMED = (
    rf"(?<![\w./]){_DAY}{_OF}{_MONTH}(?:[ \t,\-./]*(?:(?:de|del|of)[ \t]+)?){_YEAR}{_EDGE}",
    rf"(?<!\w){_MONTH}[ \t\-]*(?:the[ \t]+)?{_DAY}(?:,[ \t]*|[ \t\-]+(?:of[ \t]+)?){_YEAR}{_EDGE}",
)
DIGITS = rf"(?<![\w./\-]){_DIGITS}{_EDGE}"
DATES = (ISO, SIGNED, *NAMED, DIGITS)
"""What a date looks like, the clearest forms first."""
_COMPILED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in DATES)
_IN_DIGITS = _COMPILED[-1]
_MOST_EVIDENCE = 200
_DOLLAR = re.compile(r"(?<![A-Za-z])(?:US)?\$|\bUSD\b|\b[A-Z]{2} \d{5}(?:-\d{4})?\b")
_OTHER_MONEY = re.compile(r"[€£]|\b(?:EUR|GBP|AUD|NZD|INR|VAT|GST|ABN)\b|A\$|NZ\$")
DAY_FIRST, MONTH_FIRST = "day first", "month first"


@lru_cache(64)
def shown_order(text: str) -> str:
    """The order of day and month that a text's dates in digits show, "day first" or "month first"; "" for neither."""
    found = set()
    for count, match in enumerate(_IN_DIGITS.finditer(text)):
        if count == _MOST_EVIDENCE:
            break
        first, second = int(match["first"]), int(match["second"])
        if first > 12 >= second:
            found.add(DAY_FIRST)
        elif second > 12 >= first:
            found.add(MONTH_FIRST)
    return found.pop() if len(found) == 1 else ""


@lru_cache(64)
def usual_order(text: str) -> str:
    """What the dates of a text show, else the custom of where it seems to be from; "" where that is not clear.

    Of the languages that `language_of` knows only American English puts the month first (CLDR 44, dateFormats short).
    """
    shown = shown_order(text)
    if shown:
        return shown
    language = language_of(text)
    if language and language != "en":
        return DAY_FIRST
    dollars, others = bool(_DOLLAR.search(text)), bool(_OTHER_MONEY.search(text))
    if dollars == others:
        return ""
    return MONTH_FIRST if dollars and language else DAY_FIRST if others else ""


def read_date(piece: str, order: str) -> date | None:
    """The day that a piece of text names, all of it. order: of day and month in digits, "" where it is not known."""
    piece = piece.strip()
    if len(piece) > 40:
        return None
    for compiled in _COMPILED:
        match = compiled.fullmatch(piece)
        if match:
            parts = match.groupdict()
            numbers = _in_digits(parts, order) if "first" in parts else _named(parts)
            return None if numbers is None else _day(*numbers)
    return None


def _named(parts: dict[str, str]) -> tuple[int, int, int] | None:
    if parts.get("name"):
        name = parts["name"].lower()
        month = MONTHS.get(name) or MONTHS.get(unaccented(name))
        return (_year(parts["year"]), month, int(parts["day"])) if month else None
    return int(parts["year"]), int(parts["month"]), int(parts["day"])


def _in_digits(parts: dict[str, str], order: str) -> tuple[int, int, int] | None:
    first, second, year = int(parts["first"]), int(parts["second"]), _year(parts["year"])
    if first > 12 or parts["mark"] == "." or first == second:
        return year, second, first
    if second > 12:
        return year, first, second
    if order == DAY_FIRST:
        return year, second, first
    return (year, first, second) if order == MONTH_FIRST else None


def _year(digits: str) -> int:
    """Two digits are of 1969 to 2068, as POSIX has it."""
    number = int(digits.strip("'’"))
    return number if number > 99 else number + (2000 if number < 69 else 1900)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


FORMATS: dict[str, tuple[str, str]] = {
    "ISO": ("%Y-%m-%d", r"\d{4}-\d\d-\d\d"),
    "DD.MM.YYYY": ("%d.%m.%Y", r"\d\d\.\d\d\.\d{4}"),
    "DD/MM/YYYY": ("%d/%m/%Y", r"\d\d/\d\d/\d{4}"),
    "MM/DD/YYYY": ("%m/%d/%Y", r"\d\d/\d\d/\d{4}"),
    "DD-MM-YYYY": ("%d-%m-%Y", r"\d\d-\d\d-\d{4}"),
    "YYYYMMDD": ("%Y%m%d", r"\d{8}"),
    "YYYY/MM/DD": ("%Y/%m/%d", r"\d{4}/\d\d/\d\d"),
}
"""Forms that an answer's dates may have: how they are written, and what they look like."""
ORDERS: dict[str, Callable[[str], str]] = {
    "as shown": shown_order,
    "by custom": usual_order,
    DAY_FIRST: lambda text: shown_order(text) or DAY_FIRST,
    MONTH_FIRST: lambda text: shown_order(text) or MONTH_FIRST,
}
"""How the order of day and month is told, the most careful way first."""


def date_as(form: str, day: date) -> str:
    """A day in one of the FORMATS; years before 1000 have four digits too."""
    pattern = FORMATS[form][0]
    return pattern.replace("%Y", f"{day.year:04d}").replace("%m", f"{day.month:02d}").replace("%d", f"{day.day:02d}")


def date_of(form: str, value: str) -> date | None:
    """`date_as`, backwards."""
    pattern, looks = FORMATS[form]
    if not re.fullmatch(looks, value, re.ASCII):
        return None
    digits = re.findall(r"\d+", value) if "Y%m" not in pattern else [value[:4], value[4:6], value[6:]]
    numbers = dict(zip(re.findall(r"%(.)", pattern), map(int, digits), strict=True))
    return _day(numbers["Y"], numbers["m"], numbers["d"])
