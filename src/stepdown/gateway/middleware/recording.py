"""What became of every exchange, handed to the recorder before the client has the last byte, or when it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from stepdown.gateway.direct_call import DirectCall
from stepdown.gateway.exchange import FAILED, Exchange, Middleware, Next
from stepdown.gateway.http.messages import PendingResponse, Response

MAX_KEPT_BYTES = 16 << 20
"""Of one answer; what comes after it is passed on and not recorded."""


class Recording(Protocol):
    """What recording asks of the recorder. cut: why everything ends now, "" while it may go on."""

    under_way: int
    cut: str

    def keep(self, exchange: Exchange) -> Awaitable[object] | None:
        """Takes a finished exchange. What is returned, if anything, must be over before the last byte goes out."""


def recording(recorder: Recording, clock: Callable[[], float], heard: Callable[[Exchange], None]) -> Middleware:
    """Record every exchange once: whole answers before they go out, streams before the piece with the wire's own end
    does, else when their source ends or the client has gone. heard: told of each, too."""

    def keep(exchange: Exchange, error: BaseException | None = None) -> Awaitable[object] | None:
        if error is not None and not exchange.error:
            exchange.error = _ended(error, recorder.cut)
        exchange.latency_s = clock() - exchange.started
        heard(exchange)
        return recorder.keep(exchange)

    def record(exchange: Exchange, proceed: Next) -> PendingResponse | Awaitable[Response]:
        recorder.under_way += 1
        try:
            answer = proceed(exchange)
        except BaseException as error:
            keep(exchange, error)
            raise
        if not isinstance(answer, DirectCall):
            return recorded(exchange, answer)
        answer.keep, answer.recorded = keep, recorded
        return answer

    async def recorded(exchange: Exchange, answer: Awaitable[Response]) -> Response:
        try:
            response = await answer
        except BaseException as error:
            if not exchange.upstream:
                exchange.rung = FAILED  # Nobody has answered: neither a student nor the incumbent.
            keep(exchange, error)
            raise
        exchange.status = response.status
        if isinstance(response.body, bytes):
            if not exchange.reply:
                exchange.reply = response.body
            waiting = keep(exchange)
            if waiting is not None:
                await waiting
        else:
            exchange.streamed = True
            response.body = _observed(exchange, response.body, keep, clock)
        return response

    return record


async def _observed(
    exchange: Exchange,
    body: AsyncIterator[bytes],
    keep: Callable[[Exchange, BaseException | None], Awaitable[object] | None],
    clock: Callable[[], float],
) -> AsyncIterator[bytes]:
    exchange.reply = pieces = []
    size = 0
    is_kept = False
    try:
        async for piece in body:
            if exchange.first_byte_s is None:
                exchange.first_byte_s = clock() - exchange.started
            size += len(piece)
            if size <= MAX_KEPT_BYTES:
                pieces.append(piece)
            elif not exchange.error:
                exchange.error = "the answer was too long to be recorded"
            if exchange.whole and not is_kept:  # What follows the wire's own end says nothing.
                is_kept = True
                await (keep(exchange, None) or _nothing())
            yield piece
        if not is_kept:
            is_kept = True
            await (keep(exchange, None) or _nothing())
    except BaseException as error:
        if not is_kept:
            keep(exchange, error)
        raise
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


async def _nothing() -> None:
    """Nothing has to be waited for."""


def _ended(error: BaseException, cut: str) -> str:
    """Why an exchange ended early: a client that goes away cancels its request or closes its stream."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return cut or "the client went away"
    return f"{type(error).__name__}: {error}"[:300]
