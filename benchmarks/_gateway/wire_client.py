"""A client that takes HTTP literally: it sees whether an answer was whole, and can leave in the middle of one."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

ANSWER_WITHIN_S = 60.0


@dataclass
class Answer:
    """status: 0 where no answer was begun. whole: whether it ended as HTTP says that it must."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    late: bool = False


class Client:
    """One kept connection, opened anew when it is lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, path: str, body: bytes, headers: dict[str, str], leave_after: int = 0) -> Answer:
        """leave_after: bytes of the answer's body after which the connection is cut, 0 for never."""
        lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return await self.say("\r\n".join([*lines, "", ""]).encode() + body, leave_after)

    async def say(self, raw: bytes, leave_after: int = 0) -> Answer:
        """Any bytes, and what comes back."""
        answer = Answer()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._exchange(raw, answer, leave_after)
        except TimeoutError:
            answer.late = True
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        if not answer.whole or answer.headers.get("connection") == "close":
            self.leave()
        return answer

    def leave(self) -> None:
        """Cut the connection without a word."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _exchange(self, raw: bytes, answer: Answer, leave_after: int) -> None:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        reader = self._reader
        self._writer.write(raw)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer.status = int(head[0].split(" ", 2)[1])
        answer.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        if "content-length" in answer.headers:
            answer.body = await reader.readexactly(int(answer.headers["content-length"]))
            answer.whole = True
            return
        while size := int((await reader.readline()).strip(), 16):
            answer.body += await reader.readexactly(size)
            await reader.readexactly(2)
            if leave_after and len(answer.body) >= leave_after:
                return
        await reader.readexactly(2)
        answer.whole = True


async def half_a_request(port: int) -> None:
    """Begin a request, and go."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()
