"""Dates and times of day as people write them, where they say all that the value needs."""

from __future__ import annotations

import re
from datetime import date

_MONTHS = "january february march april may june july august september october november december"
_BY_NAME = {name: number for number, name in enumerate(_MONTHS.split(), 1)}
_BY_NAME |= {name[:3]: number for name, number in _BY_NAME.items()} | {"sept": 9}
_NAME = rf"(?P<name>{'|'.join(sorted(_BY_NAME, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"

_ISO = r"(?<!\d)(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?!\d)"
_NAMED = (
    rf"(?<!\w){_NAME}[ \t]+(?:the[ \t]+)?{_DAY}(?:,[ \t]*|[ \t]+(?:of[ \t]+)?){_YEAR}(?!\d)",
    rf"(?<!\w){_DAY}[ \t]+(?:of[ \t]+)?{_NAME}(?:,[ \t]*|[ \t]+){_YEAR}(?!\d)",
)
_MONTH_FIRST = r"(?<!\d)(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[-/.](?P<year>\d{4})(?!\d)"
_DAY_FIRST = r"(?<!\d)(?P<day>\d{1,2})[-/.](?P<month>\d{1,2})[-/.](?P<year>\d{4})(?!\d)"

MONTH_FIRST = (_ISO, *_NAMED, _MONTH_FIRST)
DAY_FIRST = (_ISO, *_NAMED, _DAY_FIRST)
_HALF = r"(?P<half>[ap])[ \t]?\.?[ \t]?m\b\.?"
TIME = (
    rf"(?<![\d:])(?P<hour>\d{{1,2}})(?:[:.](?P<minute>\d{{2}}))?[ \t]*{_HALF}",
    r"(?<![\d:.])(?P<hour>\d{1,2}):(?P<minute>\d{2})(?![\d:])",
    r"(?<!\w)(?P<word>noon|midday|midnight)(?!\w)",
)
_WORDS = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}


def month_first(text: str) -> str | None:
    """A date with its year as "2024-05-31": ISO, with the month's name, or in digits with the month before the day."""
    return _date(MONTH_FIRST, text)


def day_first(text: str) -> str | None:
    """As `month_first`, but in digits the day stands before the month."""
    return _date(DAY_FIRST, text)


def _date(patterns: tuple[str, ...], text: str) -> str | None:
    for pattern in patterns:
        match = re.fullmatch(pattern, text.strip(), re.IGNORECASE)
        if match:
            parts = match.groupdict()
            month = int(parts["month"]) if "month" in parts else _BY_NAME[parts["name"].lower()]
            try:
                return date(int(parts["year"]), month, int(parts["day"])).isoformat()
            except ValueError:
                continue
    return None


def time_of_day(text: str) -> str | None:
    """ "7 pm", "7:30 p.m.", "19:00", "noon" as "19:00": hours and minutes of the day."""
    for pattern in TIME:
        match = re.fullmatch(pattern, text.strip(), re.IGNORECASE)
        if match:
            parts = match.groupdict()
            if "word" in parts:
                return _WORDS[parts["word"].lower()]
            return _clock(int(parts["hour"]), int(parts["minute"] or 0), (parts.get("half") or "").lower())
    return None


def _clock(hour: int, minute: int, half: str) -> str | None:
    if minute > 59 or hour > 23 or (half and not 1 <= hour <= 12):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return f"{hour:02d}:{minute:02d}"
