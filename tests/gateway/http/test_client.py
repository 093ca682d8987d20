"""The client against real servers, well and ill behaved."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepdown.core.errors import UsageError
from stepdown.gateway.http.client import HttpPool, Origin, parse_origin
from stepdown.gateway.http.messages import BrokenReply, ConnectFailed, Saturated, TimedOut
from tests.gateway.http.conftest import Run
from tests.gateway.http.sockets import OK, Scripted, read_request, saying, scripted, settled, silence, slam, unused_port


def pool_to(server: Scripted, **options: Any) -> HttpPool:
    return HttpPool(parse_origin(server.url), **options)


async def ask(pool: HttpPool, body: bytes = b"{}", method: str = "POST", wait_s: float = 10.0) -> tuple[int, bytes]:
    response = await pool.send(method, "/x", [(b"a", b"b")], body, wait_s, wait_s)
    return response.status, await response.read()


def answered(run: Run, *answers: bytes, then_close: bool = False, method: str = "POST") -> tuple[int, bytes]:
    """Status and body that come of what a server says to the first request."""

    async def main() -> Any:
        async with scripted(saying(*answers, then_close=then_close)) as server:
            pool = pool_to(server)
            try:
                return await ask(pool, method=method)
            finally:
                await pool.close()

    status, body = run(main())
    return status, body


def test_a_request_goes_out_as_given_and_connections_are_kept(run: Run) -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                server.requests.append(await read_request(reader))
                writer.write(OK)

        async with scripted(script) as server:
            pool = HttpPool(parse_origin(server.url + "/base/"))
            for _ in range(3):
                assert await ask(pool, b"body") == (200, b"ok")
            assert server.connections == pool.open_connections == 1
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
            assert head.split(b"\r\n") == [
                b"POST /base/x HTTP/1.1",
                b"host: 127.0.0.1:%d" % server.port,
                b"a: b",
                b"content-length: 4",
            ]
            assert body == b"body"
            await pool.close()

    run(main())


def test_requests_at_once_have_connections_of_their_own_and_answers_are_not_mixed(run: Run) -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                body = (await read_request(reader)).rpartition(b"\r\n\r\n")[2]
                await asyncio.sleep(0.001)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

        async with scripted(script) as server:
            pool = pool_to(server)
            bodies = [b"%d" % number for number in range(60)]
            assert await asyncio.gather(*(ask(pool, body) for body in bodies)) == [(200, body) for body in bodies]
            assert await asyncio.gather(*(ask(pool, body) for body in bodies)) == [(200, body) for body in bodies]
            assert server.connections <= 60
            await pool.close()

    run(main())


def test_a_kept_connection_that_went_stale_is_replaced(run: Run) -> None:
    async def main() -> None:
        async def dies_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            await read_request(reader)

        async with scripted(dies_at_the_second, saying(OK)) as server:
            pool = pool_to(server)
            assert await ask(pool) == (200, b"ok")
            assert await ask(pool) == (200, b"ok")
            assert server.connections == 2
            await pool.close()

    run(main())


def test_a_fresh_connection_that_closes_without_a_word_is_an_error(run: Run) -> None:
    async def main() -> None:
        async with scripted(slam) as server:
            pool = pool_to(server)
            with pytest.raises(BrokenReply, match="without an answer"):
                await ask(pool)
            assert server.connections == 1
            await pool.close()

    run(main())


def test_chunks_trailers_and_length_and_end_by_close(run: Run) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-late: 1\r\n\r\n"
    assert answered(run, chunked) == (200, b"abcde")
    assert answered(run, b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n") == (404, b"")
    assert answered(run, b"HTTP/1.0 200 OK\r\n\r\nuntil the end", then_close=True) == (200, b"until the end")
    assert answered(run, b"HTTP/1.1 204 No Content\r\n\r\n") == (204, b"")


def test_heads_before_the_answer_are_passed_over(run: Run) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    assert answered(run, early + OK) == (200, b"ok")


def test_an_answer_to_head_has_a_length_and_no_body(run: Run) -> None:
    assert answered(run, b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n", method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"<html>not http</html>",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * (300 << 10) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60000 + b"\r\n",
    ],
)
def test_answers_that_are_cut_or_no_http_are_errors(run: Run, broken: bytes) -> None:
    with pytest.raises(BrokenReply):
        answered(run, broken, then_close=True)


def test_words_after_an_answer_cost_the_connection_and_nothing_else(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(OK + OK), saying(OK)) as server:
            pool = pool_to(server)
            assert await ask(pool) == (200, b"ok")
            assert await ask(pool) == (200, b"ok")
            assert server.connections == 2
            await pool.close()

    run(main())


def test_words_that_nobody_asked_for_cost_an_idle_connection(run: Run) -> None:
    async def main() -> None:
        async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
            await silence(reader, writer)

        async with scripted(talks, saying(OK)) as server:
            pool = pool_to(server)
            assert await ask(pool) == (200, b"ok")
            assert await settled(lambda: pool.open_connections == 0)
            assert await ask(pool) == (200, b"ok")
            assert server.connections == 2
            await pool.close()

    run(main())


def test_connection_close_is_heeded(run: Run) -> None:
    async def main() -> None:
        closing = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
        async with scripted(saying(closing)) as server:
            pool = pool_to(server)
            for _ in range(3):
                assert await ask(pool) == (200, b"ok")
            assert server.connections == 3
            assert await settled(lambda: pool.open_connections == 0)
            await pool.close()

    run(main())


def test_no_connection_is_told_from_no_answer(run: Run) -> None:
    async def main() -> None:
        pool = HttpPool(Origin("127.0.0.1", unused_port(), tls=False))
        with pytest.raises(ConnectFailed):
            await ask(pool)
        nowhere = HttpPool(Origin("no-such-host.invalid", 80, tls=False))
        with pytest.raises(ConnectFailed):
            await ask(nowhere)
        await pool.close()
        await nowhere.close()

    run(main())


def test_plain_words_to_a_tls_client_fail_to_connect(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(OK, then_close=True), slam) as server:
            pool = HttpPool(Origin("127.0.0.1", server.port, tls=True), connect_s=0.2)
            with pytest.raises((ConnectFailed, TimedOut)):
                await ask(pool)
            await pool.close()

    run(main())


def test_times_to_the_first_byte_and_to_the_end(run: Run) -> None:
    async def main() -> None:
        async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            await silence(reader, writer)

        async def trickles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with scripted(silence, stalls, trickles) as server:
            pool = pool_to(server, sweep_s=0.02)
            with pytest.raises(TimedOut, match="begin") as late:
                await ask(pool, wait_s=0.05)
            assert late.value.retriable
            for _ in range(2):
                with pytest.raises(TimedOut, match="end") as endless:
                    await ask(pool, wait_s=0.1)
                assert not endless.value.retriable
            assert await settled(lambda: pool.open_connections == 0 and server.closed == 3)
            await pool.close()

    run(main())


def test_an_answer_larger_than_the_reader_wants_is_refused(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100000)) as server:
            pool = pool_to(server)
            response = await pool.send("GET", "/x", [], b"", 5, 5)
            with pytest.raises(BrokenReply) as error:
                await response.read(limit=1000)
            assert not error.value.retriable
            await pool.close()

    run(main())


def test_a_large_answer_comes_whole_and_a_slow_reader_holds_the_server_back(run: Run) -> None:
    size = 24 << 20
    sent = 0

    async def main() -> None:
        async def pours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size >> 16):
                writer.write(b"x" * 65536)
                sent += 65536
                await writer.drain()
            await silence(reader, writer)

        async with scripted(pours) as server:
            pool = pool_to(server)
            response = await pool.send("GET", "/x", [], b"", 20, 20)
            pieces = response.pieces()
            got = len(await anext(pieces))
            await asyncio.sleep(0.3)
            assert sent < size
            async for piece in pieces:
                got += len(piece)
            assert got == size
            await pool.close()

    run(main())


def test_leaving_a_stream_or_being_cancelled_closes_the_connection(run: Run) -> None:
    async def main() -> None:
        async def streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
            await silence(reader, writer)

        async with scripted(streams, streams, silence) as server:
            pool = pool_to(server)
            response = await pool.send("POST", "/x", [], b"", 5, 5)
            pieces = response.pieces()
            assert await anext(pieces) == b"a"
            await pieces.aclose()
            assert await settled(lambda: server.closed == 1)
            response = await pool.send("POST", "/x", [], b"", 5, 5)
            response.close()
            assert await settled(lambda: server.closed == 2)
            task = asyncio.create_task(ask(pool))
            assert await settled(lambda: server.connections == 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await settled(lambda: server.closed == 3)
            assert await settled(lambda: pool.open_connections == 0)
            await pool.close()

    run(main())


def test_closing_the_pool_tells_those_who_wait(run: Run) -> None:
    async def main() -> None:
        async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            await silence(reader, writer)

        async with scripted(silence, half) as server:
            pool = pool_to(server)
            waits = [asyncio.create_task(ask(pool)) for _ in range(2)]
            assert await settled(lambda: server.connections == 2)
            await pool.close()
            results = await asyncio.gather(*waits, return_exceptions=True)
            assert [type(result) for result in results] == [BrokenReply, BrokenReply]

    run(main())


def test_a_full_pool_makes_requests_wait_and_says_so_when_it_takes_too_long(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(OK, pause_s=0.02)) as server:
            pool = pool_to(server, most=2)
            assert await asyncio.gather(*(ask(pool) for _ in range(10))) == [(200, b"ok")] * 10
            assert server.connections == 2
            await pool.close()
        async with scripted(silence) as server:
            pool = pool_to(server, most=1, connect_s=0.5)
            first = asyncio.create_task(ask(pool))
            assert await settled(lambda: server.connections == 1)
            with pytest.raises(Saturated):
                await ask(pool)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await pool.close()

    run(main())


def test_room_given_to_one_who_was_cancelled_goes_to_the_next(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(OK, pause_s=0.05)) as server:
            pool = pool_to(server, most=1, connect_s=5)
            first = asyncio.create_task(ask(pool))
            await asyncio.sleep(0.01)
            second, third = asyncio.create_task(ask(pool)), asyncio.create_task(ask(pool))
            first.add_done_callback(lambda _: second.cancel())
            assert await first == (200, b"ok")
            assert await third == (200, b"ok")
            await asyncio.gather(second, return_exceptions=True)
            await pool.close()

    run(main())


def test_idle_connections_are_closed_after_a_while(run: Run) -> None:
    async def main() -> None:
        async with scripted(saying(OK)) as server:
            pool = pool_to(server, idle_s=0.05, sweep_s=0.02)
            assert await ask(pool) == (200, b"ok")
            assert await settled(lambda: pool.open_connections == 0 and server.closed == 1)
            assert await ask(pool) == (200, b"ok")
            await pool.close()

    run(main())


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://127.0.0.1:8000/v1/", Origin("127.0.0.1", 8000, False, "/v1"), b"127.0.0.1:8000"),
        ("https://api.openai.com", Origin("api.openai.com", 443, True, ""), b"api.openai.com"),
        ("http://[::1]:81/a/b", Origin("::1", 81, False, "/a/b"), b"[::1]:81"),
        ("https://bücher.example/v1", Origin("bücher.example", 443, True, "/v1"), b"xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_read_from_a_url(url: str, origin: Origin, authority: bytes) -> None:
    assert parse_origin(url) == origin
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/y",
        "localhost:8000",
        "http://",
        "http://h:99999",
        "http://u:secret@h/",
        "http://h/?q=1",
        "http://[::1",
    ],
)
def test_what_is_no_origin_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_origin(url)
    assert "secret" not in str(error.value)
