"""Addresses with a user name and password in them."""

from __future__ import annotations

import re

PLACEHOLDER = "URL_WITH_CREDENTIALS"
RANK = 0
TRIGGER = "@"
PATTERN = re.compile(r"(?<!\w)[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,128}:[^\s/@]{1,256}@[^\s<>\"')\]]{1,512}")


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    return match.start(), match.start() + len(match[0].rstrip(".,;!?"))


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("use postgres://bank:s3cret@db.example:5432/main.", ["postgres://bank:s3cret@db.example:5432/main"]),
        ("see https://example.com/a@b", []),
    ]
