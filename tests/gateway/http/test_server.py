"""The server against clients of every kind, through real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from stepdown.gateway.http.messages import Request, Response, UnfinishedStream
from stepdown.gateway.http.server import ServerLimits
from tests.gateway.http.conftest import Run
from tests.gateway.http.sockets import Served, serving, settled

GET = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"


async def echo(request: Request) -> Response:
    said = f"{request.method} {request.path}?{request.query} ".encode() + request.body
    return Response(200, [(b"x-said", request.headers.get(b"x-say", b""))], said)


def post(body: bytes, path: bytes = b"/x", close: bool = True, extra: bytes = b"") -> bytes:
    end = b"connection: close\r\n" if close else b""
    return b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n%b%b\r\n%b" % (path, len(body), extra, end, body)


def said_to(run: Run, *pieces: bytes, limits: ServerLimits | None = None, pause_s: float = 0.0) -> bytes:
    async def main() -> bytes:
        async with serving(echo, limits) as served:
            return await served.say(*pieces, pause_s=pause_s)

    answer: bytes = run(main())
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_requests_on_one_connection_are_answered_in_order(run: Run) -> None:
    answer = said_to(run, post(b"one", b"/1?q=2", close=False), post(b"two", b"/2"), pause_s=0.01)
    first = b"HTTP/1.1 200 OK\r\nx-said: \r\ncontent-length: 14\r\n\r\nPOST /1?q=2 one"
    second = b"HTTP/1.1 200 OK\r\nx-said: \r\nconnection: close\r\ncontent-length: 12\r\n\r\nPOST /2? two"
    assert answer == first.replace(b"14", b"15") + second


def test_a_request_may_come_byte_by_byte(run: Run) -> None:
    whole = post(b"body", extra=b"x-say: hello\r\n")
    answer = said_to(run, *(whole[i : i + 1] for i in range(len(whole))))
    assert b"x-said: hello" in answer
    assert answer.endswith(b"POST /x? body")


def test_chunked_bodies_are_joined(run: Run) -> None:
    head = b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    assert said_to(run, head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").endswith(b"\r\n\r\nPOST /x? abcde")


def test_headers_that_come_twice_are_joined_and_names_are_lower_case(run: Run) -> None:
    assert b"x-said: a, b\r\n" in said_to(run, post(b"", extra=b"X-Say: a\r\nx-SAY: b\r\n"))


def test_pipelined_requests_are_answered_one_after_another(run: Run) -> None:
    async def main() -> None:
        running = most = 0

        async def slow(request: Request) -> Response:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            return Response(200, [], request.path.encode())

        async with serving(slow) as served:
            raw = b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % number for number in range(50))
            answer = await served.say(raw + LAST)
            bodies = [part.split(b"\r\n\r\n")[1] for part in answer.split(b"HTTP/1.1 ")[1:]]
            assert bodies == [*(b"/%d" % number for number in range(50)), b"/last"]
            assert most == 1

    run(main())


def test_pipelined_bodies_larger_than_the_bound_come_through_too(run: Run) -> None:
    async def main() -> None:
        async def slow(request: Request) -> Response:
            await asyncio.sleep(0.001)
            return Response(200, [], b"%d" % len(request.body))

        async with serving(slow) as served:
            raw = post(b"x" * (700 << 10), close=False) * 6
            assert statuses(await served.say(raw + LAST)) == [200] * 7

    run(main())


def test_rubbish_after_a_request_does_not_overtake_its_answer(run: Run) -> None:
    async def main() -> None:
        async def slow(request: Request) -> Response:
            await asyncio.sleep(0.05)
            return Response(200, [], b"mine")

        async with serving(slow) as served:
            answer = await served.say(GET + b"\x00\x01 rubbish\r\n\r\n")
            assert statuses(answer) == [200, 400]
            assert answer.index(b"mine") < answer.index(b"HTTP/1.1 400")

    run(main())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"GET /x HTTP/9.9\r\nhost: h\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost : h\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nx: a\x00b\r\n\r\n", 400),
        (b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n", 405),
        (b"GET /%b HTTP/1.1\r\nhost: h\r\n\r\n" % (b"a" * 9000), 414),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nx: %b\r\n\r\n" % (b"a" * 70000), 431),
        (b"GET /x HTTP/1.1\r\nhost: h\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(200)) + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nhost: h\r\n" + b"x:\r\n" * 5000 + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nhost: h\r\nx: " + b"a" * (2 << 20), 431),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(run: Run, raw: bytes, status: int) -> None:
    answer = said_to(run, raw, limits=ServerLimits(header_s=0.3))
    assert statuses(answer) == [status]
    assert b"connection: close" in answer


def test_a_body_that_is_too_large_is_refused_by_its_length_and_by_its_chunks(run: Run) -> None:
    limits = ServerLimits(max_body=1 << 20)
    large = b"x" * (3 << 20)
    answer = said_to(run, post(large), limits=limits)
    assert statuses(answer) == [413]
    head = b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(large), large)]
    assert statuses(said_to(run, head, *chunks, limits=limits)) == [413]
    assert statuses(said_to(run, post(b"x" * (1 << 20)), limits=limits)) == [200]


def test_a_body_is_asked_for_where_the_client_waits_to_be(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, ServerLimits(max_body=100)) as served:
            reader, writer = await served.connect()
            writer.write(b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"body")
            assert (await reader.readuntil(b"body")).startswith(b"HTTP/1.1 200")
            writer.write(b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 400\r\nexpect: 100-continue\r\n\r\n")
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 413")
            writer.close()

    run(main())


def test_an_offer_of_http_2_is_passed_over_and_the_body_kept(run: Run) -> None:
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    raw = post(b"hello", close=False, extra=offer)
    answer = said_to(run, raw[:-2], raw[-2:] + raw + LAST, pause_s=0.02)
    assert statuses(answer) == [200, 200, 200]
    assert answer.count(b"POST /x? hello") == 2


def test_head_has_no_body_and_absolute_targets_are_understood(run: Run) -> None:
    raw = (
        b"HEAD /x HTTP/1.1\r\nhost: h\r\n\r\n"
        + b"GET http://h:80/there?q HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    )
    head, _, rest = said_to(run, raw).partition(b"\r\n\r\n")
    assert b"content-length: 9" in head
    assert rest.startswith(b"HTTP/1.1 200")
    assert rest.endswith(b"GET /there?q ")


async def three(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two", b"three"):
            yield piece
            await asyncio.sleep(0)

    return Response(200, [(b"content-type", b"text/event-stream")], pieces())


def test_streams_are_chunked_and_end_by_closing_for_http_1_0(run: Run) -> None:
    async def main() -> None:
        async with serving(three) as served:
            answer = await served.say(GET + LAST)
            assert answer.count(b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n") == 2
            old = await served.say(b"GET /x HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            assert b"chunked" not in old
            assert old.endswith(b"\r\n\r\nonetwothree")
            head = await served.say(b"HEAD /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            assert head.endswith(b"\r\n\r\n")

    run(main())


def test_a_stream_that_breaks_sends_what_it_had_and_no_end(run: Run) -> None:
    async def main() -> None:
        async def broken(request: Request) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"begun"
                yield b"data: error"
                raise UnfinishedStream if request.path == "/x" else RuntimeError("a mistake of ours")

            return Response(200, [], pieces())

        async with serving(broken) as served:
            for raw in (GET, LAST):
                answer = await served.say(raw)
                assert answer.endswith(b"5\r\nbegun\r\nb\r\ndata: error\r\n")
                assert statuses(answer) == [200]

    run(main())


def test_a_mistake_of_ours_is_a_500_and_the_next_client_is_served(run: Run) -> None:
    async def main() -> None:
        async def fails(request: Request) -> Response:
            raise RuntimeError("a mistake of ours")

        async with serving(fails) as served:
            for _ in range(2):
                answer = await served.say(GET)
                assert statuses(answer) == [500]
                assert b"mistake" not in answer

    run(main())


def test_an_abandoned_stream_closes_its_source(run: Run) -> None:
    async def main() -> None:
        closed = []

        async def endless(request: Request) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield b"x"
                        await asyncio.sleep(0.001)
                finally:
                    closed.append(True)

            return Response(200, [], pieces())

        async with serving(endless) as served:
            _, writer = await served.connect()
            writer.write(GET)
            await asyncio.sleep(0.05)
            writer.close()
            assert await settled(lambda: bool(closed) and not served.server.connections)

    run(main())


def test_a_client_that_goes_away_cancels_its_request(run: Run) -> None:
    async def main() -> None:
        cancelled = []

        async def waits(request: Request) -> Response:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
            return Response(200, [], b"")

        async with serving(waits, ServerLimits(half_closed_s=0.1)) as served:
            _, writer = await served.connect()
            writer.write(GET)
            assert await settled(lambda: served.server.busy == 1)
            writer.close()
            assert await settled(lambda: bool(cancelled) and served.server.busy == 0)

    run(main())


async def unread(served: Served, raw: bytes) -> socket.socket:
    """A client that asks and reads nothing of the answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", served.port))
    await asyncio.get_running_loop().sock_sendall(client, raw)
    return client


def test_a_client_that_does_not_read_holds_a_stream_back_and_is_cut_off(run: Run) -> None:
    async def main() -> None:
        made = 0

        async def endless(request: Request) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                nonlocal made
                while True:
                    made += 1
                    yield b"x" * 65536

            return Response(200, [], pieces())

        async with serving(endless, ServerLimits(write_s=0.3)) as served:
            client = await unread(served, GET)
            await asyncio.sleep(0.1)
            assert made < 500
            assert await settled(lambda: not served.server.connections)
            client.close()

    run(main())


def test_a_client_that_pipelines_and_does_not_read_is_held_back_too(run: Run) -> None:
    async def main() -> None:
        made = 0

        async def large(request: Request) -> Response:
            nonlocal made
            made += 1
            return Response(200, [], b"x" * 100_000)

        async with serving(large, ServerLimits(write_s=0.3)) as served:
            client = await unread(served, GET * 1000)
            await asyncio.sleep(0.2)
            assert made < 100
            assert await settled(lambda: not served.server.connections)
            client.close()

    run(main())


def test_an_answer_read_slowly_leaves_the_connection_usable(run: Run) -> None:
    async def main() -> None:
        async def large(request: Request) -> Response:
            return Response(200, [], b"x" * (4 << 20))

        async with serving(large, ServerLimits(idle_s=0.1)) as served:
            reader, writer = await served.connect()
            for _ in range(2):
                writer.write(GET)
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.05)
                assert b"content-length: 4194304" in head
                await reader.readexactly(4 << 20)
            assert await reader.read() == b""  # closed for idleness
            writer.close()

    run(main())


def test_slow_heads_and_bodies_are_refused_and_idle_connections_closed(run: Run) -> None:
    async def main() -> None:
        limits = ServerLimits(header_s=0.1, body_s=0.1, idle_s=0.1)
        async with serving(echo, limits) as served:
            nothing, head, body, idle = await asyncio.gather(
                served.say(b""), served.say(b"GET /x HT"), served.say(post(b"body")[:-2]), served.say(GET)
            )
            assert nothing == b""
            assert statuses(head) == statuses(body) == [408]
            assert statuses(idle) == [200]

    run(main())


def test_too_many_connections_are_told_so(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, ServerLimits(max_connections=2)) as served:
            kept = [await served.connect() for _ in range(2)]
            assert await settled(lambda: len(served.server.connections) == 2)
            assert statuses(await served.say()) == [503]
            for _, writer in kept:
                writer.close()
            assert await settled(lambda: len(served.server.connections) == 0)
            assert statuses(await served.say(LAST)) == [200]

    run(main())


def test_draining_ends_what_is_under_way_and_takes_nothing_new(run: Run) -> None:
    async def main() -> None:
        async def slow(request: Request) -> Response:
            await asyncio.sleep(0.1)
            return Response(200, [], b"done")

        async with serving(slow) as served:
            idle_reader, idle_writer = await served.connect()
            reader, writer = await served.connect()
            writer.write(GET)
            assert await settled(lambda: served.server.busy == 1)
            assert await served.server.drain(5) == 0
            answer = await reader.read(-1)
            assert answer.endswith(b"done")
            assert b"connection: close" in answer
            assert await idle_reader.read(-1) == b""
            with pytest.raises(ConnectionRefusedError):
                await served.connect()
            writer.close()
            idle_writer.close()

    run(main())


def test_draining_cuts_off_what_does_not_end_and_counts_it(run: Run) -> None:
    async def main() -> None:
        async def endless(request: Request) -> Response:
            await asyncio.sleep(60)
            return Response(200, [], b"")

        async with serving(endless) as served:
            reader, writer = await served.connect()
            writer.write(GET)
            assert await settled(lambda: served.server.busy == 1)
            assert await served.server.drain(0.05) == 1
            assert await settled(lambda: not served.server.connections)
            got = await asyncio.gather(reader.read(-1), return_exceptions=True)
            assert got[0] == b"" or isinstance(got[0], ConnectionError)
            writer.close()

    run(main())
