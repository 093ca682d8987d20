"""Terms of payment: how many days after another date, and whether the end of that month is meant."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

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
    found: list[tuple[int, int]] = []
    for pattern in _COMPILED:
        for match in islice(pattern.finditer(text), MOST):
            start, end = match.span()
            if all(end <= left or right <= start for left, right in found):
                found.append((start, end))
    return sorted(found)[:MOST]
