"""Amounts and currencies as any locale writes them.

Thousands stand between points, commas, spaces or apostrophes, with either decimal mark: "1.234" is 1234 in German and
1.234 in English. Such an amount is read by the other amounts of its text; where they do not decide, it is not read.
Currencies are read by their ISO 4217 codes, signs and names.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_CODES = "AED AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EUR GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR NOK NZD PEN"
_MORE = "PHP PLN RON RUB SEK SGD THB TRY TWD UAH USD VND ZAR"
CODES = tuple(f"{_CODES} {_MORE}".split())
_SIGNS = {
    "€": "EUR",
    "£": "GBP",
    "US$": "USD",
    "U$S": "USD",
    "C$": "CAD",
    "CA$": "CAD",
    "A$": "AUD",
    "AU$": "AUD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
    "R$": "BRL",
    "MX$": "MXN",
    "$": "USD",
    "₹": "INR",
    "₽": "RUB",
    "₺": "TRY",
    "₩": "KRW",
    "₪": "ILS",
    "₴": "UAH",
    "₫": "VND",
    "zł": "PLN",
    "Kč": "CZK",
    "Ft": "HUF",
    "Fr.": "CHF",
    "SFr.": "CHF",
}
_NAMES = {
    "euro": "EUR",
    "euros": "EUR",
    "dollar": "USD",
    "dollars": "USD",
    "dólares": "USD",
    "pound": "GBP",
    "pounds": "GBP",
    "franken": "CHF",
    "reais": "BRL",
    "real": "BRL",
    "zloty": "PLN",
    "yen": "JPY",
}
_BY_WRITING = {code.lower(): code for code in CODES} | {sign.lower(): code for sign, code in _SIGNS.items()} | _NAMES
_SIGN = "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True) if not sign.isalpha())
_LETTERS = "|".join((*CODES, *(sign for sign in _SIGNS if sign.isalpha())))
CURRENCY = (rf"(?:{_SIGN})|(?<![^\W\d_])(?:{_LETTERS})(?![^\W\d_])", rf"(?<!\w)(?:{'|'.join(_NAMES)})(?!\w)")
"""Signs and codes first; names where a sign or a code does not stand."""


def currency(piece: str) -> str | None:
    """The ISO code of a sign, a code or a name; a bare "$" is the US dollar."""
    return _BY_WRITING.get(piece.strip().lower())


_GAP = " '’\u00a0\u202f\u2009"
_THOUSANDS = rf"\d{{1,3}}(?:[{_GAP}]\d{{3}})+(?:[.,]\d{{1,3}})?"
_POINTS = r"\d{1,3}(?:\.\d{3})+(?:,\d{1,3})?"
_COMMAS = r"\d{1,3}(?:,\d{2,3})*(?:,\d{3})(?:\.\d{1,3})?"
_PLAIN = r"\d{1,15}(?:[.,]\d{1,4})?"
_BEFORE = rf"(?:(?<![\w.,/:#])|(?<=\b(?:{'|'.join(CODES)}))|(?<=\bR\$))(?:(?<![\w\-−])[\-−(])?(?<!\w[\-−])"
_AFTER = rf"(?:(?<=[\d])-(?![\w\-]))?(?!\d|[.,:/\-−]\d)(?!(?!(?:{'|'.join(CODES)})\b)[^\W\d_])"
AMOUNT = rf"{_BEFORE}(?:{_THOUSANDS}|{_POINTS}|{_COMMAS}|{_PLAIN}){_AFTER}"
"""No part of a date, a time or an identifier: neither letters nor further digits touch it."""
PERCENT = r"(?<![\w.,/:])\d{1,3}(?:[.,]\d{1,4})?(?=[ \u00a0\u202f]?(?:%|percent\b|Prozent\b))"
_LONGEST = 40
_EVIDENCE = re.compile(AMOUNT, re.IGNORECASE)
_MOST_EVIDENCE = 400
Number = Decimal


@lru_cache(64)
def decimal_mark(text: str) -> str:
    """The decimal mark of a text's amounts, "." or ","; "" where they do not tell, or contradict one another."""
    marks: set[str] = set()
    for count, match in enumerate(_EVIDENCE.finditer(text)):
        if count == _MOST_EVIDENCE:
            break
        marks.add(_own_mark(match.group()))
    marks.discard("")
    return marks.pop() if len(marks) == 1 else ""


def _own_mark(piece: str) -> str:
    """The decimal mark that an amount shows by itself, "" where it shows none."""
    body = _body(piece)
    points, commas = body.count("."), body.count(",")
    if points and commas:
        return "." if body.rindex(".") > body.rindex(",") else ","
    mark = "." if points else ","
    if points + commas > 1:
        return "," if points else "."
    if points + commas == 1:
        whole, _, part = body.partition(mark)
        gaps = any(gap in whole for gap in _GAP)
        # Three digits after a single mark may be thousands; nought, or grouped digits, before it say that they are not.
        if len(part) != 3 or len(whole) > 3 or whole == "0" or gaps:
            return mark
    return ""


def _body(piece: str) -> str:
    return piece.strip().strip("()-−")


def amount(piece: str, text: str = "") -> Number | None:
    """The number that a piece writes. text: what it stands in, whose other amounts tell thousands from decimals.

    None where it is no amount, or where nothing tells.
    """
    piece = piece.strip()
    if len(piece) > _LONGEST or not _whole(piece):
        return None
    body = _body(piece)
    mark = _own_mark(piece)
    if not mark and ("." in body or "," in body):
        mark = decimal_mark(text)
        if not mark:
            return None
    digits = re.sub(rf"[{_GAP}]", "", body)
    if mark:
        digits = digits.replace("," if mark == "." else ".", "")
        if digits.count(mark) > 1:
            return None
        digits = digits.replace(mark, ".")
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return None
    return -number if piece[0] in "-−(" or piece[-1] in "-−" else number


_PIECE = re.compile(rf"[\-−(]?(?:{_THOUSANDS}|{_POINTS}|{_COMMAS}|{_PLAIN})[)\-−]?")


def _whole(piece: str) -> bool:
    return _PIECE.fullmatch(piece) is not None


def as_number(value: Number) -> float | int:
    """A decimal as JSON has it: whole numbers without a point."""
    return int(value) if value == value.to_integral_value() else float(value)


def as_minor_units(value: Number) -> int | None:
    """Cents for euros; None where there is less than a cent."""
    cents = value * 100
    return int(cents) if cents == cents.to_integral_value() else None


def as_share(value: Number) -> float | int:
    """A percentage as a share of one."""
    return as_number(value / 100)


def with_two_decimals(value: Number) -> str | None:
    """ "1234.50"; None where that would round."""
    return _exactly(value, "", ".")


def in_english(value: Number) -> str | None:
    """ "1,234.50"; None where that would round."""
    return _exactly(value, ",", ".")


def in_german(value: Number) -> str | None:
    """ "1.234,50"; None where that would round."""
    return _exactly(value, ".", ",")


def _exactly(value: Number, thousands: str, mark: str) -> str | None:
    return written(value, thousands, mark) if value == round(value, 2) else None


def written(value: Number, thousands: str, mark: str, decimals: int = 2) -> str:
    """An amount as a locale writes it: `amount` reads it back. thousands: what stands between groups of three."""
    sign, digits = ("-" if value < 0 else ""), f"{abs(value):,.{decimals}f}"
    whole, _, part = digits.partition(".")
    return sign + whole.replace(",", thousands) + (mark + part if part else "")
