"""Street addresses in the usual English and German forms, and full British postcodes. Cheap, so far from complete."""

from __future__ import annotations

import re

PLACEHOLDER = "ADDRESS"
RANK = 2
TRIGGER = "0123456789"
_STREET = (
    r"(?:Street|St\.?|Avenue|Ave\.?|Road|Rd\.?|Lane|Ln\.?|Drive|Dr\.?|Boulevard|Blvd\.?|Court|Ct\.?|Square|Terrace|Way"
    r"|Close|Crescent|Parkway|Pkwy\.?|Highway)"
)
PATTERN = re.compile(
    rf"(?<![\w.,-])\d{{1,5}}[A-Za-z]? (?:[A-Z][A-Za-z'’]{{1,20}}\.? ){{1,4}}{_STREET}(?!\w)"
    r"(?:,? (?i:apt|apartment|suite|unit|flat)\.? ?#?\w{1,5})?"
    r"|(?<!\w)[A-ZÄÖÜ][\wäöüß-]{2,30}(?:straße|strasse|str\.|weg|platz|allee|gasse) \d{1,4} ?[a-z]?(?!\w)"
    r"|(?<!\w)(?:GIR ?0AA|[A-PR-UWYZ][A-HK-Y]?\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2})(?!\w)"
)


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    return match.start(), match.start() + len(match[0].rstrip())


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("send it to 221B Baker Street, Apt 4", ["221B Baker Street, Apt 4"]),
        ("I live at 10 Downing Street, SW1A 2AA", ["10 Downing Street", "SW1A 2AA"]),
        ("Hauptstraße 12a in Berlin", ["Hauptstraße 12a"]),
        ("I waited 3 days on the street", []),
        ("2 Way authentication", []),
    ]
