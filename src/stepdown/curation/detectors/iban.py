"""International bank account numbers, checked by country length and mod 97 (ISO 13616)."""

from __future__ import annotations

import re

from stdnum import iban

PLACEHOLDER = "IBAN"
RANK = 0
TRIGGER = "0123456789"
PATTERN = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    """The text may run on after the number, so shorter pieces are tried, ending where a word ends."""
    text = match[0]
    ends = [len(text), *(gap.start() for gap in reversed(list(re.finditer(r"[ -]", text))))]
    for end in ends:
        if iban.is_valid(text[:end], check_country=False):
            return match.start(), match.start() + end
    return None


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("send it to GB82 WEST 1234 5698 7654 32 today", ["GB82 WEST 1234 5698 7654 32"]),
        ("IBAN:DE89370400440532013000.", ["DE89370400440532013000"]),
        ("GB82 WEST 1234 5698 7654 33", []),
        ("ab12 cdef ghij klmn", []),
    ]
