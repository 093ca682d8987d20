"""An exact repetition of a request, answered from memory where its task wants that."""

from __future__ import annotations

import msgspec

from stepdown.gateway.answers import EVENT_STREAM, JSON, header_text
from stepdown.gateway.cache import AnswerCache, CachedAnswer
from stepdown.gateway.exchange import CACHE, Exchange, Middleware, Next
from stepdown.gateway.http.messages import Response
from stepdown.gateway.metric_names import CACHE_LOOKUPS
from stepdown.gateway.metrics import Metrics

_encode = msgspec.json.Encoder().encode


def caching(cache: AnswerCache, metrics: Metrics) -> Middleware:
    """Answer from the cache, or proceed. It stands behind admission: who may not ask gets no cached answer either."""

    async def look(exchange: Exchange, proceed: Next) -> Response:
        task = exchange.task
        if task is None or task.cache_s <= 0:
            return await proceed(exchange)
        found = cache.find(exchange)
        metrics.count(CACHE_LOOKUPS, "miss" if found is None else "hit")
        return await proceed(exchange) if found is None else _answered(exchange, found)

    return look


def _answered(exchange: Exchange, found: CachedAnswer) -> Response:
    exchange.rung = CACHE
    headers = [
        (b"x-stepdown-id", exchange.id.encode()),
        (b"x-stepdown-rung", CACHE.encode()),
        (b"x-stepdown-task", header_text(exchange.task.name if exchange.task else "")),
    ]
    if found.certificate:
        headers.append((b"x-stepdown-certificate", found.certificate[:16].encode()))
    exchange.reply = _encode(found.body)
    if not exchange.wants_stream:
        return Response(200, [JSON, *headers], exchange.reply)
    options = exchange.body.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    pieces = exchange.wire.stream_of(found.body, usage)
    return Response(200, [EVENT_STREAM, (b"cache-control", b"no-cache"), *headers], b"".join(pieces))
