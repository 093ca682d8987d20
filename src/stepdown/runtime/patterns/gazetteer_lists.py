"""The gazetteer: values that a field had in training, found again in other texts word by word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_WORDS = 12
"""Longer values are not listed."""
PLACES = ("begin", "inside")
_END = ""

Value = tuple[tuple[str, ...], int]
"""A value's words in lower case, and its field's place among the copied ones."""

Listed = tuple[int, int, int]
"""A field's place among the copied ones, the first token and the token after the last."""


class Gazetteer:
    """Values by field, as sequences of words in lower case, in a trie. Read-only once built."""

    def __init__(self, values: Iterable[tuple[tuple[str, ...], tuple[int, ...]]]) -> None:
        self._root: dict[str, Any] = {}
        for words, fields in values:
            node = self._root
            for word in words:
                node = node.setdefault(word, {})
            node[_END] = tuple(fields)

    def find(self, words: Sequence[str]) -> list[Listed]:
        """From every token on the longest value that stands there, once for each field that has it."""
        found: list[Listed] = []
        root, count = self._root, len(words)
        for first in range(count):
            node = root.get(words[first])
            fields: Sequence[int] = ()
            after, last = first + 1, first
            while node is not None:
                if _END in node:
                    fields, last = node[_END], after
                node = node.get(words[after]) if after < count else None
                after += 1
            found += [(field, first, last) for field in fields]
        return found


def by_value(
    counted: Iterable[tuple[tuple[str, ...], int]],
) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Sorted values with all the fields that have them."""
    fields: dict[tuple[str, ...], list[int]] = {}
    for words, field in counted:
        fields.setdefault(words, []).append(field)
    return [(words, tuple(sorted(fields[words]))) for words in sorted(fields)]


def listed_at(
    gazetteer: Gazetteer, lower: Sequence[str], but: set[Value] | frozenset[Value] = frozenset()
) -> dict[int, set[tuple[int, str]]]:
    """By token the fields with a listed value there, and whether it begins there or goes on."""
    found: dict[int, set[tuple[int, str]]] = {}
    for field, start, after in gazetteer.find(lower):
        if but and (tuple(lower[start:after]), field) in but:
            continue
        for token in range(start, after):
            found.setdefault(token, set()).add((field, PLACES[token > start]))
    return found


def listed_share(listed: Mapping[int, set[tuple[int, str]]], tags: list[int]) -> float:
    """Of the tokens with a tag of a field, the share that stands in a listed value of it; 1 where none has one."""
    tagged = [(token, (tag - 1) // 2) for token, tag in enumerate(tags) if tag]
    found = sum(any(field == each for each, _ in listed.get(token, ())) for token, field in tagged)
    return found / len(tagged) if tagged else 1.0
