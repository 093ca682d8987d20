"""How much may be asked: rates and budgets, of a key and of a task. Pure: the clock is passed in.

A request is charged when it is admitted; its tokens and its cost are only known after, so that what is under way when a
limit is reached may go beyond it, and is paid off by those that come next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from stepdown.core.keys import Key
from stepdown.core.limits import Limits
from stepdown.core.store import Served
from stepdown.gateway.bucket import Bucket
from stepdown.gateway.spending import Period, Scope, Spending, period_end_s, scopes_of

LimitName = Literal["requests_per_minute", "tokens_per_minute", "usd_per_day", "usd_per_month"]
Rate = Literal["requests_per_minute", "tokens_per_minute"]

_BUDGETS: tuple[tuple[Literal["usd_per_day", "usd_per_month"], Period], ...] = (
    ("usd_per_day", "day"),
    ("usd_per_month", "month"),
)
_NONE = Limits()


class Refusal(NamedTuple):
    """Why a request is not admitted. retry_after_s: waiting that long suffices, if nobody else asks meanwhile."""

    limit: LimitName
    reason: str
    retry_after_s: float
    status: int = 429


class Limiter:
    """Everything is called from one thread. Times are seconds since the epoch; a clock that jumps is survived.

    Memory is bounded by the keys and the limited tasks there are: what a client makes up gets no bucket.
    """

    def __init__(self, task_limits: Mapping[str, Limits]) -> None:
        self._tasks = {name: limits for name, limits in task_limits.items() if limits.any()}
        self._buckets: dict[tuple[Scope, Rate], Bucket] = {}
        self._spending = Spending()

    def admit(self, now: float, key: Key | None, task: str) -> Refusal | None:
        """None where the request may go on, and it is then charged; else the refusal that lasts longest."""
        limited = self._limited(key, task)
        if not limited:
            return None
        longest: Refusal | None = None
        for scope, limits in limited:
            for refusal in self._refusals(scope, limits, now):
                if longest is None or refusal.retry_after_s > longest.retry_after_s:
                    longest = refusal
        if longest is None:
            for scope, limits in limited:
                if limits.requests_per_minute is not None:
                    self._bucket(scope, "requests_per_minute", limits.requests_per_minute, now).take(1.0, now)
        return longest

    def is_limited(self, key: Key | None, task: str) -> bool:
        """Whether any limit asks what a request of theirs uses."""
        return bool(self._limited(key, task))

    def charge(self, key_id: str, task: str, tokens: int, usd: float, now: float) -> None:
        """What an admitted request turned out to use. key_id, task: "" for none."""
        for scope in scopes_of(key_id, task):
            if scope.kind == "task" and task not in self._tasks:
                continue
            bucket = self._buckets.get((scope, "tokens_per_minute"))
            if bucket is not None:
                bucket.take(float(tokens), now)
            if usd:
                self._spending.add(scope, usd, now)

    def mark(self) -> None:
        """Call before what was served so far is written to the store, and `load_totals` after it was."""
        self._spending.mark()

    def load_totals(self, rows: Iterable[Served], now: float) -> None:
        """What every gateway served since `month_start_hour(now)`, as the store has it, in place of what was known."""
        self._spending.load(rows, now)

    def keep_keys(self, ids: frozenset[str]) -> None:
        """Forget what is known of keys that are no more."""
        for bucket in [one for one in self._buckets if one[0].kind == "key" and one[0].name not in ids]:
            del self._buckets[bucket]
        self._spending.keep_keys(ids)

    def _limited(self, key: Key | None, task: str) -> list[tuple[Scope, Limits]]:
        found = []
        if key is not None and key.limits.any():
            found.append((Scope("key", key.id), key.limits))
        of_task = self._tasks.get(task, _NONE)
        if of_task is not _NONE:
            found.append((Scope("task", task), of_task))
        return found

    def _refusals(self, scope: Scope, limits: Limits, now: float) -> Iterable[Refusal]:
        whose = "This key" if scope.kind == "key" else f"The task {scope.name!r}"
        if limits.requests_per_minute is not None:
            wait = self._bucket(scope, "requests_per_minute", limits.requests_per_minute, now).wait_s(1.0, now)
            if wait:
                reason = f"{whose} may make {limits.requests_per_minute:g} requests a minute."
                yield Refusal("requests_per_minute", reason, wait)
        if limits.tokens_per_minute is not None:
            # A request of any size passes while there is one token left: its own number is not known yet.
            wait = self._bucket(scope, "tokens_per_minute", limits.tokens_per_minute, now).wait_s(1.0, now)
            if wait:
                reason = f"{whose} may use {limits.tokens_per_minute:g} tokens a minute."
                yield Refusal("tokens_per_minute", reason, wait)
        for name, period in _BUDGETS:
            budget: float | None = getattr(limits, name)
            if budget is not None and self._spending.spent(scope, period, now) >= budget:
                reason = f"{whose} may spend ${budget:g} a {period} (UTC), and has."
                yield Refusal(name, reason, period_end_s(period, now))

    def _bucket(self, scope: Scope, rate: Rate, per_minute: float, now: float) -> Bucket:
        bucket = self._buckets.get((scope, rate))
        if bucket is None:
            bucket = self._buckets[scope, rate] = Bucket(per_minute, now)
        elif bucket.per_minute != per_minute:
            bucket.resize(per_minute)
        return bucket
