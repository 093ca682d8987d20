"""Numbers, amounts of money, dates and times of day as English writes them, in digits and in words.

Dates and times are read only where they give all that the value needs.
"""

from __future__ import annotations

import re
from datetime import date

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_UNITS.split())} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), 2)
}
_SCALES = {"hundred": 100, "thousand": 1000}

_WORD = rf"(?:{'|'.join([*_SMALL, *_SCALES])})"
WORDS = rf"(?<!\w){_WORD}(?:(?:[ \t]+and[ \t]+|[ \t]*-[ \t]*|[ \t]+){_WORD}){{0,8}}(?!\w)"
"""A number in words, no more than nine of them."""
_GROUPED = r"\d{1,3}(?:,\d{3})+|\d+"
DIGITS = rf"(?<![\w.,])(?:(?<!\d)[-−])?(?:{_GROUPED})(?![\w]|[.,]\d)"
DECIMAL = rf"(?<![\w.,])[-−]?(?:(?:{_GROUPED})(?:\.\d+)?|\.\d+)(?![\w]|[.,]\d)"
ORDINAL = r"(?<![\w.,])\d{1,3}(?:,\d{3})*(?:st|nd|rd|th)(?!\w)"
SCALED = rf"(?<![\w.,])[-−]?(?:{_GROUPED})(?:\.\d+)?[ \t]?(?:k|thousand|million|billion)(?!\w)"
_CURRENCY = r"(?:[$€£¥₹]|US\$|USD|EUR|GBP|dollars?|euros?|pounds?|bucks)"
_AMOUNT = rf"(?:{_GROUPED})(?:\.\d+)?(?:[ \t]?(?:k|thousand|million|billion)(?!\w))?"
MONEY = rf"(?<![\w.,])(?:{_CURRENCY}[ \t]?{_AMOUNT}|{_AMOUNT}[ \t]?{_CURRENCY})(?![\w]|[.,]\d)"
_MAGNITUDES = {"k": 10**3, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_MAX_CHARACTERS = 40


def whole(text: str) -> int | None:
    """ "1,200", "four", "twenty-five", "one hundred and five", "3rd" as an integer."""
    text = text.strip().lower()
    if re.fullmatch(ORDINAL, text):
        text = text[:-2]
    if re.fullmatch(DIGITS, text) and len(text) <= _MAX_CHARACTERS:
        return int(text.replace(",", "").replace("−", "-"))
    return in_words(text)


def in_words(text: str) -> int | None:
    """A number written in words, below a million; None for words that are no number ("five six", "twenty twelve")."""
    if not re.fullmatch(WORDS, text):
        return None
    total = current = 0
    last = 10**6
    for word in re.split(r"[ \t]+and[ \t]+|[ \t]*-[ \t]*|[ \t]+", text):
        if word == "hundred" and 0 < current < 10 and last >= 1:
            current, last = current * 100, 100
        elif word == "thousand" and 0 < current < 1000 and not total:
            total, current, last = current * 1000, 0, 1000
        elif word in _SMALL and _SMALL[word] < _room(current, last):
            current, last = current + _SMALL[word], _SMALL[word]
        else:
            return None
    return total + current


def _room(current: int, last: int) -> int:
    """What may still be added: anything at first and after hundred, a unit after a round ten, else nothing."""
    if not current:
        return 10**6 if last >= 1000 else 0
    if last == 100:
        return 100
    return 10 if last >= 20 and last % 10 == 0 and last < 100 else 0


def decimal(text: str) -> float | int | None:
    """ "1,200.50", "-3", "1.5k", "2 million" or a number in words, as a number."""
    text = text.strip().lower()
    if len(text) > _MAX_CHARACTERS:
        return in_words(text)
    if re.fullmatch(SCALED, text):
        digits = re.sub(r"[ \t]?[a-z]+$", "", text)
        return tidy(_float(digits) * _MAGNITUDES[text[len(digits) :].strip()])
    if re.fullmatch(DECIMAL, text):
        return tidy(_float(text))
    return in_words(text)


def money(text: str) -> float | int | None:
    """ "$1,200.50", "20 dollars", "USD 1.5k" as the bare amount."""
    text = text.strip()
    if not re.fullmatch(MONEY, text, re.IGNORECASE):
        return None
    return decimal(re.sub(_CURRENCY, "", text, flags=re.IGNORECASE))


def _float(digits: str) -> float:
    return float(digits.replace(",", "").replace("−", "-"))


def tidy(number: float) -> float | int:
    """A whole float as an integer, others without what binary fractions add ("1.1k" is 1100)."""
    number = round(number, 9)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


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
