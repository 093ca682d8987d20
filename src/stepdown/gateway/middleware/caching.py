"""An exact repetition answered from memory, for the tasks whose settings ask for it."""

from __future__ import annotations

from stepdown.gateway.answers import header_text, wire_response
from stepdown.gateway.cache import AnswerCache
from stepdown.gateway.exchange import CACHE, Exchange, Middleware, Next
from stepdown.gateway.http.messages import Response
from stepdown.gateway.metric_names import CACHE_LOOKUPS
from stepdown.gateway.metrics import Metrics


def caching(cache: AnswerCache, metrics: Metrics) -> Middleware:
    """Answers are put into the cache by the recorder, when they are known to be whole and good."""

    async def cached(exchange: Exchange, proceed: Next) -> Response:
        task = exchange.task
        if task is None or task.cache_s <= 0:
            return await proceed(exchange)
        found = cache.find(exchange)
        metrics.count(CACHE_LOOKUPS, "miss" if found is None else "hit")
        if found is None:
            return await proceed(exchange)
        exchange.rung = CACHE
        headers = [
            (b"x-stepdown-id", exchange.id.encode()),
            (b"x-stepdown-task", header_text(task.name)),
            (b"x-stepdown-rung", CACHE.encode()),
            (b"x-stepdown-cached-rung", found.rung.encode()),
        ]
        if found.certificate:
            headers.append((b"x-stepdown-certificate", found.certificate[:16].encode()))
        return wire_response(exchange, found.body, headers)

    return cached
