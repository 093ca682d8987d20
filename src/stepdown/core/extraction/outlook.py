"""The fields and whole answers of a task that a student could fill, estimated before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.form import Form, Role
from stepdown.core.extraction.roles import LEAST_LEFT, sampled, unfillable
from stepdown.core.extraction.spans import align

MOST_ROWS = 500
MOST_NAMED = 3


class FieldOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One field. n: answers that have it. share: of their values, what a student can be taught to give.

    how: in words, from where it gets them.
    """

    name: str
    n: int
    share: float
    how: str


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """rows: answers looked at. share: of them, those whose every value a student can be taught to give."""

    rows: int
    share: float
    fields: tuple[FieldOutlook, ...]

    @property
    def refused(self) -> bool:
        """Whether so little is left that no student is trained."""
        return self.share < LEAST_LEFT


def outlook(form: Form, roles: Sequence[Role], texts: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> Outlook:
    """The outlook of a task, from at most 500 rows, evenly spread."""
    rows = sampled(len(texts), MOST_ROWS)
    there = {role.field: 0 for role in roles} | dict.fromkeys(form.refused, 0)
    lost = dict.fromkeys(there, 0)
    whole = 0
    for row in rows:
        aligned = align(form, roles, texts[row], answers[row])
        beyond = {*aligned.present, *aligned.unaligned}
        whole += not beyond
        for name in {*flat(answers[row]), *aligned.present} & there.keys():
            there[name] += 1
            lost[name] += name in beyond
    ways = {role.field: field_source(role) for role in roles} | {
        name: f"left to the incumbent: {why}" for name, why in form.refused.items()
    }
    fields = tuple(
        FieldOutlook(name=name, n=n, share=1.0 - lost[name] / n if n else 0.0, how=ways[name])
        for name, n in there.items()
    )
    return Outlook(rows=len(rows), share=whole / max(1, len(rows)), fields=fields)


def field_source(role: Role) -> str:
    """The source of a field's value for a student, in words."""
    if role.role == "closed":
        return f"one of {len(role.choices):,}" if len(role.choices) != 1 else "there or not"
    if role.role == "text":
        return "free text: left to the incumbent"
    rules = [f"read from the text ({role.normaliser})"] if role.role == "copied" else []
    if role.whole:
        rules.append(f"the only one in the text ({role.normaliser})")
    if role.base:
        rules.append(f"{role.base} and the terms of payment")
    if role.sums:
        rules.append(sum_in_words(role.sums))
    return ", else ".join(rules) + (", row by row" if role.partly else "")


def sum_in_words(sums: Mapping[str, int]) -> str:
    """A sum as people write it: "total - net"."""
    first, *rest = sorted(sums, key=lambda name: -sums[name])
    return first + "".join(f" {'+' if sums[name] > 0 else '-'} {name}" for name in rest)


def untrainable_reason(
    form: Form, roles: Sequence[Role], texts: Sequence[str], answers: Sequence[Mapping[str, Any]]
) -> str:
    """Why no student is worth training: which fields are beyond one, and what share of the answers is left; "" where
    enough is."""
    reasons = list(unfillable(form, roles, answers).values())
    expected = outlook(form, roles, texts, answers)
    if not reasons and not expected.refused:
        return ""
    if not reasons:
        worst = sorted((field for field in expected.fields if field.n), key=lambda field: field.share)[:MOST_NAMED]
        reasons = [
            f"the field {field.name!r} can be had in {field.share:.0%} of the {field.n:,} answers that have it"
            for field in worst
        ]
    return "; ".join([*reasons, f"{expected.share:.0%} of the answers are left that a student could give whole"])
