"""A random share of a task's requests always goes to the incumbent: the sample that later evidence is drawn from.

Where a cascade answers, the calls that the incumbent answers are the hard ones. Whether a request is held back is drawn
before anything else is known of it: neither the cascade nor the response cache has a say in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from stepdown.gateway.exchange import Exchange, Middleware, Next
from stepdown.gateway.http.messages import Response
from stepdown.gateway.retry_policy import Random

HOLDBACK: Final[Literal["holdback"]] = "holdback"
"""The selection of such a call, and the reason that its client is given."""


def holdback(generator: Random, can_ask: Callable[[], bool]) -> Middleware:
    """Draw which requests are held back. It stands behind admission and before the cache.

    generator: unpredictable to clients. can_ask: whether an upstream can be asked at all. While none can, nothing is
    held back: the requests would fail although a student can answer, and what is left out depends on no input.
    """

    def draw(exchange: Exchange, proceed: Next) -> Awaitable[Response]:
        share = _share(exchange)
        if share > 0.0 and generator.random() < share and can_ask():
            exchange.selection, exchange.selection_probability = HOLDBACK, share
        return proceed(exchange)

    return draw


def _share(exchange: Exchange) -> float:
    """The probability with which the request is held back: 0 where no cascade is in force or nobody may be asked."""
    task = exchange.task
    if task is None or not task.is_in_force(exchange.at):
        return 0.0
    if exchange.privacy == "local-only" or exchange.route == "students":
        return 0.0
    return task.holdback
