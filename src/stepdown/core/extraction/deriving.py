"""Values that follow from others: sums of amounts, dates counted from terms of payment, the only currency of a text."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

from stepdown.core.extraction.answers import same
from stepdown.core.extraction.dates import date_as, date_of
from stepdown.core.extraction.form import Form, Role
from stepdown.core.extraction.lines import lines_round
from stepdown.core.extraction.values import cast, date_form, readings

_PAYMENT = re.compile(
    r"\b(?:net|netto|pay|payment|payable|paid|terms?|due|zahl\w*|f[äa]llig\w*|paiement|r[èe]glement|[ée]ch[ée]ance|pag\w+"
    r"|vencim\w*|condi[cçz]\w*|scadenza|betal\w*|vervaldatum|p[łl]atno\w*)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?:claims?|complaints?|returns?|warranty|guarantee|deliver\w*|beanstand\w*|reklamation\w*|garantie\w*|liefer\w*"
    r"|r[ée]clamations?|livraison|retours?|reclamaci\w*|garant[íi]a|entrega|reclama[çc]\w*|garantia|devoluci\w*|reclami)\b",
    re.IGNORECASE,
)
"""What else has its days."""
POLICIES = ("only", "longest", "last", "first")
"""Which terms of a text are meant: the only ones, else none; or of several the longest, the last, the first."""
_NUMERIC = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?")
MOST_CHARACTERS = 20_000
"""Read of a text, so that an endless one costs no more than a long one."""
TOLERANCE = Decimal("0.005")


def number_of(value: Any) -> Decimal | None:
    """A JSON number, or a text that is one, as a decimal; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Decimal(str(value)) if abs(value) < 10**15 else None
    return Decimal(value) if isinstance(value, str) and _NUMERIC.fullmatch(value) else None


def derived(form: Form, roles: Iterable[Role], text: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields that `values`, flat, lacks and that follow from it or from the text, by name."""
    derived_values: dict[str, Any] = {}
    waiting = [role for role in roles if role.follows and role.field not in values]
    for _ in range(2):
        # Once more, for what follows from what followed.
        for role in waiting:
            if role.field not in derived_values:
                value = value_by_rule(form, role, text, {**values, **derived_values})
                if value is not None:
                    derived_values[role.field] = value
    return derived_values


def value_by_rule(form: Form, role: Role, text: str, values: Mapping[str, Any]) -> Any:
    """The value that a role's rule gives, from the other fields; None where a piece is missing or unclear."""
    known = form.field(role.field)
    if known is None:
        return None
    if role.whole:
        return only_reading(role.normaliser, text, known.types)
    if role.base:
        return _after(role, text, values)
    if role.sums:
        total = summed(role.sums, values)
        return None if total is None else _as_number(role, total, known.types)
    return None


def only_reading(rule: str, text: str, types: tuple[str, ...]) -> Any:
    """The only value that a rule reads in a text; None where it reads none, or several."""
    values = list(dict.fromkeys(readings(rule, text[:MOST_CHARACTERS], types)))
    return values[0] if len(values) == 1 else None


def summed(sums: Mapping[str, int], values: Mapping[str, Any]) -> Decimal | None:
    """Σ factor · field; None where one is no number or is not there."""
    total = Decimal(0)
    for name, factor in sums.items():
        number = number_of(values.get(name))
        if number is None:
            return None
        total += factor * number
    return total


def _as_number(role: Role, total: Decimal, types: tuple[str, ...]) -> Any:
    if "number" not in types and "integer" not in types and role.normaliser == "amount, two decimals":
        return f"{total:.2f}"
    whole = total == total.to_integral_value()
    return cast(int(total) if whole else float(total), types)


def _after(role: Role, text: str, values: Mapping[str, Any]) -> str | None:
    start, form = values.get(role.base), date_form(role.normaliser)
    terms = meant_terms(text, role.terms)
    if form is None or terms is None or not isinstance(start, str):
        return None
    day = date_of(form, start)
    due = terms.after(day) if day is not None else None
    return None if due is None else date_as(form, due)


def meant_terms(text: str, policy: str) -> Terms | None:
    """The terms of payment that a text states; of several those that the policy means, None where that is unclear.

    Terms on lines that speak of payment come before all others.
    """
    terms_stated = payment_terms(text)
    if not terms_stated or (policy == "only" and len(set(terms_stated)) > 1):
        return None
    if policy == "longest":
        return max(terms_stated, key=lambda terms: (terms.end_of_month, terms.days))
    return terms_stated[-1] if policy == "last" else terms_stated[0]


@lru_cache(64)
def payment_terms(text: str) -> tuple[Terms, ...]:
    """The terms of payment of a text, in its order: those on lines that speak of payment, else those below such lines.

    A delivery, a guarantee and a complaint have their days too.
    """
    stated = [
        (terms, span)
        for span in terms_in(text[:MOST_CHARACTERS])
        if (terms := read_terms(text[slice(*span)])) is not None
    ]
    if not stated:
        return ()
    lines = [(terms, lines_round(text, *span), lines_round(text, *span, 1)) for terms, span in stated]
    paying = [(terms, own) for terms, own, _ in lines if _PAYMENT.search(own)]
    alone = tuple(terms for terms, own in paying if not _OTHER.search(own))
    below = tuple(terms for terms, own, above in lines if _PAYMENT.search(above) and not _OTHER.search(own))
    return alone or tuple(terms for terms, _ in paying) or below


def rule_violations(form: Form, roles: Sequence[Role], text: str, values: Mapping[str, Any]) -> set[str]:
    """The fields of an answer, flat, that break a rule which the training answers keep, or lack what they always have.

    A rule of which a piece is missing says nothing.
    """
    violations = set()
    for role in roles:
        value = values.get(role.field)
        if value is None:
            if role.always:
                violations.add(role.field)
        elif role.checked and not _keeps(form, role, text, value, values):
            violations.add(role.field)
    return violations


def keeps_rule(form: Form, role: Role, text: str, values: Mapping[str, Any]) -> bool:
    """Whether a field's value in `values`, flat, is the one that its rule gives: nothing need mark it then."""
    ruled = value_by_rule(form, role, text, values) if role.follows else None
    return ruled is not None and same(ruled, values.get(role.field))


def _keeps(form: Form, role: Role, text: str, value: Any, values: Mapping[str, Any]) -> bool:
    if role.sums:
        total, number = summed(role.sums, values), number_of(value)
        return total is None or number is None or abs(total - number) < TOLERANCE
    others = {name: each for name, each in values.items() if name != role.field}
    ruled = value_by_rule(form, role, text, others)
    return ruled is None or same(ruled, value)


_DAYS = r"(?:days?|d\.|Tagen?|Tg\.?|T\.|jours?|j\.|d[ií]as?|giorni|gg\.?|dagen|dagar|dage|dni|dnů|päivää|nap|gün|zile)"
_END = (
    r"(?:end of (?:the )?month|EOM|Monatsende|fin de mois|fin de mes|fim do m[eê]s|final do m[eê]s|fine mese"
    r"|einde maand)"
)
_NOW = (
    r"(?:due (?:up)?on receipt|upon receipt|payable immediately|sofort(?: fällig| zahlbar)?|zahlbar sofort"
    r"|à réception|comptant|al contado|a la recepción|à vista|pronto pagamento|contra entrega|alla consegna)"
)
TERMS = (
    rf"(?<![\w.,])\d{{1,3}}[ \u00a0]?(?:-[ ]?)?{_DAYS}(?![^\W\d_])(?:[ ,]{{0,2}}{_END}(?!\w))?",
    rf"(?<!\w)(?:net|netto|n)[ /]{{0,2}}\d{{1,3}}(?![\d.,]*\d)(?!\w)(?:[ ,]{{0,2}}{_END}(?!\w))?",
    rf"(?<!\w){_NOW}(?!\w)",
)
"""What terms look like."""
_COMPILED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in TERMS)
MOST = 64
_END_OF_MONTH = re.compile(_END, re.IGNORECASE)


@dataclass(frozen=True)
class Terms:
    """days after a date; end_of_month: then on to the last day of the month that this falls in."""

    days: int
    end_of_month: bool = False

    def after(self, day: date) -> date | None:
        """The day on which it is due; None beyond the calendar's end."""
        try:
            due = day + timedelta(days=self.days)
        except OverflowError:
            return None
        return due.replace(day=calendar.monthrange(due.year, due.month)[1]) if self.end_of_month else due


def read_terms(piece: str) -> Terms | None:
    """ "net 30", "30 Tage netto", "à 45 jours fin de mois", "due on receipt" as terms; None for anything else."""
    piece = piece.strip()
    if not any(pattern.fullmatch(piece) for pattern in _COMPILED):
        return None
    number = re.search(r"\d+", piece)
    return Terms(int(number.group()) if number else 0, bool(_END_OF_MONTH.search(piece)))


def terms_in(text: str) -> list[tuple[int, int]]:
    """Where terms stand in a text, without overlaps; at most 64 of them."""
    spans: list[tuple[int, int]] = []
    for pattern in _COMPILED:
        for match in islice(pattern.finditer(text), MOST):
            start, end = match.span()
            if all(end <= left or right <= start for left, right in spans):
                spans.append((start, end))
    return sorted(spans)[:MOST]
