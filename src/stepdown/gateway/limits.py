"""How much may be asked: rates and budgets, of a key and of a task. Pure: the clock is passed in.

A request's tokens and cost are only known after, so that what it may use is set aside when it is admitted, and given
back when what it did use is charged. A request that is alone may go beyond what is left, and is paid off by those that
come next; others beside it must fit into what is left and not set aside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from stepdown.core.keys import Key
from stepdown.core.limits import Limits
from stepdown.core.store import ServedHour
from stepdown.gateway.spending import Period, Scope, Spending, period_end_s, scopes_of

LimitName = Literal["requests_per_minute", "tokens_per_minute", "usd_per_day", "usd_per_month"]
Rate = Literal["requests_per_minute", "tokens_per_minute"]

_BUDGETS: tuple[tuple[Literal["usd_per_day", "usd_per_month"], Period], ...] = (
    ("usd_per_day", "day"),
    ("usd_per_month", "month"),
)
_NONE = Limits()
_CHARGED_WITHIN_S = 10.0
"""Of its end a request is charged: what was set aside for it is given back then at the latest."""
_SOON_S = 1.0


class Estimate(NamedTuple):
    """What a request may use: tokens of prompt and answer, and USD."""

    tokens: float = 0.0
    usd: float = 0.0


_UNKNOWN = Estimate()
_LEAST_USD = 1e-9
"""Less is what sums of fractions leave over."""


class Reserved(NamedTuple):
    """What was set aside for a request, and for whom."""

    estimate: Estimate
    key_id: str
    task: str
    limits: tuple[tuple[Scope, Limits], ...]


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
        self._reserved: dict[Scope, Estimate] = {}
        self._ended: dict[tuple[str, str], deque[tuple[float, Reserved]]] = {}

    def admit(self, now: float, key: Key | None, task: str, estimate: Estimate = _UNKNOWN) -> Refusal | Reserved | None:
        """What was set aside for a request that may go on, for `end`; None where nothing is limited; else the refusal
        that lasts longest."""
        limited = self._limited(key, task)
        if not limited:
            return None
        self._give_back_late(now)
        longest: Refusal | None = None
        for scope, limits in limited:
            for refusal in self._refusals(scope, limits, now, estimate):
                if longest is None or refusal.retry_after_s > longest.retry_after_s:
                    longest = refusal
        if longest is not None:
            return longest
        for scope, limits in limited:
            if limits.requests_per_minute is not None:
                self._bucket(scope, "requests_per_minute", limits.requests_per_minute, now).take(1.0, now)
            self._set_aside(scope, estimate.tokens, estimate.usd)
        return Reserved(estimate, key.id if key is not None else "", task, tuple(limited))

    def add(self, reserved: Reserved, usd: float, now: float) -> Refusal | Reserved:
        """Set aside so many USD more for a request that was admitted, in place of what was; the refusal where others
        take up what is left, and then what was set aside stays so."""
        self._give_back_late(now)
        limits = [(scope, limit) for scope, limit in reserved.limits if limit.any()]
        more = Estimate(0.0, usd)
        found = [refusal for scope, limit in limits for refusal in self._budget_refusals(scope, limit, now, more)]
        if found:
            return max(found, key=lambda refusal: refusal.retry_after_s)
        for scope, _ in limits:
            self._set_aside(scope, 0.0, usd)
        return reserved._replace(estimate=Estimate(reserved.estimate.tokens, reserved.estimate.usd + usd))

    def end(self, reserved: Reserved, now: float, charged: bool = True) -> None:
        """A request has ended. charged: whether `charge` will tell what it used, or has; else it used nothing."""
        whose = (reserved.key_id, reserved.task)
        if not charged:
            self._give_back(reserved)
        else:
            self._ended.setdefault(whose, deque()).append((now + _CHARGED_WITHIN_S, reserved))

    def is_limited(self, key: Key | None, task: str) -> bool:
        """Whether any limit asks what a request of theirs uses."""
        return (key is not None and key.limits.any()) or task in self._tasks

    def charge(self, key_id: str, task: str, tokens: int, usd: float, now: float) -> None:
        """What an admitted request turned out to use. key_id, task: "" for none."""
        ended = self._ended.get((key_id, task))
        if ended and (tokens or usd):
            self._give_back(ended.popleft()[1])
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

    def load_totals(self, rows: Iterable[ServedHour], now: float) -> None:
        """What every gateway served since `month_start_hour(now)`, as the store has it, in place of what was known."""
        self._spending.load(rows, now)

    def keep_keys(self, ids: frozenset[str]) -> None:
        """Forget what is known of keys that are no more."""
        for bucket in [one for one in self._buckets if one[0].kind == "key" and one[0].name not in ids]:
            del self._buckets[bucket]
        self._spending.keep_keys(ids)
        for scope in [one for one in self._reserved if one.kind == "key" and one.name not in ids]:
            del self._reserved[scope]

    def _limited(self, key: Key | None, task: str) -> list[tuple[Scope, Limits]]:
        found = []
        if key is not None and key.limits.any():
            found.append((Scope("key", key.id), key.limits))
        of_task = self._tasks.get(task, _NONE)
        if of_task is not _NONE:
            found.append((Scope("task", task), of_task))
        return found

    def _set_aside(self, scope: Scope, tokens: float, usd: float) -> None:
        known = self._reserved.get(scope, _UNKNOWN)
        self._reserved[scope] = Estimate(known.tokens + tokens, known.usd + usd)

    def _give_back(self, reserved: Reserved) -> None:
        for scope, _ in reserved.limits:
            self._set_aside(scope, -reserved.estimate.tokens, -reserved.estimate.usd)

    def _give_back_late(self, now: float) -> None:
        for whose, ended in [*self._ended.items()]:
            while ended and not now < ended[0][0] <= now + _CHARGED_WITHIN_S:
                self._give_back(ended.popleft()[1])
            if not ended:
                del self._ended[whose]

    def _refusals(self, scope: Scope, limits: Limits, now: float, estimate: Estimate) -> Iterable[Refusal]:
        aside = self._reserved.get(scope, _UNKNOWN)
        whose = _whose(scope)
        if limits.requests_per_minute is not None:
            wait = self._bucket(scope, "requests_per_minute", limits.requests_per_minute, now).wait_s(1.0, now)
            if wait:
                reason = f"{whose} may make {limits.requests_per_minute:g} requests a minute."
                yield Refusal("requests_per_minute", reason, wait)
        if limits.tokens_per_minute is not None:
            # Alone, a request of any size passes while there is one token left: it may use less than it says.
            needed = aside.tokens + estimate.tokens if aside.tokens >= 1.0 else 1.0
            wait = self._bucket(scope, "tokens_per_minute", limits.tokens_per_minute, now).wait_s(needed, now)
            if not wait and needed > max(1.0, limits.tokens_per_minute):
                wait = _SOON_S
            if wait:
                reason = f"{whose} may use {limits.tokens_per_minute:g} tokens a minute."
                yield Refusal("tokens_per_minute", reason, wait)
        yield from self._budget_refusals(scope, limits, now, estimate)

    def _budget_refusals(self, scope: Scope, limits: Limits, now: float, estimate: Estimate) -> Iterable[Refusal]:
        aside = self._reserved.get(scope, _UNKNOWN)
        whose = _whose(scope)
        for name, period in _BUDGETS:
            budget: float | None = getattr(limits, name)
            if budget is None:
                continue
            spent = self._spending.spent(scope, period, now)
            if spent >= budget:
                reason = f"{whose} may spend ${budget:g} a {period} (UTC), and has."
                yield Refusal(name, reason, period_end_s(period, now))
            elif aside.usd > _LEAST_USD and spent + aside.usd + estimate.usd > budget:
                reason = f"{whose} may spend ${budget:g} a {period} (UTC), which its requests under way may take up."
                yield Refusal(name, reason, _SOON_S)

    def _bucket(self, scope: Scope, rate: Rate, per_minute: float, now: float) -> Bucket:
        bucket = self._buckets.get((scope, rate))
        if bucket is None:
            bucket = self._buckets[scope, rate] = Bucket(per_minute, now)
        elif bucket.per_minute != per_minute:
            bucket.resize(per_minute)
        return bucket


def _whose(scope: Scope) -> str:
    return "This key" if scope.kind == "key" else f"The task {scope.name!r}"


_MINUTE_S = 60.0
# Times since the epoch have steps of a quarter of a microsecond; who waits this much longer has waited long enough.
_GRACE_S = 0.001
_ROUNDING = 1e-9


class Bucket:
    """In any t minutes at most (1 + t) times `per_minute` is taken, and one request where that is less than one.

    Taking after the fact may leave a debt, which is paid off at the same rate. A clock that jumps back refills nothing
    and loses nothing; one that jumps ahead refills to a minute's worth at most.
    """

    __slots__ = ("_at", "_level", "per_minute")

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = self._capacity
        self._at = now

    @property
    def _capacity(self) -> float:
        return max(1.0, self.per_minute)

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until the bucket holds `amount` (at most its capacity); 0 where it does now."""
        self._refill(now)
        missing = min(amount, self._capacity) - self._level
        if missing <= _ROUNDING * self._capacity:
            return 0.0
        return missing / self.per_minute * _MINUTE_S + _GRACE_S

    def take(self, amount: float, now: float) -> None:
        """Take it, into debt if need be."""
        self._refill(now)
        self._level -= amount

    def resize(self, per_minute: float) -> None:
        """Another rate from now on; what was taken stays taken."""
        taken = self._capacity - self._level
        self.per_minute = per_minute
        self._level = self._capacity - taken

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = now
        self._level = min(self._capacity, self._level + passed * self.per_minute / _MINUTE_S)
