"""The labels of gold beside those of the answers: which of them no answer has, and what those may be meant to be."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

Spelling = Literal["exact", "loose"]

RARE = 10
"""A label that so many times as many answers write otherwise is a slip of the incumbent's pen, and no label."""
ALIKE = 0.8
"""How similar two spellings are, in [0, 1], for one to be offered for the other."""
TOGETHER = 0.8
"""The share of a gold label's calls with one and the same answer from which that answer is offered for it."""
FEWEST_TOGETHER = 5

_NOTHING = frozenset(
    {"", "?", "??", "???", "-", "--", "n/a", "na", "nan", "none", "null", "unknown", "unsure", "tbd", "todo"}
)
_BETWEEN = str.maketrans("", "", " \t\n\u00a0_-")


class GoldReading(msgspec.Struct, frozen=True, kw_only=True):
    """How the labels of gold are read, as stepdown.toml says. map: gold's label to the answers' label; "" says that
    such a row has no gold. spelling: "loose" takes labels that differ from one of the answers' in case, spaces,
    underscores and hyphens alone for it. trusted: gold is right although the incumbent hardly ever agrees with it."""

    map: dict[str, str] = {}
    spelling: Spelling = "exact"
    trusted: bool = False

    def meaning(self, label: str, known: Mapping[str, str]) -> str | None:
        """The label meant, None for none. known: the answers' labels by their spelling (`by_spelling`)."""
        if label in self.map:
            return self.map[label] or None
        return known.get(spelling(label), label) if self.spelling == "loose" else label


def spelling(label: str) -> str:
    """What is left of a label without case, spaces, underscores and hyphens."""
    return unicodedata.normalize("NFKC", label).casefold().translate(_BETWEEN)


def by_spelling(labels: Iterable[str]) -> dict[str, str]:
    """The labels by their spelling, where only one of them is spelt so."""
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(spelling(label), []).append(label)
    return {key: names[0] for key, names in found.items() if len(names) == 1}


def labels_of(answers: Mapping[str, int]) -> set[str]:
    """The labels that answers have, by how many have each; without rare other spellings of a common one."""
    commonest: dict[str, int] = {}
    for label, count in answers.items():
        key = spelling(label)
        commonest[key] = max(count, commonest.get(key, 0))
    return {label for label, count in answers.items() if count * RARE > commonest[spelling(label)]}


def offers(strange: Iterable[str], known: Collection[str], together: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """What each strange label may be meant to be, where anything suggests itself; "" for no label at all.

    By its spelling; as one that says nothing ("?", "n/a"); as the only label that begins with it; by likeness; else by
    the answer that most of its calls have. together: how often a gold label (first) and an answer (second) have a call
    in common.
    """
    spelt = by_spelling(known)
    itself = {label: _by_itself(label, spelt) for label in strange}
    company = {label: _by_company(label, together) for label, offer in itself.items() if offer is None}
    # An answer that goes with several labels says nothing of any.
    meant = Counter(company.values())
    found = {label: company[label] if offer is None else offer for label, offer in itself.items()}
    return {
        label: offer
        for label, offer in found.items()
        if offer is not None and (itself[label] is not None or meant[offer] == 1)
    }


def _by_itself(label: str, spelt: Mapping[str, str]) -> str | None:
    key = spelling(label)
    if key in spelt:
        return spelt[key]
    if label.strip().casefold() in _NOTHING:
        return ""
    beginning = [known for other, known in spelt.items() if key and other.startswith(key)]
    if len(beginning) == 1:
        return beginning[0]
    near = difflib.get_close_matches(key, list(spelt), n=1, cutoff=ALIKE)
    return spelt[near[0]] if near else None


def _by_company(label: str, together: Mapping[tuple[str, str], int]) -> str | None:
    answers = Counter({answer: count for (gold, answer), count in together.items() if gold == label})
    if not answers:
        return None
    answer, count = answers.most_common(1)[0]
    return answer if count >= max(FEWEST_TOGETHER, TOGETHER * answers.total()) else None


def as_toml(offered: Mapping[str, str]) -> str:
    """The mapping as the value of `gold_map` in stepdown.toml."""
    return "{ " + ", ".join(f"{_quoted(label)} = {_quoted(meant)}" for label, meant in offered.items()) + " }"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
