"""Payment card numbers: 13 to 19 digits with an issuer's prefix that pass the Luhn check (ISO/IEC 7812-1)."""

from __future__ import annotations

import re

from stdnum import luhn

PLACEHOLDER = "CARD"
RANK = 0
TRIGGER = "0123456789"
PATTERN = re.compile(r"(?<![\w.,-])(?:[3-6]\d|2[2-7])(?:[ -]?\d){11,17}(?![\w-]|[.,]\d)")


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    digits = re.sub(r"\D", "", match[0])
    return match.span() if len(set(digits)) > 1 and luhn.is_valid(digits) else None


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("my card 4111 1111 1111 1111 was declined", ["4111 1111 1111 1111"]),
        ("amex 378282246310005.", ["378282246310005"]),
        ("5555-5555-5555-4444", ["5555-5555-5555-4444"]),
        ("reference 4111 1111 1111 1112", []),
        ("4444444444444444", []),
    ]
