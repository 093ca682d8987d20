"""E-mail addresses."""

from __future__ import annotations

import re

PLACEHOLDER = "EMAIL"
RANK = 1
TRIGGER = "@"
PATTERN = re.compile(r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    local = match[0].split("@", 1)[0].lstrip("'`*")
    return (match.end() - len(match[0].split("@", 1)[1]) - 1 - len(local), match.end()) if local else None


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("write to ana.maria+bank@mail.example.co.uk, please", ["ana.maria+bank@mail.example.co.uk"]),
        ("my address is 'jo@example.com'", ["jo@example.com"]),
        ("Grüße an müller@bücher.example.de.", ["müller@bücher.example.de"]),
        ("meet @ noon, or tweet @example", []),
        ("user@localhost", []),
    ]
