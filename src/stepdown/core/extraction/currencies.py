"""Currencies by their ISO 4217 codes, signs and names."""

from __future__ import annotations

import re

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
