"""An exact repetition of a request, answered from memory where its task wants that."""

from __future__ import annotations

from collections.abc import Awaitable

from stepdown.gateway.answers import header_text, wire_response
from stepdown.gateway.cache import AnswerCache, CachedAnswer
from stepdown.gateway.exchange import CACHE, Exchange, Middleware, Next, answered
from stepdown.gateway.http.messages import Response
from stepdown.gateway.metric_names import CACHE_LOOKUPS
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.middleware.holdback import HOLDBACK
from stepdown.runtime.cascade import INCUMBENT


def caching(cache: AnswerCache, metrics: Metrics) -> Middleware:
    """Answer from the cache, or proceed. It stands behind admission: who may not ask gets no cached answer either.

    A request that is held back is not looked up: the calls that evidence is drawn from would lack all repeats.
    """

    def look(exchange: Exchange, proceed: Next) -> Awaitable[Response]:
        task = exchange.task
        if task is None or task.cache_s <= 0 or exchange.selection == HOLDBACK:
            return proceed(exchange)
        found = cache.find(exchange)
        metrics.count(CACHE_LOOKUPS, "miss" if found is None else "hit")
        return proceed(exchange) if found is None else answered(_repeated(exchange, found))

    return look


def _repeated(exchange: Exchange, found: CachedAnswer) -> Response:
    exchange.rung, exchange.repeated = CACHE, found.rung
    if found.rung == INCUMBENT:
        exchange.upstream = CACHE
        if exchange.task is not None and exchange.task.is_in_force(exchange.at):
            exchange.selection = "escalated"
    headers = [
        (b"x-stepdown-id", exchange.id.encode()),
        (b"x-stepdown-rung", CACHE.encode()),
        (b"x-stepdown-task", header_text(exchange.task.name if exchange.task else "")),
    ]
    if found.certificate:
        headers.append((b"x-stepdown-certificate", found.certificate[:16].encode()))
    return wire_response(exchange, found.body, headers)
