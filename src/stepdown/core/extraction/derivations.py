"""Rules by which fields follow from others, learned from the training answers: a closed family of small rules.

Sums of up to three other amounts, dates counted from another date by terms of payment, and values that are the only
ones of their kind in a text. A rule is taken where the answers keep it; what breaks a rule that nearly all keep is
not given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.deriving import (
    POLICIES,
    TOLERANCE,
    keeps_rule,
    number_of,
    payment_terms,
    value_by_rule,
)
from stepdown.core.extraction.form import Field, Form, Role
from stepdown.core.extraction.values import NORMALISERS, date_form

LEAST_ROWS = 20
"""Answers that have all of a rule's fields, before it is believed."""
LEAST_KEPT = 0.85
"""Of those, that keep a sum: answers of a large model are wrong now and then, in each of its pieces."""
LEAST_NEARLY_ALL = 0.95
"""Of the values that keep a form or terms of payment, where a value that does not is to be doubted."""
MOST_EMPTY = 0.02
"""Of the answers in which a rule gives a value, those that lack the field, before it is no rule for filling it in."""
MOST_AMOUNTS = 10
CLEARLY = 0.02
"""By how much more of the answers a longer sum has to explain."""
Column = NDArray[np.float64]
Rows = Sequence[tuple[str, Mapping[str, Any]]]
"""A text and its answer, flat."""


def with_sums(roles: Sequence[Role], fields: Mapping[str, Field], rows: Rows) -> list[Role]:
    """The roles with the sums that the answers keep."""
    amounts = _amounts(roles, fields, rows)
    ruled = []
    for role in roles:
        sums = _best_sum(role.field, amounts) if role.field in amounts and not role.whole else None
        ruled.append(role if sums is None else msgspec.structs.replace(role, sums=sums, checked=True))
    return ruled


def _amounts(roles: Sequence[Role], fields: Mapping[str, Field], rows: Rows) -> dict[str, Column]:
    """The columns of amounts, NaN where an answer has none.

    Numbers of customers and days of a month are not added up: amounts have cents, or are counted in them.
    """
    columns: dict[str, Column] = {}
    for role in roles:
        if role.role == "closed" or fields[role.field].many or len(columns) == MOST_AMOUNTS:
            continue
        values = [answer[role.field] for _, answer in rows if role.field in answer]
        numbers = [number for value in values if (number := number_of(value)) is not None]
        cents = role.normaliser == "amount, minor units" or any(number % 1 for number in numbers)
        if len(values) == len(numbers) >= LEAST_ROWS and cents:
            column = [number_of(answer.get(role.field)) for _, answer in rows]
            columns[role.field] = np.array([np.nan if each is None else float(each) for each in column])
    return columns


def _best_sum(name: str, amounts: Mapping[str, Column]) -> dict[str, int] | None:
    """The shortest sum that explains a field; answers that break it are to be doubted."""
    best: tuple[float, dict[str, int]] | None = None
    values = amounts[name]
    for sums in _possible([other for other in amounts if other != name]):
        pieces = np.stack([amounts[other] for other in sums])
        total = np.array(list(sums.values())) @ pieces
        there = ~np.isnan(total) & ~np.isnan(values)
        # Where a piece is nought, a shorter sum is kept as well, or none: such answers tell nothing of this one.
        informative = there & (pieces != 0.0).all(axis=0)
        if informative.sum() < LEAST_ROWS or informative.sum() < there.sum() / 2:
            continue
        kept = float((np.abs(total - values) < float(TOLERANCE))[there].mean())
        if kept >= LEAST_KEPT and (best is None or kept > best[0] + CLEARLY):
            best = kept, sums
    return None if best is None else best[1]


def _possible(others: Sequence[str]) -> Iterator[dict[str, int]]:
    for count in (2, 3):
        for names in itertools.combinations(others, count):
            for signs in itertools.product((1, -1), repeat=count):
                if max(signs) > 0:
                    yield dict(zip(names, signs, strict=True))


def with_terms(roles: Sequence[Role], rows: Rows) -> list[Role]:
    """The roles with the date that each date which does not stand in its text is counted from."""
    dated = {role.field: role for role in roles if date_form(role.normaliser) and role.role in ("copied", "text")}
    ruled = []
    for role in roles:
        rule = _best_terms(role, dated, rows) if role.field in dated else None
        ruled.append(role if rule is None else rule)
    return ruled


def _best_terms(role: Role, dated: Mapping[str, Role], rows: Rows) -> Role | None:
    best: tuple[int, Role] | None = None
    form = Form(fields=(Field(name=role.field),))
    for base in dated:
        if base == role.field:
            continue
        stated = [
            (text, answer) for text, answer in rows if role.field in answer and base in answer and payment_terms(text)
        ]
        for policy in POLICIES if stated else ():
            rule = msgspec.structs.replace(role, base=base, terms=policy)
            kept = [keeps_rule(form, rule, text, answer) for text, answer in stated]
            # Where both dates are the same day any terms of no days do, whichever of the two is counted from the other.
            later = sum(
                answer[base] != answer[role.field] for (_, answer), kept_ in zip(stated, kept, strict=True) if kept_
            )
            if later < LEAST_ROWS / 2 or (best is not None and sum(kept) <= best[0]):
                continue
            best = sum(kept), msgspec.structs.replace(rule, checked=sum(kept) >= LEAST_NEARLY_ALL * len(kept))
    return None if best is None else best[1]


def with_whole(role: Role, known: Field, values: Sequence[tuple[str, Any]]) -> Role | None:
    """The role as one that is read off the whole text, where the only currency in it nearly always is the value."""
    if role.normaliser != "currency" or known.many:
        return None
    whole = msgspec.structs.replace(role, role="derived", whole=True)
    form = Form(fields=(known,))
    kept = sum(keeps_rule(form, whole, text, {role.field: value}) for text, value in values)
    return whole if kept >= LEAST_KEPT * len(values) else None


def fills_empty_values(form: Form, role: Role, rows: Rows) -> bool:
    """Whether a role's rule gives values too often where answers have none, so that it is unclear when to apply it."""
    empty = given = 0
    for text, answer in rows:
        ruled = value_by_rule(form, role, text, answer)
        if ruled is not None:
            given += 1
            empty += role.field not in answer
    return empty > MOST_EMPTY * max(1, given)


def known_date_rule(values: Sequence[tuple[str, Any]]) -> str | None:
    """A rule for dates that stand in no text, by the form that nearly all of the values have; None where none do."""
    for name, rule in NORMALISERS.items():
        if date_form(name) and all(isinstance(value, str) for _, value in values):
            fits = sum(rule.may_give(value) for _, value in values)
            if values and fits >= LEAST_NEARLY_ALL * len(values):
                return name
    return None
