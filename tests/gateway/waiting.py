"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Return when it holds. Raises AssertionError when it does not for so long that it never will."""
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
