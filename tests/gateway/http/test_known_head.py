"""Heads that were read before: what is told from their bytes is what the parser would have read."""

from __future__ import annotations

import random

import pytest

from stepdown.gateway.http.known_head import known_head
from stepdown.gateway.http.messages import Request, Response
from tests.gateway.http.conftest import Run
from tests.gateway.http.sockets import Served, serving

HEAD = b"POST /x HTTP/1.1\r\nhost: h\r\nContent-Length: 4\r\nx-say: a\r\n\r\n"


def test_a_head_is_known_again_with_another_length() -> None:
    head = known_head(HEAD + b"body", 3)
    assert head is not None
    assert head.split(HEAD + b"else") == (b"4", b"else")
    assert head.split(HEAD.replace(b"4", b"11") + b"hello world") == (b"11", b"hello world")


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"bod",
        HEAD + b"body and more",
        HEAD.replace(b"4", b"04") + b"body",
        HEAD.replace(b"4", b"+4") + b"body",
        HEAD.replace(b"4", b"4 ") + b"body",
        HEAD.replace(b"4", b"") + b"body",
        HEAD.replace(b"4", b"0"),
        HEAD.replace(b"4", b"4\r\ncontent-length: 4") + b"body",
        HEAD.replace(b"4", b"4\r\ntransfer-encoding: chunked") + b"body",
        HEAD.replace(b"x-say: a", b"x-say: b") + b"body",
        HEAD[:20],
        b"",
    ],
)
def test_anything_else_is_the_parsers(data: bytes) -> None:
    head = known_head(HEAD + b"body", 3)
    assert head is not None
    assert head.split(data) is None


@pytest.mark.parametrize(
    ("head", "headers"),
    [
        (b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n", 1),
        (HEAD, 2),
        (HEAD, 4),
        (HEAD.replace(b"\r\nx-say", b"\nx-say"), 3),
        (HEAD.replace(b"4\r\n", b"4\r\nContent-Length: 4\r\n"), 4),
        (HEAD.replace(b": 4", b":\t4"), 3),
        (HEAD.replace(b"x-say: a", b"x-say: " + b"a" * 5000), 3),
    ],
)
def test_a_head_that_could_be_read_otherwise_is_not_kept(head: bytes, headers: int) -> None:
    assert known_head(head + b"body", headers) is None


def test_requests_on_a_kept_connection_are_read_as_by_the_parser(run: Run) -> None:
    generator = random.Random(5)

    async def echo(request: Request) -> Response:
        said = [request.method, request.path, request.query, sorted(request.headers.items())]
        return Response(200, [], repr(said).encode() + request.body)

    def request(last: bool) -> bytes:
        body = generator.choice((b"", b"POST /x HTTP/1.1\r\n\r\n", b"x" * generator.randrange(12)))
        lines = [b"POST %b HTTP/1.1" % generator.choice((b"/x", b"/y?q=1")), b"host: h"]
        lines.append(b"content-length: %d" % len(body))
        lines += generator.choice(([], [b"x-say: a"], [b"x-say: a", b"x-say: b"], [b"expect: 100-continue"]))
        lines += [b"connection: close"] if last else []
        return b"\r\n".join([*lines, b"", body])

    async def answers(served: Served, requests: list[bytes], size: int) -> bytes:
        reader, writer = await served.connect()
        for each in requests:
            for start in range(0, len(each), size):
                writer.write(each[start : start + size])
                await writer.drain()
                if size == 1:
                    continue
                # Whole requests come one by one, as a client that waits for its answer sends them.
                head = await reader.readuntil(b"\r\n\r\n")
                while head.startswith(b"HTTP/1.1 100"):
                    head = await reader.readuntil(b"\r\n\r\n")
                said.append(head + await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0])))
        rest = await reader.read(-1)
        writer.close()
        return rest

    async def main() -> None:
        async with serving(echo) as served:
            for _ in range(20):
                requests = [request(last=number == 11) for number in range(12)]
                said.clear()
                assert await answers(served, requests, 1 << 16) == b""
                by_byte = await answers(served, requests, 1)
                assert b"".join(said) == by_byte.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")

    said: list[bytes] = []
    run(main())
