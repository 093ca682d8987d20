"""Both ends of a connection in the raw: servers that follow a script, clients that say any bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.http.server import AdmitHead, HttpServer, ServerLimits

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE_S = 60.0
"""Longer than anything here takes on a machine that has much else to do."""
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Scripted:
    """A server whose n-th connection follows the n-th script, the last script serving all that come after."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self.connections = 0
        self.closed = 0
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.closed += 1
            writer.close()


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[Scripted]:
    served = Scripted(scripts)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request with its body. Raises IncompleteReadError where there is none."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
    return head + await reader.readexactly(int(length.split(b":")[1]))


def saying(*answers: bytes, then_close: bool = False, pause_s: float = 0.0) -> Script:
    """Answers each request with the next of `answers`, the last for ever; or closes after them."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            await asyncio.sleep(pause_s)
            writer.write(answer)
            await writer.drain()
        while not then_close:
            await read_request(reader)
            writer.write(answers[-1])

    return script


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything, says nothing, until the other side closes."""
    while await reader.read(65536):
        pass


async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request and closes."""
    await read_request(reader)


def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def plain_error(path: str, status: int, message: str) -> Response:
    return Response(status, [(b"content-type", b"text/plain")], f"{path} {message}".encode())


class Served:
    """A running HttpServer, and what one may say to it."""

    def __init__(self, server: HttpServer, port: int) -> None:
        self.server, self.port = server, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Everything the server answers to these bytes until it closes."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        answer = await reader.read(-1)
        writer.close()
        return answer


@asynccontextmanager
async def serving(
    handler: Callable[[Request], Awaitable[Response]],
    limits: ServerLimits | None = None,
    admit_head: AdmitHead | None = None,
) -> AsyncIterator[Served]:
    server = HttpServer(handler, plain_error, limits, admit_head)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await server.start(listener)
    try:
        yield Served(server, listener.getsockname()[1])
    finally:
        await server.drain(0.0)


def until(awaitable: Any, seconds: float = PATIENCE_S) -> Any:
    """A guard against hanging for ever; no test means to reach it."""
    return asyncio.wait_for(awaitable, seconds)


async def settled(holds: Callable[[], bool]) -> bool:
    """Whether something comes true before it never will."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_S
    while not (held := holds()) and loop.time() < end:
        await asyncio.sleep(0.01)
    return held
