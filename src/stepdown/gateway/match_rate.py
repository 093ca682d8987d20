"""Whether a task's requests are still known as its own: an alarm where a prompt was changed, and its traffic is
nobody's.

What is compared are shares of all requests, so that a quiet night is no alarm; and what a task lost must have become
requests of no task, so that a task that is not asked any more is none either.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from stepdown.core.errors import StepdownError
from stepdown.core.store import ServedHour, Store
from stepdown.gateway.mover import OpenStore

log = logging.getLogger("stepdown.gateway")

RECENT_HOURS, BEFORE_HOURS = 2, 7 * 24
"""The hour that runs and the one before it, against the week before those."""
LEAST_BEFORE, LEAST_EXPECTED = 50, 20.0
"""Fewer requests of a task before, or expected by now, tell nothing: of 20 expected, 4 or fewer come once in 60,000."""
COLLAPSED = 0.25
LOST_TO_NONE = 0.5


class Collapse(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose requests are not known as its own any more. Shares are of all requests, before and of late."""

    task: str
    before: float
    now: float
    unmatched_before: float
    unmatched_now: float
    requests: int

    def __str__(self) -> str:
        return (
            f"{self.task}: its share of the requests fell from {self.before:.1%} to {self.now:.1%}, and that of "
            f"requests of no task rose from {self.unmatched_before:.1%} to {self.unmatched_now:.1%} ({self.requests:,} "
            "in the last hours): its prompt was probably changed. Run: stepdown tasks, then build what has changed."
        )


def match_rate_collapses(store: Store, now: float) -> list[Collapse]:
    """The tasks whose requests gateways no longer recognise. now: seconds since the epoch."""
    recent = int(now // 3600) - RECENT_HOURS + 1
    before = store.served_sums(recent - BEFORE_HOURS, recent)
    return _collapses(_by_task(before), _by_task(store.served_sums(recent)))


class MatchRateAlarm:
    """Looks every now and then, for one process of a gateway: told in the log when it begins and ends, and as a gauge
    while it lasts."""

    def __init__(self, open_store: OpenStore, clock: Callable[[], float]) -> None:
        self._open_store, self._clock = open_store, clock
        self._collapsed: dict[str, Collapse] = {}

    def look(self) -> None:
        try:
            with self._open_store() as store:
                found = {one.task: one for one in match_rate_collapses(store, self._clock())}
        except StepdownError as error:
            log.warning("match_rate_not_read", extra={"error": str(error)})
            return
        for task in found.keys() - self._collapsed.keys():
            log.error("match_rate_collapsed", extra={"task": task, "error": str(found[task])})
        for task in self._collapsed.keys() - found.keys():
            log.info("match_rate_recovered", extra={"task": task})
        self._collapsed = found

    def gauge(self) -> dict[tuple[str, ...], float]:
        return {(task,): 1.0 for task in self._collapsed}


def _by_task(rows: Iterable[ServedHour]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row.task] += row.requests
    return counted


def _collapses(before: Counter[str], now: Counter[str]) -> list[Collapse]:
    all_before, all_now = before.total(), now.total()
    found = []
    for task, count in before.items():
        if not task or count < LEAST_BEFORE:
            continue
        share = count / all_before
        if not all_now or share * all_now < LEAST_EXPECTED or now[task] >= COLLAPSED * share * all_now:
            continue
        one = Collapse(
            task=task,
            before=share,
            now=now[task] / all_now,
            unmatched_before=before[""] / all_before,
            unmatched_now=now[""] / all_now,
            requests=all_now,
        )
        if one.unmatched_now - one.unmatched_before >= LOST_TO_NONE * (one.before - one.now):
            found.append(one)
    return sorted(found, key=lambda one: one.task)
