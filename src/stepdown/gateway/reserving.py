"""What the large model may cost is set aside when it is about to be asked, where a student might have answered."""

from __future__ import annotations

from collections.abc import Callable

from stepdown.gateway.errors import Refused
from stepdown.gateway.exchange import REFUSED, Exchange, Reply
from stepdown.gateway.middleware.admission import Refusal
from stepdown.gateway.model_call import Asking

Reserve = Callable[[Exchange], Refusal | None]
"""Sets aside what the model's answer may cost; the refusal where a budget is taken up."""


class Reserving:
    """An incumbent that is asked where there is money for it."""

    def __init__(self, incumbent: Asking, reserve: Reserve) -> None:
        self._incumbent, self._reserve = incumbent, reserve

    def begin(self, exchange: Exchange, listener: Callable[[], None]) -> bool:
        return exchange.reserved is None and self._incumbent.begin(exchange, listener)

    def taken(self, exchange: Exchange) -> Reply | None:
        return self._incumbent.taken(exchange)

    def abandoned(self, exchange: Exchange) -> None:
        self._incumbent.abandoned(exchange)

    async def ask(self, exchange: Exchange) -> Reply:
        """The incumbent's answer. Raises Refused where a budget is taken up, or as the incumbent does."""
        refusal = self._reserve(exchange)
        if refusal is not None:
            exchange.rung, exchange.reason, exchange.error = REFUSED, "rate_limited", refusal.reason
            raise Refused(429, refusal.reason, "rate_limited", refusal.retry_after_s)
        return await self._incumbent.ask(exchange)


def may_cost_nothing(exchange: Exchange) -> bool:
    """Whether a student or the cache may answer, so that the model's price is not to be set aside yet."""
    task = exchange.task
    if task is None or exchange.route == "incumbent":
        return False
    return task.is_in_force(exchange.at) or task.cache_s > 0
