"""An upstream that answers with the bytes that the request's model names, or after 200 ms with an answer like any.

usage: python -m benchmarks._gateway.raw_upstream PORT

Models: "reply:NAME" and "endless:NAME" of the catalogue, "fuzz:SEED" of the grammar, "fixed", "slow" (200 ms to the
answer, or to a stream's first event).
"""

from __future__ import annotations

import asyncio
import random
import re
import sys

import uvloop

from benchmarks._gateway import raw_messages as messages

LATENCY_S = 0.2
MOST_ENDLESS = 1 << 30
PLAIN = messages.OK + b"content-length: %d\r\n\r\n" % len(messages.ANSWER) + messages.ANSWER
LAST_EVENT = messages.EVENT.replace(b'"finish_reason": null', b'"finish_reason": "stop"') + b"data: [DONE]\n\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            model = re.search(rb'"model": ?"([^"]*)"', body)
            await answer(writer, model[1].decode() if model else "fixed", b'"stream": true' in body)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def answer(writer: asyncio.StreamWriter, model: str, streamed: bool) -> None:
    kind, _, name = model.partition(":")
    if kind == "slow":
        await asyncio.sleep(LATENCY_S)
        if not streamed:
            writer.write(PLAIN)
            return
        writer.write(messages.STREAM)
        for _ in range(4):
            writer.write(messages.chunk(messages.EVENT))
            await asyncio.sleep(0)
        writer.write(messages.chunk(LAST_EVENT) + messages.END)
    elif kind == "reply":
        writer.write(messages.REPLIES[name])
        raise asyncio.IncompleteReadError(b"", None)  # Some end with the connection.
    elif kind == "endless":
        first, more = messages.ENDLESS_REPLIES[name]
        writer.write(first)
        for _ in range(MOST_ENDLESS // len(more)):
            writer.write(more)
            await writer.drain()
    elif kind == "fuzz":
        dice = random.Random(int(name))
        raw = messages.random_reply(dice)
        at = dice.randrange(len(raw) + 1) if dice.random() < 0.3 else len(raw)
        writer.write(raw[:at])
        if at < len(raw):
            await asyncio.sleep(0.01)
            writer.write(raw[at:])
        raise asyncio.IncompleteReadError(b"", None)
    else:
        writer.write(PLAIN)


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=64 << 10)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
