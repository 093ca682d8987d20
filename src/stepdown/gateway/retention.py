"""Old calls forgotten, small blocks merged: by the process that moves calls, on a connection of its own."""

from __future__ import annotations

import logging
from typing import NamedTuple

from stepdown.core.draw import FORGOTTEN
from stepdown.core.errors import StepdownError
from stepdown.gateway.mover import OpenStore

log = logging.getLogger("stepdown.gateway")


class Tidied(NamedTuple):
    """Calls that were forgotten, blocks that were merged away."""

    forgotten: int
    merged: int


def tidy(open_store: OpenStore, keep_s: float | None, now: float) -> Tidied | None:
    """Forget and merge, in small steps: who writes waits milliseconds. None where the store failed, which is logged.

    keep_s: how long calls are kept, None for ever; those with gold are kept in any case. now: epoch seconds.
    """
    try:
        with open_store() as store:
            forgotten = store.forget_calls(now - keep_s) if keep_s is not None else 0
            if keep_s is not None and forgotten:
                # What is left from before has gold, and is no sample of the calls that there were.
                store.append(FORGOTTEN, "", {"before": now - keep_s, "calls": forgotten}, at=now)
            tidied = Tidied(forgotten, store.compact())
    except StepdownError as error:
        log.warning("not_tidied", extra={"error": str(error)})
        return None
    log.info("tidied", extra=tidied._asdict())
    return tidied
