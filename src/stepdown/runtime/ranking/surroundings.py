"""What is seen of a candidate: the words before and round it, where it stands, and how it relates to the others."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from stepdown.core.extraction.dates import date_of
from stepdown.core.extraction.deriving import payment_terms
from stepdown.core.extraction.values import date_form, readings
from stepdown.runtime.patterns.patterns import shape
from stepdown.runtime.ranking.candidates import Candidate

_LETTERS = re.compile(r"[^\W\d_]{1,24}")
_LEFT, _MOST_AMOUNTS = 6, 60
_CENT = 0.011


@dataclass(frozen=True)
class _Lines:
    """first: where each line starts. words: of each line, in lower case, with where they start."""

    first: tuple[int, ...]
    words: tuple[tuple[tuple[int, str], ...], ...]
    text: str

    def of(self, at: int) -> int:
        return bisect_right(self.first, at) - 1


@lru_cache(64)
def _lines(text: str) -> _Lines:
    first = (0, *(match.end() for match in re.finditer("\n", text)))
    ends = (*first[1:], len(text))
    words = tuple(
        tuple((match.start(), match.group().lower()) for match in _LETTERS.finditer(text, start, end))
        for start, end in zip(first, ends, strict=True)
    )
    return _Lines(first, words, text)


def describe(rule: str, text: str, found: Sequence[Candidate]) -> list[list[str]]:
    """Names of features for each candidate of a rule in a text."""
    lines = _lines(text)
    of_line = [lines.of(each.start) for each in found]
    count = Counter(of_line)
    seen: Counter[int] = Counter()
    related = _related(rule, text, found)
    described = []
    for place, (each, line) in enumerate(zip(found, of_line, strict=True)):
        seen[line] += 1
        names = list(_near(lines, each, line))
        names += (
            f"i {min(seen[line], 4)}",
            f"j {min(count[line] - seen[line], 3)}",
            f"o {min(place, 5)}",
            f"q {min(len(found) - 1 - place, 5)}",
            *_where(lines, line),
            *_looks(text[each.start : each.end]),
            *related[place],
        )
        described.append(names)
    return described


def _near(lines: _Lines, each: Candidate, line: int) -> Iterator[str]:
    text, first = lines.text, lines.first[line]
    own = lines.words[line]
    at = bisect_left(own, (each.start, ""))
    left = [word for _, word in own[max(0, at - _LEFT) : at]]
    for distance, word in enumerate(reversed(left)):
        yield f"l {word}"
        if distance < 2:
            yield f"l{distance} {word}"
    if len(left) > 1:
        yield f"b {left[-2]} {left[-1]}"
    if not left:
        yield "l -"
        for _, word in lines.words[line - 1][-_LEFT:] if line else ():
            yield f"u {word}"
    yield f"a {' '.join(left[:2])}"
    after_it = bisect_left(own, (each.end, ""))
    right = [word for _, word in own[after_it : after_it + 2]]
    for distance, word in enumerate(right):
        yield f"r{distance} {word}"
    before = text[max(first, each.start - 80) : each.start].rstrip(" \t\u00a0\u202f")
    after = text[each.end : each.end + 2].strip()
    yield f"p {before[-1:] if not before[-1:].isalnum() else 'x'}"
    yield f"n {after[:1] if not after[:1].isalnum() else 'x'}"


def _where(lines: _Lines, line: int) -> Iterator[str]:
    total = len(lines.first)
    yield f"t {line if line < 4 else min(line // 4 + 3, 8)}"
    left = total - 1 - line
    yield f"e {left if left < 4 else min(left // 4 + 3, 8)}"
    yield f"d {5 * line // max(1, total)}"


def _looks(piece: str) -> Iterator[str]:
    yield f"s {shape(piece)}"
    yield f"z {min(len(piece), 16)}"
    if any(letter.isdigit() for letter in piece):
        start = re.match(r"[^\W\d_]*[-/ ]?", piece)
        yield f"h {start.group().lower() if start else ''}"
        if any(letter.isalpha() for letter in piece):
            yield "m mixed"
    else:
        yield "m letters"
        yield f"c {min(len(piece.split()), 6)}"


def _related(rule: str, text: str, found: Sequence[Candidate]) -> list[list[str]]:
    if date_form(rule):
        return _dates(rule, text, found)
    if any(isinstance(each.value, float) for each in found) or rule.startswith("amount"):
        return _amounts(text, found)
    return [[] for _ in found]


def _dates(rule: str, text: str, found: Sequence[Candidate]) -> list[list[str]]:
    form = date_form(rule) or ""
    days = [date_of(form, each.value) if isinstance(each.value, str) else None for each in found]
    known = sorted({day for day in days if day is not None})
    after = {(due, day) for terms in payment_terms(text) for day in known if (due := terms.after(day)) is not None}
    ends = {due for due, day in after if due in known and due != day}
    starts = {day for due, day in after if due in known and due != day}
    return [list(_dated(day, known, ends, starts)) for day in days]


def _dated(day: date | None, known: Sequence[date], ends: set[date], starts: set[date]) -> Iterator[str]:
    if day is None:
        yield "v unread"
        return
    if len(known) > 1:
        yield f"v {known.index(day)} of {min(len(known), 4)}"
        yield "v last" if day == known[-1] else "v not last"
    if day in ends:
        yield "v due"
    if day in starts:
        yield "v counted from"


def _amounts(text: str, found: Sequence[Candidate]) -> list[list[str]]:
    """Which amounts are the sum of two others, which are a percentage of another: whatever words stand beside them."""
    numbers = [float(each.value) if _is_number(each.value) else None for each in found]
    distinct = sorted({number for number in numbers if number is not None and number > 0}, reverse=True)[:_MOST_AMOUNTS]
    roles: dict[float, set[str]] = {number: set() for number in distinct}
    for at, total in enumerate(distinct):
        for net in distinct[at + 1 :]:
            if 2 * net < total:
                break
            tax = total - net
            match = _close(tax, distinct)
            if match is not None and match != net:
                roles[total].add("sum")
                roles[net].add("larger part")
                roles[match].add("smaller part")
    rates = {float(rate) / 100.0 for rate in readings("percentage", text, ("number",))}
    for net in distinct:
        for rate in rates:
            share, gross = _close(net * rate, distinct), _close(net * (1.0 + rate), distinct)
            if share is not None and net * rate > 0.05:
                roles[share].add("share")
                roles[net].add("shared")
            if gross is not None and rate > 0.0:
                roles[gross].add("gross")
                roles[net].add("taxed")
    counts = Counter(numbers)
    described = []
    for number in numbers:
        if number is None:
            described.append(["v unread"])
            continue
        rank = distinct.index(number) if number in roles else 9
        names = [f"v rank {min(rank, 4)}", f"v times {min(counts[number], 3)}"]
        names += ["v whole" if number.is_integer() else "v cents"]
        described.append(names + [f"v {role}" for role in sorted(roles.get(number, ()))])
    return described


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _close(number: float, falling: Sequence[float]) -> float | None:
    """The number of a falling sequence that is within a cent."""
    low, high = 0, len(falling)
    while low < high:
        middle = (low + high) // 2
        if falling[middle] > number + _CENT:
            low = middle + 1
        else:
            high = middle
    return falling[low] if low < len(falling) and abs(falling[low] - number) < _CENT else None
