"""An HTTP/1.1 server on asyncio and llhttp (httptools): keep-alive, pipelining, streams, limits, drain.

Measured against a general server and client library as a bare proxy (docs/log.md); it is why this is ours.
Source of the rules: RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

from stepdown.gateway.http.connection import AdmitHead, Connection, Handler, OnError, ServerLimits

__all__ = ["AdmitHead", "Handler", "HttpServer", "OnError", "ServerLimits"]

_SWEEP_S = 0.5


class HttpServer:
    """Serves one handler. `start`, then `drain` to end: what is under way is finished, nothing new is taken."""

    def __init__(
        self,
        handler: Handler,
        on_error: OnError,
        limits: ServerLimits | None = None,
        admit_head: AdmitHead | None = None,
    ) -> None:
        self.handler, self.on_error, self.limits = handler, on_error, limits or ServerLimits()
        self.admit_head = admit_head
        self.connections: set[Connection] = set()
        self.clients: Counter[str] = Counter()
        self.body_bytes = 0
        self.large_turn = asyncio.Lock()
        self.draining = False
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Take connections from a bound socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self, loop), sock=listener, backlog=2048)
        self._sweeper = loop.create_task(self._sweep(loop))

    async def drain(self, within_s: float) -> int:
        """Stop listening, let requests under way end. Returns how many had to be cut off after `within_s`."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        for connection in list(self.connections):
            connection.close_when_idle()
        while self.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        cut = sum(connection.busy for connection in self.connections)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return cut

    @property
    def busy(self) -> int:
        """Requests under way."""
        return sum(connection.busy for connection in self.connections)

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: a timer for each request would cost more than the request."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = loop.time()
            for connection in list(self.connections):
                if connection.deadline < now:
                    connection.too_slow()
