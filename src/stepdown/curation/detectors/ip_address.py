"""IPv4 and IPv6 addresses; loopback and unspecified ones, and version numbers, are nobody's."""

from __future__ import annotations

import ipaddress
import re

PLACEHOLDER = "IP"
RANK = 1
TRIGGER = "0123456789"
PATTERN = re.compile(r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\d)")
_VERSION = re.compile(r"(?:\bv|version|release|section|firmware)\W{0,2}$", re.IGNORECASE)


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    text = match[0]
    if ":" in text and sum(bool(part) for part in text.split(":")) < 3:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    before = match.string[max(0, match.start() - 12) : match.start()]
    return None if address.is_loopback or address.is_unspecified or _VERSION.search(before) else match.span()


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("login from 203.0.113.7, then 2001:db8::8a2e:370:7334", ["203.0.113.7", "2001:db8::8a2e:370:7334"]),
        ("version 10.2.3.4 on 127.0.0.1", []),
        ("at 12:30:45 the std::vector of 1.2.3", []),
        ("999.1.1.1", []),
    ]
