"""Upstreams that mean harm: what they send is bounded, and read in one way alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepdown.gateway.http.client import HttpPool, parse_origin
from stepdown.gateway.http.messages import BrokenReply
from tests.gateway.http.conftest import Run
from tests.gateway.http.sockets import OK, read_request, saying, scripted, settled
from tests.gateway.http.test_client import answered, ask, pool_to

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

ENDLESS = {
    "a trailer": (HEAD + b"2\r\nok\r\n0\r\nx: ", b"a" * 8192),
    "trailers": (HEAD + b"2\r\nok\r\n0\r\n", b"x: y\r\n" * 1000),
    "an extension": (HEAD + b"1;a=", b"a" * 8192),
    "extensions of small chunks": (HEAD, b"1;a=%b\r\nx\r\n" % (b"a" * 4000)),
    "digits of a size": (HEAD, b"0" * 8192),
    "a header": (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 8192),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000),
    "empty headers": (b"HTTP/1.1 200 OK\r\n", b"x:\r\n" * 1000),
    "a reason": (b"HTTP/1.1 200 ", b"O" * 8192),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100),
    "empty lines": (b"", b"\r\n" * 4096),
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_has_no_end_is_cut_off(run: Run, pieces: tuple[bytes, bytes]) -> None:
    async def main() -> None:
        sent = 0

        async def pours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await read_request(reader)
            writer.write(pieces[0])
            while True:
                writer.write(pieces[1])
                sent += len(pieces[1])
                await writer.drain()

        async with scripted(pours, saying(OK)) as server:
            pool = pool_to(server)
            with pytest.raises(BrokenReply):
                await ask(pool)
            assert await settled(lambda: pool.open_connections == 0 and server.closed == 1)
            assert sent < 120 << 20
            assert await ask(pool) == (200, b"ok")
            await pool.close()

    run(main())


def test_trailers_do_not_become_headers(run: Run) -> None:
    async def main() -> Any:
        raw = HEAD + b"2\r\nok\r\n0\r\nx-late: 1\r\ncontent-type: text/html\r\n\r\n"
        async with scripted(saying(raw)) as server:
            pool = HttpPool(parse_origin(server.url))
            response = await pool.send("GET", "/x", [], b"", 5, 5)
            assert await response.read() == b"ok"
            assert response.headers == [(b"transfer-encoding", b"chunked")]
            await pool.close()

    run(main())


def test_chunks_of_a_byte_come_together(run: Run) -> None:
    """Each by itself would pass through every layer of the gateway."""

    async def main() -> None:
        body = bytes(range(256)) * 400
        chunks = b"".join(b"1\r\n%c\r\n" % one for one in body)
        async with scripted(saying(HEAD + chunks + b"0\r\n\r\n")) as server:
            pool = pool_to(server)
            response = await pool.send("GET", "/x", [], b"", 20, 20)
            pieces = [piece async for piece in response.pieces()]
            assert b"".join(pieces) == body
            assert len(pieces) < 2000
            assert await ask(pool) == (200, body)
            assert server.connections == 1
            await pool.close()

    run(main())


def test_what_came_before_an_answer_broke_is_still_given(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(HEAD + b"5\r\nfirst\r\nzz\r\n")) as server:
            pool = pool_to(server)
            response = await pool.send("GET", "/x", [], b"", 5, 5)
            pieces = response.pieces()
            assert await anext(pieces) == b"first"
            with pytest.raises(BrokenReply):
                await anext(pieces)
            await pool.close()

    run(main())


def test_an_answer_that_is_no_answer_to_the_next_request(run: Run) -> None:
    """A second answer behind the first, however it is cut, goes to nobody."""

    async def main() -> None:
        poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
        for padding in (0, 4000, 4096, 70_000):
            first = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (padding, b"x" * padding)
            async with scripted(saying(first + poison), saying(OK)) as server:
                pool = pool_to(server)
                assert await ask(pool) == (200, b"x" * padding)
                assert await ask(pool) == (200, b"ok")
                await pool.close()

    run(main())


def test_a_body_with_length_and_chunks_is_refused(run: Run) -> None:
    with pytest.raises(BrokenReply):
        answered(run, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
