"""Figures, dates and foreign text as words: what every page that speaks of a certificate writes alike."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_MINUS = "\N{MINUS SIGN}"
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: object) -> str:
    """Text on one line without control characters, and without those that turn the direction of what follows."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def count(value: int) -> str:
    """A whole number with thousands separated."""
    return f"{value:,}".replace("-", _MINUS)


def percent(value: float) -> str:
    """A share in percent with at most two decimals; more where a confidence would else round to the whole."""
    if not math.isfinite(value) or abs(value) > 1e6:
        return "an unknown share"
    digits = next((digits for digits in (2, 5) if round(100 * value, digits) not in (0.0, 100.0)), 2)
    return f"{_plain(100 * value, digits)} %"


def share(value: float) -> str:
    """A share in percent with one decimal; neither all nor none unless it is."""
    if not math.isfinite(value) or abs(value) > 1e6:
        return "an unknown share"
    shown = min(max(value, 0.001), 0.999) if 0.0 < value < 1.0 else value
    return "100 %" if shown == 1.0 else f"{100 * shown:.1f} %"


def day(seconds: float) -> str:
    """Seconds since the epoch as "20 November 2026" in UTC; "" for 0 and for what no calendar holds."""
    when = _calendar(seconds)
    return f"{when.day} {when:%B %Y}" if when else ""


def moment(seconds: float) -> str:
    """The same with the time: "20 November 2026, 18:30 UTC"; "an unknown date" where there is none."""
    when = _calendar(seconds)
    return f"{when.day} {when:%B %Y, %H:%M} UTC" if when else "an unknown date"


def _calendar(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None


def signed(value: float) -> str:
    """A difference with its sign, to four significant digits."""
    if not math.isfinite(value) or abs(value) > 1e6:
        return "an unknown amount"
    return f"{value:+.4g}".replace("-", _MINUS)


def usd(value: float) -> str:
    """US dollars to four significant digits."""
    return f"${value:,.4g}" if abs(value) < 1e12 else "an unknown amount"


def _plain(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".").replace("-", _MINUS)
