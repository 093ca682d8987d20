"""The role of each field of a form for a student: copied from the text, chosen from a closed set, derived, or free
text.

Learned from the training texts and answers: the rule of `values` under which most values stand in their text, the
choices that cover nearly all of them, the rules by which they follow from others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.amounts import CODES
from stepdown.core.extraction.answers import flat, same
from stepdown.core.extraction.derivations import (
    fills_empty_values,
    known_date_rule,
    with_sums,
    with_terms,
    with_whole,
)
from stepdown.core.extraction.deriving import keeps_rule
from stepdown.core.extraction.form import TOOL, Field, Form, Role
from stepdown.core.extraction.graphemes import is_word_edge
from stepdown.core.extraction.spans import choice_of, field_places, learn_cues
from stepdown.core.extraction.values import NORMALISERS, date_form

SAMPLE = 4_000
"""Rows looked at to learn roles; and of each field at most a quarter as many values per rule."""
LEAST_COPIED = 0.8
LEAST_PARTLY = 0.25
"""Of a field's values, that can be had in some way, before the others are told apart row by row."""
BEYOND_CHANCE = 0.15
"""How much more often they stand in their own text than in another, then."""
SOMETIMES = 0.02
"""Of the values of a field that follows from others, that must stand in their text before they are looked for there."""
MOSTLY_GOT = 0.97
FEWEST_LOST = 10
ALWAYS, ENOUGH = 0.995, 100
"""An answer without a field that this share of so many answers has is not given."""
LEAST_CLOSED = 0.9
SURELY_COPIED = 0.97
MOST_CHANCE = 0.25
"""Of the texts of other answers, that may hold a value too, before standing there tells nothing of a few choices."""
FEW_CHOICES = 12
CLEARLY = 0.01
"""By how much more of the values a less plain rule has to explain."""
MAX_CHOICES = 200
LEAST_LEFT = 0.1
"""Of the answers, those whose every field a student can fill, before the task is worth learning."""
RULE_ROWS = 800
MOST_CHARACTERS, FEWEST_READ = 300_000, 150
"""Read of a field's texts for each rule, and rows that are looked at however long they are."""

Values = list[tuple[str, Any]]
"""The text and the value of each answer that has a field."""


@dataclass(frozen=True)
class _Copying:
    """How well a rule explains a field. share: of its values that stand in their text."""

    normaliser: str = "as written"
    share: float = 0.0


def learn_roles(form: Form, texts: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> tuple[Role, ...]:
    """A role for each field of the form, in its order; `aligned` and `unaligned` are counted over the rows given."""
    rows = sampled(len(texts), SAMPLE)
    columns = _columns(form, [texts[row] for row in rows], [answers[row] for row in rows])
    seen = _seen(form, answers)
    roles = [_role(field, columns[field.name], seen[field.name], form) for field in form.fields]
    few = [(texts[row], flat(answers[row])) for row in sampled(len(texts), RULE_ROWS)]
    roles = _with_rules(form, roles, columns, few)
    counted = count_alignment(form, roles, texts, answers)
    return tuple(_settled(role, form, columns[role.field], len(answers)) for role in counted)


def _with_rules(
    form: Form, roles: Sequence[Role], columns: Mapping[str, Values], rows: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[Role]:
    """The roles with what follows from others, and with the words that tell the places of a value apart."""
    fields = {field.name: field for field in form.fields}
    named = []
    for role in roles:
        undated = role.role == "text" and not fields[role.field].many and date_form(role.normaliser) is None
        rule = known_date_rule(columns[role.field]) if undated else None
        named.append(role if rule is None else msgspec.structs.replace(role, normaliser=rule))
    ruled = with_terms(with_sums(named, fields, rows), rows)
    kept = [
        msgspec.structs.replace(role, sums={}, base="", terms="", checked=False)
        if role.follows and not role.whole and fills_empty_values(form, role, rows)
        else role
        for role in ruled
    ]
    cues = learn_cues(kept, fields, rows)
    return [msgspec.structs.replace(role, cues=cues.get(role.field, {})) for role in kept]


def _settled(role: Role, form: Form, values: Values, answers: int) -> Role:
    """The role once it is known how many values can be had: what is free text, what only some rows have not."""
    there = role.aligned + role.unaligned
    always = not form.tools and there >= max(ENOUGH, ALWAYS * answers)
    if role.role == "closed" or not there:
        return role
    covered_share = role.aligned / there
    if role.role == "text":
        known = form.field(role.field)
        stands = (
            _Copying(role.normaliser, _share(known, role.normaliser, _few(values, SAMPLE // 4)))
            if known
            else _Copying()
        )
        by_chance = (
            _by_chance(known, stands, values) if known and covered_share >= LEAST_PARTLY and not role.follows else 0.0
        )
        if covered_share < LEAST_PARTLY or covered_share - by_chance < BEYOND_CHANCE:
            return msgspec.structs.replace(role, aligned=0, unaligned=there)
        role = msgspec.structs.replace(role, role="copied" if stands.share >= SOMETIMES else "derived")
    partly = covered_share < MOSTLY_GOT and role.unaligned >= FEWEST_LOST
    return msgspec.structs.replace(role, partly=partly, always=always and not partly)


def sampled(rows: int, limit: int) -> list[int]:
    """At most `limit` row numbers, evenly spread."""
    return [row * rows // limit for row in range(limit)] if rows > limit else list(range(rows))


def _columns(form: Form, texts: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
    columns: dict[str, Values] = {field.name: [] for field in form.fields}
    for text, answer in zip(texts, answers, strict=True):
        for name, value in flat(answer).items():
            if name in columns:
                columns[name].append((text, value))
    return columns


def _seen(form: Form, answers: Iterable[Mapping[str, Any]]) -> dict[str, Counter[bytes]]:
    """How often each value of a field was given, a list's values each, in canonical JSON."""
    seen: dict[str, Counter[bytes]] = {field.name: Counter() for field in form.fields}
    for answer in answers:
        for name, value in flat(answer).items():
            if name in seen:
                seen[name].update(map(canonical_json, value if isinstance(value, list) else [value]))
    return seen


def _role(field: Field, values: Values, seen: Counter[bytes], form: Form) -> Role:
    enumerated = bool(field.choices) or set(field.types) == {"boolean"} or (field.name == TOOL and form.tools)
    choices = _choices(field, seen, repeated=not enumerated)
    if values and choices and all(choice in CODES for choice in choices):
        whole = with_whole(Role(field=field.name, role="copied", normaliser="currency"), field, values)
        if whole is not None:
            return whole
    if not values or (enumerated and len(choices) <= MAX_CHOICES):
        return Role(field=field.name, role="closed", choices=choices)
    copying = _copying(field, values)
    covered = _covered(field, seen, choices)
    closed = covered >= LEAST_CLOSED and len(choices) <= min(MAX_CHOICES, max(2, sum(seen.values()) // 5))
    few = len(choices) <= FEW_CHOICES
    if closed and few and _by_chance(field, copying, values) > MOST_CHANCE:
        return Role(field=field.name, role="closed", choices=choices)
    if closed and copying.share < min(SURELY_COPIED, covered):
        return Role(field=field.name, role="closed", choices=choices)
    if copying.share >= LEAST_COPIED:
        return Role(field=field.name, role="copied", normaliser=copying.normaliser)
    return Role(field=field.name, role="text", normaliser=copying.normaliser)


def _choices(field: Field, seen: Counter[bytes], repeated: bool) -> tuple[Any, ...]:
    """The values seen, those of a schema's enum in its order, else the most frequent first; of open fields only those
    seen again."""
    if field.choices:
        return tuple(choice for choice in field.choices if canonical_json(choice) in seen)
    kept = [value for value, count in seen.items() if count > 1 or not repeated]
    return tuple(msgspec.json.decode(value) for value in sorted(kept, key=lambda value: (-seen[value], value)))


def _covered(field: Field, seen: Counter[bytes], choices: tuple[Any, ...]) -> float:
    return sum(seen[canonical_json(choice)] for choice in choices) / max(1, sum(seen.values()))


def _copying(field: Field, values: Values) -> _Copying:
    """The rule under which most values stand in their text; a later rule only where it explains clearly more."""
    values = _few(values, SAMPLE // 4)
    best = _Copying()
    for name in NORMALISERS:
        if best.share > 0.995:
            break
        share = _share(field, name, values)
        if share > best.share + (CLEARLY if best.share else 0.0):
            best = _Copying(name, share)
    return best


def _few(values: Values, most: int) -> Values:
    """At most `most` values, evenly spread; fewer where texts are long."""
    length = sum(len(text) for text, _ in values) / max(1, len(values))
    return [
        values[row]
        for row in sampled(len(values), max(FEWEST_READ, min(most, int(MOST_CHARACTERS / max(1.0, length)))))
    ]


def _share(field: Field, normaliser: str, values: Values) -> float:
    return sum(_stands(field, normaliser, text, value) for text, value in values) / max(1, len(values))


def _by_chance(field: Field, copying: _Copying, values: Values) -> float:
    """The share of values that stand in the text of an answer with another value: "no" stands nearly everywhere."""
    values = _few(values, SAMPLE // 16)
    half = len(values) // 2
    pairs = [
        (text, value)
        for (_, value), (text, other) in zip(values, values[half:] + values[:half], strict=True)
        if not same(value, other)
    ]
    return sum(_stands(field, copying.normaliser, text, value) for text, value in pairs) / max(1, len(pairs))


def _stands(field: Field, normaliser: str, text: str, value: Any) -> bool:
    """Whether a value stands in a text as whole words: what stands inside others ("no" in "know") does so by chance."""
    place_lists = field_places(field, normaliser, text, value)
    return place_lists is not None and all(is_word_edge(text, edge) for places in place_lists for edge in places[0])


def count_alignment(
    form: Form, roles: Sequence[Role], texts: Sequence[str], answers: Sequence[Mapping[str, Any]]
) -> tuple[Role, ...]:
    """The roles with how many answers that have the field fit them, over all rows: stand in the text, follow from
    others, are a choice.

    Values of two fields that overlap in the text count as standing there; `spans.align` says what is taught.
    """
    counted = {role.field: [0, 0] for role in roles}
    for text, answer in zip(texts, answers, strict=True):
        values = flat(answer)
        for role in roles:
            field = form.field(role.field)
            if role.field in values and field is not None:
                counted[role.field][not _fits(form, field, role, text, values)] += 1
    return tuple(
        msgspec.structs.replace(role, aligned=counted[role.field][0], unaligned=counted[role.field][1])
        for role in roles
    )


def _fits(form: Form, field: Field, role: Role, text: str, values: Mapping[str, Any]) -> bool:
    value = values[role.field]
    if role.role == "closed":
        return choice_of(role, value, field.many) is not None
    if role.role != "derived" and field_places(field, role.normaliser, text, value) is not None:
        return True
    return keeps_rule(form, role, text, values)


def unfillable(form: Form, roles: Iterable[Role], answers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Why no student can learn this form, by field; {} where enough answers have no field that is beyond a student.

    Such fields are left to the incumbent, answer by answer.
    """
    free = {role.field: role for role in roles if role.role == "text"}
    there: Counter[str] = Counter()
    left = 0
    for answer in answers:
        values = flat(answer)
        beyond = (values.keys() & free.keys()) | form.refused_in(values)
        there.update(beyond)
        left += not beyond
    if left >= LEAST_LEFT * len(answers):
        return {}
    reasons = {}
    for name, role in free.items():
        if there[name]:
            share = role.unaligned / max(1, role.aligned + role.unaligned)
            reasons[name] = (
                f"the field {name!r} is free text: {share:.0%} of its values do not stand in the input"
                f" and they are no closed set; {there[name] / len(answers):.0%} of the answers have it"
            )
    for name, reason in form.refused.items():
        if there[name]:
            has = there[name] / len(answers)
            reasons[name] = f"the field {name!r} cannot be filled: {reason}; {has:.0%} of the answers have it"
    return reasons
