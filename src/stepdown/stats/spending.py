"""How much of the error budget of one evidence set its k-th certificate attempt may spend.

Attempts are counted for ever, so the shares must sum to one over an endless series. Three quarters go to the first
attempt, because most evidence is used once: at 95 % confidence it is tested at 0.0375, which asks for 9 % more labels
than the whole budget would. The rest falls as 1 / k squared (the Basel series), so the budget never runs dry: the
labels that the k-th attempt needs grow only with log k, where a geometric series would make them grow with k.

A new attempt is another candidate, or another claim, on rows that were used before. A further look at the same
candidate with fresh rows costs less by `stages`, whose first look is tested at the same three quarters.

Source: alpha spending by a summable sequence, as in Foster & Stine (2008), Alpha-investing, JRSS B 70.
"""

import math

FIRST_SHARE = 0.75


def budget_share(attempt: int) -> float:
    """Share of the error budget for attempt 1, 2, 3, ...; the shares of all attempts sum to one."""
    if attempt < 1:
        raise ValueError(f"Got attempt {attempt}; expected 1 for the first, then 2, and so on.")
    if attempt == 1:
        return FIRST_SHARE
    return (1.0 - FIRST_SHARE) * 6.0 / (math.pi * (attempt - 1)) ** 2


def attempt_error(error: float, attempt: int) -> float:
    """Error at which the given attempt is tested when all attempts on the evidence together may err with `error`."""
    if not 0.0 < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between 0 and 1, both excluded.")
    return error * budget_share(attempt)


def error_left(error: float, attempt: int) -> float:
    """What attempts after the given one may still spend together, of a budget for all; all of it after attempt 0."""
    return error * (1.0 - sum(map(budget_share, range(1, attempt + 1))))
