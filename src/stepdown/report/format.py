"""Numbers as text: as many digits as the interval supports, SI units, US dollars, dates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from stepdown.core.estimates import Estimate

SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
UNKNOWN = "not known"
NONE = "\N{EN DASH}"
ENDLESS = 1e100
MOST_DECIMALS = 9

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Unit:
    """How a quantity is written: multiplied by `factor`, between `before` and `after`, with `most` decimals at most.

    steps: larger or smaller units of the same quantity, as (from this absolute value on, unit); the largest that fits.
    """

    factor: float = 1.0
    before: str = ""
    after: str = ""
    most: int = 6
    steps: tuple[tuple[float, Unit], ...] = ()

    def at(self, magnitude: float) -> Unit:
        fitting = [unit for start, unit in self.steps if magnitude >= start]
        return fitting[-1] if fitting else self


def _after(unit: str) -> str:
    return SPACE + unit


PERCENT = Unit(factor=100, after=_after("%"), most=2)
POINTS = Unit(factor=100, after=_after("points"), most=2)
SCORE = Unit(most=4)
TIMES = Unit(after=_after("×"), most=2)
USD = Unit(before="$", most=8)
SECONDS = Unit(
    factor=1e6,
    after=_after("µs"),
    steps=((1e-4, Unit(factor=1e3, after=_after("ms"), most=3)), (1.0, Unit(after=_after("s"), most=2))),
)
MEGABYTES = Unit(
    factor=1e3,
    after=_after("kB"),
    most=1,
    steps=((0.1, Unit(after=_after("MB"), most=2)), (1000, Unit(factor=1e-3, after=_after("GB"), most=2))),
)
PER_SECOND = Unit(after=_after("per s"), most=1)
JOULES = Unit(after=_after("J"), most=2, steps=((10_000, Unit(factor=1e-3, after=_after("kJ"), most=1)),))
MONTHS = Unit(after=_after("months"), most=1)
HOURS = Unit(after=_after("hours"), most=1)
KILOWATT_HOURS = Unit(after=_after("kWh"), most=3)
PLAIN = Unit()


@dataclass(frozen=True)
class Shown:
    """An estimate ready to be read. interval: in words, "" where it has none; confidence: its, in percent."""

    value: str
    interval: str
    n: int
    method: str
    confidence: str
    estimated: bool

    @property
    def note(self) -> str:
        """Interval, n and method in one line."""
        counted = sample(self.n)
        ranged = f"{self.confidence} interval {self.interval}" if self.interval else ""
        return " · ".join(part for part in (ranged, counted) if part)


def show(estimate: Estimate | None, unit: Unit) -> Shown | None:
    """An estimate in a unit, its digits chosen by the width of its interval; None stays None."""
    if estimate is None:
        return None
    chosen = unit.at(abs(estimate.value))
    low, high = estimate.low, estimate.high
    digits = _decimals(estimate.value * chosen.factor, low * chosen.factor, high * chosen.factor, chosen.most)
    scaled = abs(estimate.value * chosen.factor)
    if bounded(scaled) and scaled > 0 and round(scaled, digits) == 0:
        # An interval far wider than the value must not round the value away.
        digits = min(MOST_DECIMALS, -math.floor(math.log10(scaled)))
    bare = Unit(factor=chosen.factor, before=chosen.before)
    interval = ""
    if bounded(low) and bounded(high) and low < high:
        interval = f"{_write(low, bare, digits)} to {_write(high, chosen, digits)}"
    elif bounded(low) and high >= ENDLESS:
        interval = f"{_write(low, chosen, digits)} or more"
    return Shown(
        value=_singular(_write(estimate.value, chosen, digits)),
        interval=interval,
        n=estimate.n,
        method=clean(estimate.method),
        confidence=quantity(estimate.confidence, PERCENT, 4),
        estimated=estimate.estimated,
    )


def _singular(text: str) -> str:
    """ "1 month" for "1 months"; anything else as it is."""
    return text[:-1] if text in (f"1{SPACE}months", f"1{SPACE}points", f"1{SPACE}hours") else text


def bounded(value: float) -> bool:
    """Whether a number is one to write or draw: JSON has no infinity, and the largest floats stand for it."""
    return abs(value) < ENDLESS


def quantity(value: float | None, unit: Unit = PLAIN, figures: int = 3) -> str:
    """One number without an interval, to three significant figures unless told, without trailing zeros."""
    if value is None or not bounded(value):
        return UNKNOWN if value is None or math.isnan(value) else "without bound"
    chosen = unit.at(abs(value))
    scaled = abs(value * chosen.factor)
    digits = 0 if scaled == 0 else min(chosen.most, max(0, figures - 1 - _exponent(scaled)))
    return _write(value, chosen, digits, exact=True)


def usd(value: float | None) -> str:
    """Dollars: cents from one dollar up, two significant figures below, whole dollars from a thousand."""
    if value is None or not bounded(value):
        return quantity(value)
    size = abs(value)
    if size >= 1000 or value == 0:
        return _write(value, USD, 0)
    return _write(value, USD, 2) if size >= 1 else quantity(value, USD, 2)


def points(value: float) -> str:
    """A difference of two shares in percentage points, without a sign."""
    if not bounded(value):
        return quantity(value)
    text = f"{abs(value) * 100:.{1 if abs(value) >= 0.0005 else 2}f}".removesuffix(".0").removesuffix(".00")
    return f"{text}{SPACE}point" + ("" if text == "1" else "s")


def signed_points(value: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    sign = "+" if value > 0 else MINUS if value < 0 else ""
    return sign + points(value)


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}".replace("-", MINUS) if bounded(value) else quantity(value)


def sample(number: int) -> str:
    """ "n = 2,000", "" where nothing was counted."""
    return f"n{SPACE}={SPACE}{count(number)}" if number > 0 else ""


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 label", "77 labels"."""
    return f"{count(number)}{SPACE}{one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "0.4 s", "2 min 10 s", "3 h 5 min", "30 days"."""
    if not bounded(seconds) or seconds < 0:
        return UNKNOWN
    if seconds < 60:
        return quantity(seconds, Unit(after=_after("s"), most=1)) if seconds >= 1 else quantity(seconds, SECONDS, 2)
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600, whole // 60
    if days >= 2:
        return f"{count(days)}{SPACE}days"
    if hours >= 1:
        return f"{hours}{SPACE}h {minutes % 60}{SPACE}min"
    return f"{minutes}{SPACE}min" + (f" {whole % 60}{SPACE}s" if whole % 60 else "")


def moment(seconds: float) -> str:
    """Seconds since the epoch as "20 November 2026, 18:30 UTC"; "not known" for 0 and for what no calendar holds."""
    try:
        when = datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        when = None
    return f"{when.day} {when:%B %Y, %H:%M} UTC" if when else UNKNOWN


def p_value(value: float) -> str:
    """A p-value to two significant figures; below 0.0001 that it is below."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"<{SPACE}0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.995 else "1"


def hash_head(digest: str) -> str:
    return clean(digest)[:12]


def clean(text: object) -> str:
    """Text that every reader can show: control characters and lone surrogates become U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def shorten(text: str, most: int) -> str:
    """The text, cut at `most` characters with an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def soften(text: str) -> Markup:
    """Text that may break after an underscore, slash or dot, where a long identifier has no spaces to break at."""
    return Markup(re.sub(r"([_/.])(?=\w)", r"\1<wbr>", str(escape(text))))  # noqa: S704 – escaped just here


def wording(name: str) -> str:
    """An identifier in words: "near_duplicates" → "near duplicates"."""
    return clean(name).replace("_", " ").replace("-", " ").strip()


def plainly(value: Any, depth: int = 0) -> str:
    """Any JSON value in words: numbers with separators, mappings as "name value", lists as their first few."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return count(value) if abs(value) < 10**15 else f"{float(value):.3g}" if abs(value) < 10**300 else "very many"
    if isinstance(value, float):
        return quantity(value)
    if isinstance(value, Mapping) and depth < 3:
        parts = [f"{wording(str(key))} {plainly(inner, depth + 1)}" for key, inner in list(value.items())[:12]]
        return ", ".join([*parts, f"and {len(value) - 12} more"] if len(value) > 12 else parts) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str) and depth < 3:
        parts = [plainly(inner, depth + 1) for inner in value[:6]]
        return ", ".join([*parts, f"and {len(value) - 6} more"] if len(value) > 6 else parts) or "none"
    return shorten(clean(value), 300) or "none"


def _decimals(value: float, low: float, high: float, most: int) -> int:
    """Decimals that the half-width of the interval bears: one significant digit of it, two where it starts with 1 or 2.

    Negative where tens or hundreds are all that it bears.
    """
    half = (high - low) / 2
    if not bounded(half) or half <= 0:
        size = abs(value)
        return 0 if size == 0 or not bounded(size) else min(most, max(0, 2 - _exponent(size)))
    exponent = _exponent(half)
    leading = half / 10.0**exponent
    return min(most, -exponent + (leading < 3))


def _exponent(positive: float) -> int:
    return math.floor(math.log10(positive))


def _write(value: float, unit: Unit, digits: int, exact: bool = False) -> str:
    if not bounded(value):
        return UNKNOWN if math.isnan(value) else "without bound"
    scaled = value * unit.factor
    if abs(scaled) >= 1e15 or not math.isfinite(scaled):
        text = f"{abs(scaled):.2e}"
    else:
        text = f"{round(abs(scaled), digits):,.{max(0, digits)}f}"
        if exact and "." in text:
            text = text.rstrip("0").rstrip(".")
    negative = scaled < 0 and any(digit in "123456789" for digit in text)
    return (MINUS if negative else "") + unit.before + text + unit.after
