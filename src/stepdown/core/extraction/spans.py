"""Where the values of an answer stand in its text, and back: the answer that spans and choices give.

`align` marks a row's answer in its text, for learning; `assemble` builds an answer of what a student found. Where a
value stands in several places, `learn_cues` learns from the answers with one place which words precede the value meant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepdown.core.extraction.answers import flat, nested, same
from stepdown.core.extraction.deriving import derived, keeps_rule
from stepdown.core.extraction.form import TOOL, Field, Form, Role, Span
from stepdown.core.extraction.lines import cued, label_words
from stepdown.core.extraction.values import places, value_of

Place = tuple[int, int]
Choice = int | tuple[int, ...]
"""The index into a role's choices plus one, 0 for "not there"; of a list of values all of them, () for "not there"."""


@dataclass(frozen=True)
class Alignment:
    """The part of one answer that can be learned.

    spans: of copied fields, by their place; no two overlap. choices: of every closed field. present: fields that are
    there but that no student fills: free text, refused ones, and values of partly copied fields that can be had in no
    way. unaligned: fields whose value stands nowhere in the text and follows from nothing, is none of the choices,
    overlaps another's, or that the form does not know: say nothing of them to a student.
    """

    spans: tuple[Span, ...] = ()
    choices: dict[str, Choice] = field(default_factory=dict)
    present: tuple[str, ...] = ()
    unaligned: tuple[str, ...] = ()


def align(form: Form, roles: Sequence[Role], text: str, answer: Mapping[str, Any]) -> Alignment:
    """Where a canonical answer's values stand in a text. Deterministic: the longest value is placed first, where it
    stands as whole words and furthest left of what is still free."""
    values = flat(answer)
    spans, missing = _place(form, roles, text, values)
    missing += [role.field for role in roles if role.role == "derived" and role.field in values]
    choices: dict[str, Choice] = {}
    present: list[str] = []
    unaligned: list[str] = []
    for role in roles:
        if role.field in missing and not keeps_rule(form, role, text, values):
            (present if role.partly else unaligned).append(role.field)
        if role.role == "closed":
            known = form.field(role.field)
            chosen = choice_of(role, values.get(role.field), known is not None and known.many)
            choices[role.field] = _nowhere(known) if chosen is None else chosen
            if chosen is None:
                unaligned.append(role.field)
        elif role.role == "text" and role.field in values:
            present.append(role.field)
    filled = {role.field for role in roles}
    refused = form.refused_in(values)
    present += refused
    unaligned += [name for name in values.keys() - filled if not form.refused_in({name: values[name]})]
    return Alignment(spans, choices, tuple(sorted(set(present))), tuple(sorted(set(unaligned))))


def _nowhere(known: Field | None) -> Choice:
    return () if known is not None and known.many else 0


def choice_of(role: Role, value: Any, many: bool) -> Choice | None:
    """A closed field's value as a choice; None where it is none of them, or a list where one value is expected."""
    if value is None:
        return () if many else 0
    if not many:
        return _index(role, value)
    if not isinstance(value, list):
        return None
    indices = [_index(role, item) for item in value]
    return None if None in indices or len(set(indices)) < len(indices) else tuple(index for index in indices if index)


def _index(role: Role, value: Any) -> int | None:
    return next((index for index, choice in enumerate(role.choices, 1) if same(choice, value)), None)


def field_places(known: Field, normaliser: str, text: str, value: Any) -> list[list[Place]] | None:
    """For each value of a field where it may stand, the best first; None where one stands nowhere or has no form of
    the field's."""
    if isinstance(value, list) != known.many:
        return None
    place_lists = [places(normaliser, text, item, known.types) for item in (value if known.many else [value])]
    return place_lists if place_lists and all(place_lists) else None


def _place(
    form: Form, roles: Iterable[Role], text: str, values: Mapping[str, Any]
) -> tuple[tuple[Span, ...], list[str]]:
    """Spans of the copied fields, and the fields that have none."""
    waiting, unplaced = [], []
    for order, role in enumerate(roles):
        if role.role != "copied" or role.field not in values:
            continue
        known = form.field(role.field)
        if known is None:
            continue
        place_lists = field_places(known, role.normaliser, text, values[role.field])
        if place_lists is None:
            unplaced.append(role.field)
        else:
            if role.cues and not known.many:
                place_lists = [sorted(place_lists[0], key=lambda place: -cued(role.cues, text, place[0]))]
            longest = max(end - start for place_list in place_lists for start, end in place_list)
            waiting.append((-longest, order, role.field, place_lists))
    taken: list[Span] = []
    for _, _, name, place_lists in sorted(waiting):
        chosen = _free(place_lists, taken)
        if chosen is None:
            unplaced.append(name)
        else:
            taken += [Span(start, end, name) for start, end in chosen]
    return tuple(sorted(taken)), unplaced


def _free(found: Sequence[Sequence[Place]], taken: Sequence[Span]) -> list[Place] | None:
    """A free place for each value, in the text's order as the values are; None where there is none."""
    chosen: list[Place] = []
    after = 0
    for candidates in found:
        free = [
            (start, end)
            for start, end in candidates
            if start >= after and all(end <= span.start or span.end <= start for span in taken)
        ]
        if not free:
            return None
        # A list's later values need room: its first whole-word place from the left, as candidates are sorted.
        chosen.append(free[0])
        after = free[0][1]
    return chosen


def assemble(
    form: Form,
    roles: Sequence[Role],
    text: str,
    spans: Sequence[Span],
    choices: Mapping[str, Choice],
) -> dict[str, Any]:
    """The canonical answer that spans and choices say: `align`, backwards.

    What follows from these and from the text is filled in. Lists are in the text's order. Of several spans of a field
    that is no list, the first given counts. What the chosen tool does not have is left out, and so is a span that its
    field's rule cannot read; with no tool chosen, in a task of tools, all is.
    """
    spans_by_field: dict[str, list[Span]] = {}
    for span in spans:
        spans_by_field.setdefault(span.field, []).append(span)
    values: dict[str, Any] = {}
    for role in roles:
        known = form.field(role.field)
        if known is None or role.role in ("text", "derived"):
            continue
        if role.role == "closed":
            value = _chosen(role, choices.get(role.field, 0))
        else:
            value = _written(known, role.normaliser, text, spans_by_field.get(role.field, []))
        if value is not None:
            values[role.field] = value
    values |= derived(form, roles, text, values)
    if form.tools:
        tool = values.get(TOOL)
        values = {name: value for name, value in values.items() if tool is not None and _has(form, tool, name)}
    return nested(values)


def _has(form: Form, tool: Any, name: str) -> bool:
    known = form.field(name)
    return known is not None and (not known.tools or tool in known.tools)


def _chosen(role: Role, choice: Choice) -> Any:
    if isinstance(choice, tuple):
        return [role.choices[each - 1] for each in choice if each] or None
    return role.choices[choice - 1] if choice else None


def _written(known: Field, normaliser: str, text: str, spans: Sequence[Span]) -> Any:
    if not known.many:
        spans = spans[:1]
    values = [value_of(normaliser, text[span.start : span.end], known.types, text) for span in sorted(spans)]
    values = [value for value in values if value is not None]
    if known.many:
        return values or None
    return values[0] if values else None


MOST_CUES = 60
LEAST_SEEN = 3
LEAST_SEVERAL = 0.05
"""Of a field's values, that stand in several places, before it is worth knowing which is meant."""
Rows = Sequence[tuple[str, Mapping[str, Any]]]


def learn_cues(roles: Sequence[Role], fields: Mapping[str, Field], rows: Rows) -> dict[str, dict[str, float]]:
    """For each copied field the log-odds of words: how much more often each stands before its values than before
    others'.

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
        place_lists = [(text, field_places(known, role.normaliser, text, value)) for text, value in there]
        placed = [(text, each[0]) for text, each in place_lists if each]
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
    log_odds = {}
    for word in own[name].keys() | others.keys():
        if own[name][word] + others[word] >= LEAST_SEEN:
            mine, theirs = (own[name][word] + 0.5) / (count + 1.0), (others[word] + 0.5) / (rest + 1.0)
            log_odds[word] = round(math.log(mine / theirs), 2)
    ranked = sorted(log_odds, key=lambda word: (-abs(log_odds[word]) * (own[name][word] + others[word]) ** 0.5, word))
    return {word: log_odds[word] for word in sorted(ranked[:MOST_CUES])}
