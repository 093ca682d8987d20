"""A circuit breaker: an upstream that keeps failing is left alone for a while, then tried with one request.

Source of the pattern: M. Nygard, Release It!, 2nd edition, 2018, chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BreakerState = Literal["closed", "open", "half-open"]


@dataclass(frozen=True)
class BreakerLimits:
    """What opens a breaker: `consecutive` failures, or a `share` of failures among at least `least` attempts of the
    last `window_s` seconds; either only if it goes on for `steady_s`, for what is under way when an upstream restarts
    fails all at once and says nothing about what comes after. It stays open for `open_s`, twice as long after each
    probe that fails, up to `most_open_s`.
    """

    consecutive: int = 8
    share: float = 0.5
    least: int = 20
    window_s: float = 10.0
    steady_s: float = 0.5
    open_s: float = 1.0
    most_open_s: float = 10.0


class Breaker:
    """Knows no clock: every `now` is seconds on one monotonic clock."""

    __slots__ = (
        "_attempts",
        "_failed",
        "_in_row",
        "_limits",
        "_open_until",
        "_openings",
        "_probing",
        "_row_start",
        "_window_end",
    )

    def __init__(self, limits: BreakerLimits | None = None) -> None:
        self._limits = limits or BreakerLimits()
        self._in_row = self._attempts = self._failed = 0
        self._window_end = self._row_start = float("-inf")
        self._open_until: float | None = None
        self._openings = 0
        self._probing = False

    def state(self, now: float) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    @property
    def is_closed(self) -> bool:
        return self._open_until is None

    def wait_s(self, now: float) -> float:
        """Seconds until it may be asked again, 0 when it may be now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def admits(self, now: float) -> bool:
        """Whether to ask. True of a half-open breaker is its one probe, which must be followed by one of the others."""
        if self._open_until is None:
            return True
        if now < self._open_until or self._probing:
            return False
        self._probing = True
        return True

    def succeeded(self, now: float) -> None:
        if self._open_until is not None or now >= self._window_end:
            self._start_window(now)
            self._open_until, self._openings, self._probing = None, 0, False
        self._in_row = 0
        self._attempts += 1

    def failed(self, now: float) -> None:
        if self._open_until is not None:
            if self._probing:
                self._open(now)
            return  # An attempt from before it opened tells nothing new.
        if now >= self._window_end:
            self._start_window(now)
        if not self._in_row:
            self._row_start = now
        self._in_row += 1
        self._attempts += 1
        self._failed += 1
        limits = self._limits
        in_row = self._in_row >= limits.consecutive and now - self._row_start >= limits.steady_s
        window_start = self._window_end - limits.window_s
        is_share = self._attempts >= limits.least and self._failed >= limits.share * self._attempts
        if in_row or (is_share and now - window_start >= limits.steady_s):
            self._open(now)

    def abandoned(self) -> None:
        """The attempt ended without telling anything: the client went away. Another may be the probe."""
        self._probing = False

    def _open(self, now: float) -> None:
        lasts = min(self._limits.most_open_s, self._limits.open_s * 2.0 ** min(self._openings, 30))
        self._openings += 1
        self._open_until = now + lasts
        self._probing = False
        self._in_row = 0

    def _start_window(self, now: float) -> None:
        self._attempts = self._failed = 0
        self._window_end = now + self._limits.window_s
