"""What may be asked again, and how long to wait before it is.

Sources: RFC 9110, sections 10.2.3 and 15 (retry-after, status codes); M. Brooker, "Exponential Backoff and Jitter", AWS
Architecture Blog, 2015 (full jitter); docs.claude.com/en/api/errors (529).
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol

from stepdown.gateway.http.messages import Headers

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""409 is a lock that was not had in time; nothing was done."""
UPSTREAM_FAULTS = frozenset({500, 502, 503, 504, 529})
"""What tells that an upstream is ill. 429 tells that it is well, and that we ask too much."""


class Random(Protocol):
    """A random generator: numpy's or the standard library's."""

    def random(self) -> float:
        """Uniform in [0, 1)."""


@dataclass(frozen=True)
class RetryPolicy:
    """Waits between attempts, in seconds. An upstream that asks for a longer one than the last is not waited for."""

    backoff_s: float = 0.25
    most_backoff_s: float = 4.0
    most_retry_after_s: float = 10.0

    def wait_s(self, attempt: int, chance: float, asked_s: float | None) -> float | None:
        """Before the attempt after `attempt` (0-based); None where it is not worth it. chance: uniform in [0, 1)."""
        if asked_s is not None:
            return asked_s if asked_s <= self.most_retry_after_s else None
        return chance * min(self.most_backoff_s, self.backoff_s * 2.0 ** min(attempt, 30))


def retry_after_s(headers: Headers) -> float | None:
    """Seconds that an answer's headers ask to wait; None where they do not. A date counts from the answer's own."""
    found = {name: value.decode("latin-1").strip() for name, value in headers if name in _NAMES}
    for name, unit in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        try:
            wait = float(found.get(name, "")) / unit
        except ValueError:
            continue
        return wait if 0 <= wait < float("inf") else None
    try:
        until, now = parsedate_to_datetime(found[b"retry-after"]), parsedate_to_datetime(found[b"date"])
        return max(0.0, (until - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def may_be_retried(status: int, headers: Headers) -> bool:
    """By its status, unless its sender says that it is in vain (x-should-retry, which OpenAI and Anthropic send)."""
    return status in RETRIED and (b"x-should-retry", b"false") not in headers


_NAMES = frozenset({b"date", b"retry-after", b"retry-after-ms"})
