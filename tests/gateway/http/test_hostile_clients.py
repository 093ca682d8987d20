"""Clients that mean harm: what they send is bounded, read in one way alone, and keeps nobody else from being served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stepdown.gateway.http.connection import MAX_PIPELINED
from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.http.server import ServerLimits
from tests.gateway.http.conftest import Run
from tests.gateway.http.sockets import Served, serving, settled
from tests.gateway.http.test_server import GET, LAST, echo, post, said_to, statuses

CHUNKED = b"POST /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"


async def headers(request: Request) -> Response:
    said = b"\n".join(b"%b: %b" % pair for pair in request.headers.items())
    return Response(200, [], said + b"\n\n" + request.body)


async def pour(served: Served, first: bytes, more: bytes, most: int = 20 << 20) -> bytes:
    """What is answered to `first` and then `more` again and again, until the server will have no more of it."""
    reader, writer = await served.connect()
    writer.write(first)
    answer = asyncio.ensure_future(reader.read(-1))
    sent = 0
    try:
        while sent < most and not answer.done():
            writer.write(more)
            sent += len(more)
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    got = await asyncio.gather(answer, return_exceptions=True)
    writer.close()
    assert sent < most, "it took everything"
    return got[0] if isinstance(got[0], bytes) else b""


def test_trailers_are_dropped(run: Run) -> None:
    async def main() -> None:
        async with serving(headers) as served:
            trailers = b"0\r\nx-stepdown-route: students\r\nauthorization: Bearer x\r\nhost: evil\r\n\r\n"
            answer = await served.say(CHUNKED + b"2\r\nhi\r\n" + trailers)
            assert statuses(answer) == [200]
            assert answer.endswith(b"\n\nhi")
            for word in (b"x-stepdown-route", b"authorization", b"evil"):
                assert word not in answer

    run(main())


ENDLESS = {
    "a trailer": (CHUNKED + b"0\r\nx: ", b"a" * 8192),
    "a trailer's name": (CHUNKED + b"0\r\nx", b"a" * 8192),
    "trailers": (CHUNKED + b"0\r\n", b"x: y\r\n" * 1000),
    "trailers of one name": (CHUNKED + b"0\r\n", b"host: y\r\n" * 1000),
    "empty trailers": (CHUNKED + b"0\r\n", b"x:\r\n" * 1000),
    "an extension": (CHUNKED + b"1;a=", b"a" * 8192),
    "extensions": (CHUNKED + b"1", b";a=b" * 2000),
    "an extension of the last chunk": (CHUNKED + b"0;a=", b"a" * 8192),
    "extensions of small chunks": (CHUNKED, b"1;a=%b\r\nx\r\n" % (b"a" * 4000)),
    "digits of a size": (CHUNKED, b"0" * 8192),
    "a header": (b"GET /x HTTP/1.1\r\nhost: h\r\nx: ", b"a" * 8192),
    "headers": (b"GET /x HTTP/1.1\r\nhost: h\r\n", b"x: y\r\n" * 1000),
    "empty headers": (b"GET /x HTTP/1.1\r\nhost: h\r\n", b"x:\r\n" * 1000),
    "a target": (b"GET /", b"a" * 8192),
    "a method": (b"", b"A" * 8192),
    "empty lines": (b"", b"\r\n" * 4096),
    "empty lines after a request": (GET, b"\r\n" * 4096),
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_has_no_end_is_cut_off(run: Run, pieces: tuple[bytes, bytes]) -> None:
    async def main() -> None:
        async with serving(headers) as served:
            answer = await pour(served, *pieces)
            assert [status for status in statuses(answer) if status != 200] in ([431], [414], [400], [])
            assert statuses(await served.say(LAST)) == [200]
            assert await settled(lambda: not served.server.connections and not served.server.body_bytes)

    run(main())


def test_a_body_in_chunks_of_a_byte_comes_whole(run: Run) -> None:
    body = bytes(range(256)) * 200
    chunks = b"".join(b"1\r\n%c\r\n" % one for one in body)
    assert said_to(run, CHUNKED + chunks + b"0\r\n\r\n").endswith(b"POST /x? " + body)
    spaced = b"".join(b"0000001;a=b\r\n%c\r\n" % one for one in body[:500])
    assert said_to(run, CHUNKED + spaced + b"0;last\r\nlate: 1\r\n\r\n").endswith(b"POST /x? " + body[:500])


def test_thousands_of_offers_to_upgrade_are_passed_over(run: Run) -> None:
    offer = b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    assert statuses(said_to(run, offer * 3000 + LAST)) == [200] * 3001


def test_thousands_of_pipelined_requests_are_taken_a_few_at_a_time(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def waits(request: Request) -> Response:
            await go.wait()
            return Response(200, [], b"")

        async with serving(waits) as served:
            answer = asyncio.ensure_future(served.say(GET * 20_000 + LAST))
            assert await settled(lambda: served.server.busy == 1)
            await asyncio.sleep(0.05)
            (connection,) = served.server.connections
            assert connection.waiting <= MAX_PIPELINED + 4096 // len(GET) + 1
            go.set()
            assert statuses(await answer) == [200] * 20_001

    run(main())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 501),
        (b"POST /x HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 501),
        (b"GET /x HTTP/2.0\r\nhost: h\r\n\r\n", 505),
        (b"GET /x HTTP/0.9\r\nhost: h\r\n\r\n", 505),
        (b"GET /x\r\n\r\n", 505),
        (b"GET * HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET http://evil/x HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /a/..%2fb HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET /a?\xff HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    ],
)
def test_what_servers_read_in_different_ways_is_refused(run: Run, raw: bytes, status: int) -> None:
    assert statuses(said_to(run, raw)) == [status]


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            await asyncio.sleep(0.06)
            yield b"piece"

    return Response(200, [], pieces())


def test_a_client_that_closes_its_side_gets_its_answers(run: Run) -> None:
    async def main() -> None:
        async def slow(request: Request) -> Response:
            await asyncio.sleep(0.002)
            return await (stream if request.path == "/s" else echo)(request)

        async with serving(slow, ServerLimits(half_closed_s=10.0)) as served:
            for raw, count in ((GET, 1), (GET * 3, 3), (GET * 300, 300), (GET.replace(b"/x", b"/s"), 1)):
                reader, writer = await served.connect()
                writer.write(raw)
                writer.write_eof()
                answer = await reader.read(-1)
                assert statuses(answer) == [200] * count
                assert b"/s" not in raw or answer.endswith(b"5\r\npiece\r\n0\r\n\r\n")
                writer.close()
            assert await settled(lambda: not served.server.connections)

    run(main())


@pytest.mark.parametrize("raw", [b"", GET[:-2], post(b"body")[:-1], CHUNKED + b"5\r\nab"])
def test_a_client_that_closes_its_side_with_nothing_under_way_is_closed(run: Run, raw: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            tasks = len(asyncio.all_tasks())
            reader, writer = await served.connect()
            writer.write(raw)
            writer.write_eof()
            assert await reader.read(-1) == b""
            writer.close()
            assert await settled(lambda: not served.server.connections and not served.server.body_bytes)
            assert len(asyncio.all_tasks()) == tasks

    run(main())


def no_x(method: str, path: str, headers: dict[bytes, bytes]) -> Response | None:
    return Response(401, [], b"no") if path == "/x" else None


def test_the_head_is_judged_before_the_body_is_read(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, admit_head=no_x) as served:
            reader, writer = await served.connect()
            writer.write(b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n")
            answer = await reader.read(-1)
            assert answer == b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno"
            writer.close()
            good = await served.say(post(b"one", b"/good", close=False) + post(b"two"))
            assert statuses(good) == [200, 401]
            assert served.server.body_bytes == 0

    run(main())


def test_bodies_under_way_are_bounded_all_together_and_small_ones_get_in(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def waits(request: Request) -> Response:
            await go.wait()
            return Response(200, [], b"%d" % len(request.body))

        # Room for two large bodies and, on a busy machine, for what of them was read and is not parsed yet.
        limits = ServerLimits(max_body=4 << 20, max_bodies=9 << 20, body_s=60.0)
        async with serving(waits, limits) as served:
            large = b"x" * (3 << 20)
            first = [asyncio.ensure_future(served.say(post(large))) for _ in range(2)]
            assert await settled(lambda: served.server.busy == 2)
            refused = await served.say(post(large)[:2000])  # By its length: the rest is not waited for.
            assert statuses(refused) == [503]
            assert served.server.body_bytes == 6 << 20
            chunk = b"%x\r\n%b\r\n" % (1 << 20, large[: 1 << 20])
            assert statuses(await pour(served, CHUNKED, chunk)) == [503]
            small = asyncio.ensure_future(served.say(post(b"y" * 100_000)))
            assert await settled(lambda: served.server.busy == 3)
            go.set()
            assert [statuses(answer) for answer in await asyncio.gather(*first, small)] == [[200]] * 3
            assert await settled(lambda: served.server.body_bytes == 0)
            assert statuses(await served.say(post(large))) == [200]

    run(main())


def test_what_waits_to_be_parsed_counts_as_under_way(run: Run) -> None:
    """Else many connections could each have a read of pipelined requests kept for them."""

    async def main() -> None:
        go = asyncio.Event()

        async def waits(request: Request) -> Response:
            await go.wait()
            return Response(200, [], b"")

        async with serving(waits, ServerLimits(max_bodies=256 << 10, half_closed_s=60.0)) as served:
            talks = [asyncio.ensure_future(served.say(GET * 4000 + LAST)) for _ in range(12)]
            assert await settled(lambda: served.server.busy == 12)
            await asyncio.sleep(0.1)
            assert served.server.body_bytes <= 256 << 10
            go.set()
            answers = [statuses(talk) for talk in await asyncio.gather(*talks)]
            assert {status for each in answers for status in each} == {200, 503}
            assert all(status == 200 for each in answers for status in each[:-1])
            assert any(len(each) == 4001 for each in answers)
            assert await settled(lambda: served.server.body_bytes == 0 and not served.server.connections)

    run(main())


def test_a_body_that_was_begun_and_left_is_forgotten(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            for raw in (post(b"x" * 1000)[:-10], CHUNKED + b"5\r\nab", post(b"z", close=False) + post(b"z" * 9)[:-2]):
                _, writer = await served.connect()
                writer.write(raw)
                assert await settled(lambda: served.server.body_bytes > 0)
                writer.close()
                assert await settled(lambda: not served.server.connections)
                assert served.server.body_bytes == 0

    run(main())


def test_one_address_has_a_share_of_the_connections(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, ServerLimits(max_connections_per_client=2)) as served:
            kept = [await served.connect() for _ in range(2)]
            assert await settled(lambda: len(served.server.connections) == 2)
            assert statuses(await served.say()) == [503]
            for _, writer in kept:
                writer.close()
            assert await settled(lambda: not served.server.connections and not served.server.clients)
            assert statuses(await served.say(LAST)) == [200]

    run(main())
