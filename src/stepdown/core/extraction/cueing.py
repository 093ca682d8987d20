"""Which of several places a value is meant at, learned from the answers whose values stand in one place alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stepdown.core.extraction.form import Field, Role
from stepdown.core.extraction.lines import label_words
from stepdown.core.extraction.spans import field_places

MOST_CUES = 60
LEAST_SEEN = 3
LEAST_SEVERAL = 0.05
"""Of a field's values, that stand in several places, before it is worth knowing which is meant."""
Rows = Sequence[tuple[str, Mapping[str, Any]]]


def learn_cues(roles: Sequence[Role], fields: Mapping[str, Field], rows: Rows) -> dict[str, dict[str, float]]:
    """By copied field how much more often a word stands before its values than before those of the others: log-odds.

    Fields whose values hardly ever stand in several places have none.
    """
    own: dict[str, Counter[str]] = {}
    seen: dict[str, int] = {}
    several: set[str] = set()
    for role in roles:
        known = fields[role.field]
        if role.role != "copied" or known.many:
            continue
        there = [(text, answer[role.field]) for text, answer in rows if role.field in answer and "\n" in text]
        found = [(text, field_places(known, role.normaliser, text, value)) for text, value in there]
        placed = [(text, each[0]) for text, each in found if each]
        if sum(len(places) > 1 for _, places in placed) > LEAST_SEVERAL * len(placed):
            several.add(role.field)
        single = [set(label_words(text, places[0][0])) for text, places in placed if len(places) == 1]
        own[role.field] = Counter(word for words in single for word in words)
        seen[role.field] = len(single)
    return {name: _odds(name, own, seen) for name in several}


def _odds(name: str, own: Mapping[str, Counter[str]], seen: Mapping[str, int]) -> dict[str, float]:
    others: Counter[str] = Counter()
    for other, counts in own.items():
        if other != name:
            others.update(counts)
    count, rest = seen[name], sum(seen.values()) - seen[name]
    found = {}
    for word in own[name].keys() | others.keys():
        if own[name][word] + others[word] >= LEAST_SEEN:
            mine, theirs = (own[name][word] + 0.5) / (count + 1.0), (others[word] + 0.5) / (rest + 1.0)
            found[word] = round(math.log(mine / theirs), 2)
    ranked = sorted(found, key=lambda word: (-abs(found[word]) * (own[name][word] + others[word]) ** 0.5, word))
    return {word: found[word] for word in sorted(ranked[:MOST_CUES])}
