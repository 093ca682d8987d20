"""Old calls forgotten, small blocks merged: once an hour, on a thread and a connection of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from stepdown.core.draw import FORGOTTEN
from stepdown.core.errors import StepdownError
from stepdown.gateway.mover import OpenStore

log = logging.getLogger("stepdown.gateway")

HOUR_S = 3600.0
_FIRST_AFTER_S = 60.0


class Tidied(NamedTuple):
    """Calls that were forgotten, blocks that were merged away."""

    forgotten: int
    merged: int


class Retention:
    """keep_s: how long calls are kept, None for ever; those with gold are kept in any case. clock: epoch seconds.

    The store works in small steps: who writes waits milliseconds. The process that moves calls into the store runs it.
    """

    def __init__(
        self, open_store: OpenStore, keep_s: float | None, clock: Callable[[], float], every_s: float = HOUR_S
    ) -> None:
        self._open_store, self._keep_s, self._clock, self._every_s = open_store, keep_s, clock, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stepdown-retention", daemon=True)

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, within_s: float = 1.0) -> None:
        """End the thread; what it was at is a transaction that happens or does not."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def tidy(self) -> Tidied:
        """Forget and merge now. Raises StoreError and ResourceError."""
        with self._open_store() as store:
            keep_s = self._keep_s
            now = self._clock()
            forgotten = store.forget_calls(now - keep_s) if keep_s is not None else 0
            if keep_s is not None and forgotten:
                # What is left from before has gold, and is no sample of the calls that there were.
                store.append(FORGOTTEN, "", {"before": now - keep_s, "calls": forgotten}, at=now)
            return Tidied(forgotten, store.compact())

    def _run(self) -> None:
        wait_s = min(_FIRST_AFTER_S, self._every_s)
        while not self._end.wait(wait_s):
            wait_s = self._every_s
            try:
                tidied = self.tidy()
                log.info("tidied", extra=tidied._asdict())
            except StepdownError as error:
                log.warning("not_tidied", extra={"error": str(error)})
            except Exception:  # the thread's outermost boundary: the next hour may do better
                log.exception("not_tidied")
