"""What each field of a form is to a student: copied from the text, chosen from a closed set, or neither.

Learned from the training texts and answers: the rule of `values` under which most values stand in their text, the
choices that cover nearly all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import flat, same
from stepdown.core.extraction.form import TOOL, Field, Form, Role
from stepdown.core.extraction.graphemes import is_word_edge
from stepdown.core.extraction.spans import choice_of, field_places
from stepdown.core.extraction.values import NORMALISERS

SAMPLE = 4_000
"""Rows looked at to learn roles; and of each field at most a quarter as many values per rule."""
LEAST_COPIED = 0.8
LEAST_CLOSED = 0.9
SURELY_COPIED = 0.97
MOST_CHANCE = 0.25
"""Of the texts of other answers, that may hold a value too, before standing there tells nothing of a few choices."""
FEW_CHOICES = 12
CLEARLY = 0.01
"""By how much more of the values a less plain rule has to explain."""
MAX_CHOICES = 200
MOST_MISSING = 0.5
"""Of the answers, those that may have a field that no student fills, before the task is not worth learning."""

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
    return count_alignment(form, roles, texts, answers)


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
    values = [values[row] for row in sampled(len(values), SAMPLE // 4)]
    best = _Copying()
    for name in NORMALISERS:
        if best.share > 0.995:
            break
        share = sum(_stands(field, name, text, value) for text, value in values) / len(values)
        if share > best.share + (CLEARLY if best.share else 0.0):
            best = _Copying(name, share)
    return best


def _by_chance(field: Field, copying: _Copying, values: Values) -> float:
    """The share of values that stand in the text of an answer with another value: "no" stands nearly everywhere."""
    values = [values[row] for row in sampled(len(values), SAMPLE // 16)]
    half = len(values) // 2
    pairs = [
        (text, value)
        for (_, value), (text, other) in zip(values, values[half:] + values[:half], strict=True)
        if not same(value, other)
    ]
    return sum(_stands(field, copying.normaliser, text, value) for text, value in pairs) / max(1, len(pairs))


def _stands(field: Field, normaliser: str, text: str, value: Any) -> bool:
    """Whether a value stands in a text as whole words: what stands inside others ("no" in "know") does so by chance."""
    found = field_places(field, normaliser, text, value)
    return found is not None and all(is_word_edge(text, edge) for places in found for edge in places[0])


def count_alignment(
    form: Form, roles: Iterable[Role], texts: Sequence[str], answers: Sequence[Mapping[str, Any]]
) -> tuple[Role, ...]:
    """The roles with how many answers that have the field fit them, over all rows: stand in the text, are a choice.

    Values of two fields that overlap in the text count as standing there; `spans.align` says what is taught.
    """
    columns = _columns(form, texts, answers)
    counted = []
    for role in roles:
        field = form.field(role.field)
        values = columns.get(role.field, [])
        fit = sum(_fits(field, role, text, value) for text, value in values) if field else 0
        counted.append(msgspec.structs.replace(role, aligned=fit, unaligned=len(values) - fit))
    return tuple(counted)


def _fits(field: Field, role: Role, text: str, value: Any) -> bool:
    if role.role == "closed":
        return choice_of(role, value, field.many) is not None
    return field_places(field, role.normaliser, text, value) is not None


def unfillable(form: Form, roles: Iterable[Role], answers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Why no student can learn this form, by field: those beyond a student that too many answers have; {} where it can.

    Fields that fewer answers have are left to the incumbent, answer by answer.
    """
    there: Counter[str] = Counter()
    for answer in answers:
        values = flat(answer)
        there.update(values.keys() | form.refused_in(values))
    most = MOST_MISSING * len(answers)
    reasons = {}
    for role in roles:
        if role.role == "text" and there[role.field] > most:
            share = role.unaligned / max(1, role.aligned + role.unaligned)
            reasons[role.field] = (
                f"the field {role.field!r} is free text: {share:.0%} of its values do not stand in the input"
                f" and they are no closed set; {there[role.field] / len(answers):.0%} of the answers have it"
            )
    for name, reason in form.refused.items():
        if there[name] > most:
            has = there[name] / len(answers)
            reasons[name] = f"the field {name!r} cannot be filled: {reason}; {has:.0%} of the answers have it"
    return reasons
