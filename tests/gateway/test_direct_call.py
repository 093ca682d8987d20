"""What is asked without a task of the event loop: taken where it is whole and good, else gone on with as any other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepdown.gateway.exchange import Exchange, Reply
from tests.gateway.asked import COMPLETION, answer, exchange, incumbent, whole
from tests.gateway.http.sockets import Scripted, read_request, saying, scripted, settled, until

GOOD = answer(COMPLETION)
STREAM = answer(b'data: {"choices": []}\n\ndata: [DONE]\n\n', kind=b"text/event-stream")
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"


async def begun(asking: Any, one: Exchange) -> Reply | None:
    """The answer to a request that is asked over a connection that is kept."""
    told = asyncio.Event()
    assert asking.begin(one, told.set)
    await until(told.wait())
    reply: Reply | None = asking.taken(one)
    return reply


def on_kept_connection(*answers: bytes, then_close: bool = False) -> tuple[bool, Reply, Exchange, int]:
    """(whether the first of the answers was taken at once, the reply in the end, connections)."""

    async def main() -> tuple[bool, Reply, Exchange, int]:
        async with scripted(saying(GOOD, *answers, then_close=then_close), saying(GOOD)) as server:
            asking = incumbent(server.url)
            assert not asking.begin(exchange(), lambda: None), "no connection is free yet"
            assert (await asking.ask(exchange())).status == 200
            one = exchange()
            reply = await begun(asking, one)
            taken = reply is not None
            got = reply or await asking.ask(one)
            got.body = (await whole(got))[0]
            assert one.begun is None
            assert one.upstream_s is not None
            await asking.close()
            return taken, got, one, server.connections

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_a_whole_good_answer_is_taken_at_once() -> None:
    for said in (
        GOOD,
        answer({**COMPLETION, "id": "another, longer"}),
        answer(COMPLETION, headers=b"x-request-id: 1\r\n"),
    ):
        taken, reply, one, connections = on_kept_connection(said)
        assert taken
        assert reply.body == said.partition(b"\r\n\r\n")[2]
        assert (reply.status, one.upstream, one.error, connections) == (200, "0", "", 1)


@pytest.mark.parametrize(
    "first", [answer({}, 500), answer({}, 429), answer(b"[1]"), answer(b"no JSON"), b"no HTTP\r\n\r\n"]
)
def test_a_bad_answer_is_asked_again(first: bytes) -> None:
    taken, reply, one, _ = on_kept_connection(first, GOOD)
    assert not taken
    assert (reply.status, one.error) == (200, "")
    assert reply.body == GOOD.partition(b"\r\n\r\n")[2]


def test_a_client_s_own_mistake_is_not_asked_again() -> None:
    taken, reply, _, connections = on_kept_connection(answer({"error": {"message": "no"}}, 400), GOOD)
    assert (taken, reply.status, connections) == (False, 400, 1)


def test_a_stream_that_nobody_asked_for_comes_through() -> None:
    taken, reply, _, _ = on_kept_connection(STREAM)
    assert (taken, reply.body) == (False, STREAM.partition(b"\r\n\r\n")[2])


def test_an_answer_in_pieces_is_read_to_its_end() -> None:
    taken, reply, _, connections = on_kept_connection(CHUNKED + b"0\r\n\r\n")
    assert (reply.body, connections) == (b"{}", 1)
    del taken  # It may come at once or not.


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async def main() -> None:
        async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(GOOD)
            await read_request(reader)

        async with scripted(closes, saying(GOOD)) as server:
            asking = incumbent(server.url)
            assert (await asking.ask(exchange())).status == 200
            one = exchange()
            assert await begun(asking, one) is None
            assert (await asking.ask(one)).status == 200
            assert server.connections == 2
            assert asking.states()["0"] == "closed"
            await asking.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_who_waits_no_more_leaves_no_connection_behind() -> None:
    async def main() -> None:
        async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(GOOD)
            await read_request(reader)
            await reader.read(-1)

        async with scripted(waits, saying(GOOD)) as server:
            asking = incumbent(server.url)
            assert (await asking.ask(exchange())).status == 200
            one = exchange()
            assert asking.begin(one, lambda: None)
            asking.abandoned(one)
            assert await settled(lambda: _closed(server))
            assert (await asking.ask(exchange())).status == 200
            await asking.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def _closed(server: Scripted) -> bool:
    return server.closed == 1


@pytest.mark.parametrize("wanted", [{"stream": True}, {"model": "unheard-of"}])
def test_what_needs_more_is_not_begun(wanted: dict[str, Any]) -> None:
    async def main() -> None:
        async with scripted(saying(GOOD)) as server:
            options = {"models": ("large",)} if "model" in wanted else {}
            asking = incumbent(server.url, **options)
            assert (await asking.ask(exchange())).status == 200
            assert not asking.begin(exchange(**wanted), lambda: None)
            await asking.close()

    asyncio.run(asyncio.wait_for(main(), 30))
