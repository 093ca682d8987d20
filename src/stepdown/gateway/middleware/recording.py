"""What became of every exchange, handed to the recorder when the client has its answer or has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from stepdown.gateway.exchange import FAILED, Exchange, Middleware, Next
from stepdown.gateway.http.messages import Response

MAX_KEPT_BYTES = 16 << 20
"""Of one answer; what comes after it is passed on and not recorded."""


class Recording(Protocol):
    """What recording asks of the recorder."""

    @property
    def is_behind(self) -> bool: ...
    async def room(self) -> None: ...


Keep = Callable[[Exchange], None]
"""Takes a finished exchange; costs a few microseconds."""


def recording(recorder: Recording, keep: Keep, clock: Callable[[], float]) -> Middleware:
    """Record every exchange once, streams when their last piece has gone out or the client has gone."""

    async def record(exchange: Exchange, proceed: Next) -> Response:
        if recorder.is_behind:
            await recorder.room()
        try:
            response = await proceed(exchange)
        except BaseException as error:
            exchange.error = exchange.error or _ended(error)
            if not exchange.upstream:
                exchange.rung = FAILED  # Nobody has answered: neither a student nor the incumbent.
            exchange.latency_s = clock() - exchange.started
            keep(exchange)
            raise
        exchange.status = response.status
        if isinstance(response.body, bytes):
            if not exchange.reply:
                exchange.reply = response.body
            exchange.latency_s = clock() - exchange.started
            keep(exchange)
        else:
            exchange.streamed = True
            response.body = _observed(exchange, response.body, keep, clock)
        return response

    return record


async def _observed(
    exchange: Exchange, body: AsyncIterator[bytes], keep: Keep, clock: Callable[[], float]
) -> AsyncIterator[bytes]:
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in body:
            if exchange.first_byte_s is None:
                exchange.first_byte_s = clock() - exchange.started
            size += len(piece)
            if size <= MAX_KEPT_BYTES:
                pieces.append(piece)
            elif not exchange.error:
                exchange.error = "the answer was too long to be recorded"
            yield piece
    except BaseException as error:
        exchange.error = exchange.error or _ended(error)
        raise
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
        exchange.reply = pieces
        exchange.latency_s = clock() - exchange.started
        keep(exchange)


def _ended(error: BaseException) -> str:
    """Why an exchange ended early: a client that goes away cancels its request or closes its stream."""
    gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return "the client went away" if gone else f"{type(error).__name__}: {error}"[:300]
