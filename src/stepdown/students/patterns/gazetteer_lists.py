"""The gazetteer: values that a field had in training, found again in other texts word by word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

MAX_WORDS = 12
"""Longer values are not listed."""
PLACES = ("begin", "inside")
_END = ""

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
            after, fields, last = first + 1, (), first
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
