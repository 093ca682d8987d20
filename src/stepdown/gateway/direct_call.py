"""A plain request on its way to the first upstream and back, without a task of the event loop.

Most of what passes through a gateway is such a request: no student may answer it, it wants no stream, and a connection
is free. An answer that is not whole and good is gone on with in a task, where it is judged and asked again as any.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.messages import PendingResponse, Response, UnfinishedStream

log = logging.getLogger("stepdown.gateway")


class DirectlyAsked(Protocol):
    """What a direct call asks of the incumbent's side."""

    def taken(self, exchange: Exchange) -> Reply | None:
        """The answer to what was begun, whole and good; None for any other."""

    def abandoned(self, exchange: Exchange) -> None:
        """Nobody waits for the answer any more."""


Keep = Callable[[Exchange, BaseException | None], Awaitable[object] | None]


class DirectCall(PendingResponse):
    """headers: what is said of the answer beside the upstream's own. go_on: answers in a task. keep, recorded: see
    `middleware.recording`."""

    __slots__ = ("_exchange", "_go_on", "_headers", "_incumbent", "keep", "recorded")

    keep: Keep
    recorded: Callable[[Exchange, Awaitable[Response]], Awaitable[Response]]

    def __init__(
        self,
        exchange: Exchange,
        incumbent: DirectlyAsked,
        headers: Callable[[Exchange], list[tuple[bytes, bytes]]],
        go_on: Callable[[Exchange], Awaitable[Response]],
    ) -> None:
        self._exchange, self._incumbent, self._headers, self._go_on = exchange, incumbent, headers, go_on

    def came(self) -> None:
        """The upstream's answer is there, or some of it, or none will come."""
        exchange = self._exchange
        try:
            reply = self._incumbent.taken(exchange)
        except Exception:  # the outermost boundary of one request, as in http/connection.py
            log.exception("a request failed")
            self.done(self.recorded(exchange, _failed()))
            return
        if reply is None:
            self.done(self.recorded(exchange, self._go_on(exchange)))
            return
        assert isinstance(reply.body, bytes)
        response = Response(reply.status, reply.headers + self._headers(exchange), reply.body)
        exchange.status, exchange.reply = reply.status, reply.body
        waiting = self.keep(exchange, None)
        self.done(response if waiting is None else _after(waiting, response))

    def cancel(self) -> None:
        self._incumbent.abandoned(self._exchange)
        self.keep(self._exchange, asyncio.CancelledError())


async def _after(waiting: Awaitable[object], response: Response) -> Response:
    await waiting
    return response


async def _failed() -> Response:
    raise UnfinishedStream("the gateway failed")
