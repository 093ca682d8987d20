"""What the outputs of a tagger mean: which tag stands for which field, which logit for which choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.form import Form, Role
from stepdown.runtime.readings import Reading

OUTSIDE = 0
"""The tag of what belongs to no field. Field k has tags 1 + 2k where a value begins and 2 + 2k inside it (Ramshaw &
Marcus 1995, Text chunking using transformation-based learning)."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """The logits of one field, `start` to `start + size`. one: exactly one of them is right, the first of which says
    that the field is not there; else each says by itself whether its choice is there.

    choices: what the logits stand for; () for a field of which it is only said whether it is there.
    """

    field: str
    start: int
    size: int
    one: bool
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Layout:
    """copied: the fields with tags. groups: the fields with logits."""

    copied: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def tags(self) -> int:
        """How many tags there are."""
        return 1 + 2 * len(self.copied)

    @property
    def labels(self) -> int:
        """How many logits a text gets; at least one, as a network has a head, though it may mean nothing."""
        return max(1, sum(group.size for group in self.groups))

    @property
    def seen_only(self) -> tuple[Group, ...]:
        """The groups of fields of which it is only said whether they are there."""
        return tuple(group for group in self.groups if not group.one and not group.choices)

    @cached_property
    def single(self) -> tuple[Group, ...]:
        """The groups of which one logit is right."""
        return tuple(group for group in self.groups if group.one)

    @cached_property
    def switches(self) -> IntArray:
        """The places of logits that each say something by themselves."""
        places = [range(group.start, group.start + group.size) for group in self.groups if not group.one]
        return np.array([place for each in places for place in each], dtype=np.int64)


def layout_of(form: Form, roles: Sequence[Role]) -> Layout:
    """Tags for what is copied, logits for what is chosen, and one for each field that may be there beyond a student's
    reach: free text, what is refused, and what can be had in some rows only."""
    groups: list[Group] = []
    start = 0
    copied = []
    seen_only = [role.field for role in roles if role.role == "text" or role.partly]
    for role in roles:
        field = form.field(role.field)
        if role.role == "copied":
            copied.append(role.field)
        elif role.role == "closed":
            many = field is not None and field.many
            if many and not role.choices:
                continue
            size = len(role.choices) + (0 if many else 1)
            groups.append(Group(role.field, start, size, not many, role.choices))
            start += size
    for name in [*seen_only, *(name for name in sorted(form.refused) if name not in seen_only)]:
        groups.append(Group(name, start, 1, one=False))
        start += 1
    return Layout(tuple(copied), tuple(groups))


@dataclass(frozen=True)
class Units:
    """What of a text is tagged. places: the tokens that are read for it. bounds: (units, 2), characters."""

    places: IntArray
    bounds: IntArray


def units_of(reading: Reading, whole_words: bool) -> Units:
    """Every piece of the text, or every word, read at its first piece."""
    text = np.flatnonzero(reading.words >= 0)
    if not whole_words or not len(text):
        return Units(text, reading.bounds[text])
    words = reading.words[text]
    first = np.concatenate([[True], words[1:] != words[:-1]])
    last = np.concatenate([first[1:], [True]])
    bounds = np.stack([reading.bounds[text[first], 0], reading.bounds[text[last], 1]], axis=1)
    return Units(text[first], bounds)
