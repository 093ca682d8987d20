"""A token bucket: so many a minute, and a minute's worth at once."""

from __future__ import annotations

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
