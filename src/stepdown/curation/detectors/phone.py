"""Telephone numbers: international, North American, and with a trunk 0 where the grouping or a label says so."""

from __future__ import annotations

import re

PLACEHOLDER = "PHONE"
RANK = 2
TRIGGER = "0123456789"
_LABEL = r"(?:phone|mobile|cell|tel|telephone|call|text|whatsapp|number is|fax|handy|telefon|téléphone|teléfono)"
PATTERN = re.compile(
    r"(?<![\w.,/#-])(?:"
    r"(?:\+|00)[1-9](?:[ .\-/()]{0,2}\d){7,13}"
    r"|(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}"
    r"|\(?0[1-9]\d{0,4}\)?(?:[ /-]\d{2,8}){1,5}"
    rf"|(?:(?i:\b{_LABEL})\b[^\w+(]{{1,4}}(?:me |us |on |at |is |no\.? )?)(?P<labelled>\(?0?\d(?:[ .-]?\d){{6,12}})"
    r")(?![\w%]|[.,-]\d)"
)


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    start, end = match.span("labelled") if match["labelled"] else match.span()
    digits = sum(character.isdigit() for character in match.string[start:end])
    return (start, end) if (7 if match["labelled"] else 9) <= digits <= 15 else None


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("ring +44 20 7946 0958 after six", ["+44 20 7946 0958"]),
        ("(212) 555-0143 or 212-555-0143", ["(212) 555-0143", "212-555-0143"]),
        ("call me on 07700 900123", ["07700 900123"]),
        ("mein Handy: 0151 23456789", ["0151 23456789"]),
        ("my phone is 5550143", ["5550143"]),
        ("I paid 1,250.00 on 2024-01-05 at 10:15", []),
        ("order 20240105123456 has 3 items", []),
        ("pi is 3.14159265358979", []),
        ("01/02/2024 or 01-02-2024", []),
    ]
