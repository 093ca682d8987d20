"""What keys and tasks have spent this day and this month, over every gateway of the project."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from stepdown.core.store import ServedHour, Store

_HOUR_S = 3600
_LATEST_S = 250_000_000_000.0  # The year 9892: what no clock shows must not be an error.

Period = Literal["day", "month"]
PERIODS: tuple[Period, ...] = ("day", "month")


class Scope(NamedTuple):
    """Whose limit it is: ("key", its id) or ("task", its name)."""

    kind: Literal["key", "task"]
    name: str


class Spending:
    """USD by scope and period (UTC): what the store's totals say, and what this process added that they lack.

    Every process writes what it serves to the store and reads all of it again now and then, so that each knows its own
    spending at once and the others' as of its last reading.
    """

    def __init__(self) -> None:
        self._stored: dict[tuple[Scope, Period], _Sum] = {}
        self._written: dict[tuple[Scope, Period], _Sum] = {}
        self._pending: dict[tuple[Scope, Period], _Sum] = {}

    def add(self, scope: Scope, usd: float, now: float) -> None:
        for period in PERIODS:
            _add(self._pending, (scope, period), period_of(period, now), usd)

    def mark(self) -> None:
        """What was added until now goes into the store next; see `load`."""
        for key, one in self._pending.items():
            _add(self._written, key, one.period, one.usd)
        self._pending = {}

    def load(self, rows: Iterable[ServedHour], now: float) -> None:
        """The store's totals, read after everything that was added before the last `mark` was written to it."""
        stored: dict[tuple[Scope, Period], _Sum] = {}
        current: dict[Period, int] = {period: period_of(period, now) for period in PERIODS}
        for row in rows:
            for period in PERIODS:
                if period_of(period, row.hour * _HOUR_S) != current[period]:
                    continue
                for scope in scopes_of(row.key, row.task):
                    _add(stored, (scope, period), current[period], row.cost_usd)
        self._stored, self._written = stored, {}

    def spent(self, scope: Scope, period: Period, now: float) -> float:
        """USD in the period that `now` lies in."""
        current = period_of(period, now)
        sums = (table.get((scope, period)) for table in (self._stored, self._written, self._pending))
        return sum(one.usd for one in sums if one is not None and one.period == current)

    def keep_keys(self, ids: frozenset[str]) -> None:
        """Forget the keys that are no more."""
        for table in (self._stored, self._written, self._pending):
            for key in [key for key in table if key[0].kind == "key" and key[0].name not in ids]:
                del table[key]


def scopes_of(key_id: str, task: str) -> tuple[Scope, ...]:
    key = (Scope("key", key_id),) if key_id else ()
    return (*key, Scope("task", task)) if task else key


def period_of(period: Period, at: float) -> int:
    """A number for the day or month (UTC) of a time in seconds since the epoch."""
    time = _time(at)
    return time.toordinal() if period == "day" else time.year * 12 + time.month - 1


def period_end_s(period: Period, now: float) -> float:
    """Seconds until the next day or month (UTC) begins."""
    time = _time(now)
    start = time.replace(hour=0, minute=0, second=0, microsecond=0)
    following = start + timedelta(days=1)
    if period == "month":
        following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return max(0.0, (following - time).total_seconds())


def start_hour(period: Period, now: float) -> int:
    """The first hour (whole hours since the epoch) of the day or month (UTC) that `now` lies in."""
    start = _time(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((start if period == "day" else start.replace(day=1)).timestamp()) // _HOUR_S


def month_start_hour(now: float) -> int:
    return start_hour("month", now)


def read_totals(store: Store, now: float) -> list[ServedHour]:
    """What `load` needs of a store: two rows for each task and key, however long the month."""
    today = start_hour("day", now)
    return [*store.served_sums(start_hour("month", now), today), *store.served_sums(today)]


class _Sum(NamedTuple):
    period: int
    usd: float


def _add(table: dict[tuple[Scope, Period], _Sum], key: tuple[Scope, Period], period: int, usd: float) -> None:
    """A new period begins at nothing. Under a clock that jumped back, what is spent still counts as the latest's."""
    known = table.get(key)
    if known is None or period > known.period:
        table[key] = _Sum(period, usd)
    else:
        table[key] = _Sum(known.period, known.usd + usd)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(min(max(at, 0.0), _LATEST_S), UTC)
