"""Asking upstreams that fail, stall, cut streams and answer garbage: there is an answer in every case."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from stepdown.core.secret import Secret
from stepdown.gateway.breaker import BreakerLimits
from stepdown.gateway.http.messages import Request
from stepdown.gateway.upstream import UpstreamOptions
from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.event_stream import events
from tests.gateway.asked import CHUNKS, COMPLETION, MESSAGE, answer, exchange, incumbent, json_of, whole
from tests.gateway.http.sockets import (
    Script,
    read_request,
    saying,
    scripted,
    settled,
    silence,
    slam,
    unused_port,
)

GOOD = answer(COMPLETION)
WIRES = [openai_chat, anthropic_messages]


def on_loop(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 120))


def error(status: int, message: str = "no", headers: bytes = b"") -> bytes:
    return answer({"error": {"message": message, "type": "t", "param": None, "code": None}}, status, headers=headers)


def streaming(*pieces: bytes, end: bool = True) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.005)
        if end:
            writer.write(b"0\r\n\r\n")
            await silence(reader, writer)

    return script


async def asked_once(*scripts: Script, wire: Any = openai_chat, **options: Any) -> tuple[Any, Any, int]:
    """The reply to one request, its exchange, and how many connections it took."""
    async with scripted(*scripts) as server:
        asking = incumbent(server.url, **options)
        one = exchange(wire)
        reply = await asking.ask(one)
        reply.body = (await whole(reply))[0]
        await asking.close()
        return reply, one, server.connections


def test_an_answer_comes_through_untouched() -> None:
    body = b'{ "choices" : [ ],\n "odd":1e400 , "unicode": "\\u00e9" }'
    reply, one, _ = on_loop(asked_once(saying(answer(body, headers=b"x-request-id: r1\r\nkeep-alive: timeout=5\r\n"))))
    assert reply.body == body
    assert (b"x-request-id", b"r1") in reply.headers
    assert {name for name, _ in reply.headers} == {b"content-type", b"x-request-id"}
    assert (one.upstream, one.error) == ("0", "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_a_client_s_own_mistake_keeps_status_and_body_and_is_not_asked_again(status: int) -> None:
    async def main() -> None:
        said = error(status, headers=b"x-request-id: b\r\n")
        async with scripted(saying(said)) as server:
            asking = incumbent(server.url, unused_address(), breaker=BreakerLimits(consecutive=1, steady_s=0))
            for _ in range(3):
                reply = await asking.ask(exchange())
                assert reply.status == status
                assert reply.body == said.partition(b"\r\n\r\n")[2]
                assert (b"x-request-id", b"b") in reply.headers
            assert asking.states()["0"] == "closed"
            assert asking.upstreams[0].retries == 0
            await asking.close()

    on_loop(main())


def unused_address() -> str:
    return f"http://127.0.0.1:{unused_port()}"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_asked_again(status: int) -> None:
    reply, _, _ = on_loop(asked_once(saying(error(status), error(status), GOOD)))
    assert reply.status == 200
    last, _, _ = on_loop(asked_once(saying(error(status, "the last")), retries=1))
    assert last.status == status
    assert b"the last" in last.body


def test_an_upstream_that_says_so_is_not_asked_again() -> None:
    reply, _, _ = on_loop(asked_once(saying(error(500, headers=b"x-should-retry: false\r\n"), GOOD)))
    assert reply.status == 500


def test_retry_after_is_waited_for_within_bounds() -> None:
    async def main() -> None:
        async with scripted(saying(error(429, headers=b"retry-after-ms: 50\r\n"), GOOD)) as server:
            asking = incumbent(server.url)
            assert (await asking.ask(exchange())).status == 200
            assert asking.upstreams[0].retries == 1
            assert asking.upstreams[0].failures["429"] == 1
            assert asking.states() == {"0": "closed"}
            await asking.close()

    on_loop(main())
    reply, _, connections = on_loop(asked_once(saying(error(429, headers=b"retry-after: 60\r\n"), GOOD)))
    assert reply.status == 429
    assert (b"retry-after", b"60") in reply.headers
    assert connections == 1


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("script", "status"),
    [
        (slam, 502),
        (saying(b"SSH-2.0\r\n\r\n", then_close=True), 502),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", then_close=True), 502),
        (silence, 504),
    ],
)
def test_no_whole_answer_is_an_error_in_the_client_s_wire(wire: Any, script: Script, status: int) -> None:
    reply, one, connections = on_loop(asked_once(script, wire=wire, retries=1, first_byte_s=0.05))
    assert reply.status == status
    assert connections == 2
    assert one.error
    assert_error_of(wire, reply.body)


def assert_error_of(wire: Any, body: bytes) -> None:
    said = msgspec.json.decode(body)
    assert isinstance(said["error"]["message"], str)
    assert isinstance(said["error"]["type"], str)
    assert (said.get("type") == "error") == (wire is anthropic_messages)


@pytest.mark.parametrize("wire", WIRES)
def test_no_connection_is_a_503(wire: Any) -> None:
    async def main() -> None:
        asking = incumbent(unused_address())
        one = exchange(wire)
        reply = await asking.ask(one)
        assert reply.status == 503
        assert_error_of(wire, reply.body if isinstance(reply.body, bytes) else b"")
        assert asking.upstreams[0].failures["connect"] == 3
        assert asking.upstreams[0].retries == 2
        await asking.close()

    on_loop(main())


def test_a_time_out_before_the_first_byte_is_asked_again_once_only() -> None:
    _, _, connections = on_loop(asked_once(silence, retries=5, first_byte_s=0.05))
    assert connections == 2


def test_all_of_one_upstream_s_attempts_together_have_a_time() -> None:
    reply, _, _ = on_loop(asked_once(saying(error(500), pause_s=0.06), retries=10, total_s=0.2))
    assert reply.status in {500, 504}


def test_the_next_upstream_is_asked_in_order_and_named() -> None:
    async def main() -> None:
        async with scripted(saying(error(500))) as ill, scripted(saying(GOOD)) as well:
            asking = incumbent(unused_address(), ill.url, well.url, retries=0)
            one = exchange()
            reply = await asking.ask(one)
            assert reply.status == 200
            assert one.upstream == "2"
            assert one.error == ""
            await asking.close()

    on_loop(main())


def test_when_all_fail_the_last_upstream_s_own_words_are_given() -> None:
    async def main() -> None:
        async with scripted(saying(error(503, "mine"))) as ill:
            asking = incumbent(ill.url, unused_address(), retries=0)
            reply = await asking.ask(exchange())
            assert reply.status == 503
            assert b"mine" in (await whole(reply))[0]
            await asking.close()

    on_loop(main())


def test_upstreams_are_chosen_by_model() -> None:
    async def main() -> None:
        async with scripted(saying(GOOD)) as server:
            small = UpstreamOptions(url=server.url, name="small", models=("small",))
            other = UpstreamOptions(url=server.url, name="any")
            asking = incumbent(small, other)
            for model, name in (("small", "small"), ("large", "any"), (["odd"], "any")):
                one = exchange(model=model)
                assert (await asking.ask(one)).status == 200
                assert one.upstream == name
            renamed = exchange(model="alias")
            renamed.outgoing = {**renamed.body, "model": "small"}
            await asking.ask(renamed)
            assert renamed.upstream == "small"
            await asking.close()
            strict = incumbent(small)
            reply = await strict.ask(exchange(model="unheard-of"))
            assert reply.status == 404
            assert (await json_of(reply))["error"]["code"] == "model_not_found"
            await strict.close()
            assert (await incumbent().ask(exchange())).status == 503

    on_loop(main())


def test_a_breaker_opens_answers_at_once_and_closes_after_a_probe() -> None:
    async def main() -> None:
        healthy = False

        async def moody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                server.requests.append(await read_request(reader))
                writer.write(GOOD if healthy else error(500))

        async with scripted(moody) as server:
            asking = incumbent(server.url, retries=0, breaker=BreakerLimits(consecutive=3, steady_s=0, open_s=0.2))
            assert [(await asking.ask(exchange())).status for _ in range(5)] == [500, 500, 500, 503, 503]
            assert asking.states() == {"0": "open"}
            assert len(server.requests) == 3
            refused = await asking.ask(exchange())
            assert (b"retry-after", b"1") in refused.headers
            healthy = True
            assert await settled(lambda: asking.states() == {"0": "half-open"})
            replies = await asyncio.gather(*(asking.ask(exchange()) for _ in range(5)))
            assert sorted(reply.status for reply in replies) == [200, 503, 503, 503, 503]
            assert len(server.requests) == 4
            assert asking.states() == {"0": "closed"}
            assert (await asking.ask(exchange())).status == 200
            await asking.close()

    on_loop(main())


def test_a_probe_whose_client_goes_away_leaves_room_for_another() -> None:
    async def main() -> None:
        async with scripted(slam, silence, saying(GOOD)) as server:
            asking = incumbent(server.url, retries=0, breaker=BreakerLimits(consecutive=1, steady_s=0, open_s=0.05))
            assert (await asking.ask(exchange())).status == 502
            assert await settled(lambda: asking.states() == {"0": "half-open"})
            probe = asyncio.create_task(asking.ask(exchange()))
            assert await settled(lambda: server.connections == 2)
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
            assert await settled(lambda: server.closed == 2)
            assert (await asking.ask(exchange())).status == 200
            await asking.close()

    on_loop(main())


def test_a_stream_comes_through_untouched_and_as_it_comes() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def gated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n")
            await gate.wait()
            writer.write(b": a comment\r\n\r\ndata: [DONE]\n\n")
            await writer.drain()

        async with scripted(gated) as server:
            asking = incumbent(server.url)
            reply = await asking.ask(exchange(stream=True))
            assert not isinstance(reply.body, bytes)
            assert await anext(reply.body) == b"data: {}\n\n"
            gate.set()
            assert await whole(reply) == (b": a comment\r\n\r\ndata: [DONE]\n\n", True)
            await asking.close()

    on_loop(main())


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("cut", [b'data: {"a":1}\n\n', b'data: {"a":1}\n\ndata: {"hal'])
def test_a_stream_that_is_cut_ends_in_an_error_event_and_unfinished(wire: Any, cut: bytes) -> None:
    async def main() -> None:
        async with scripted(streaming(cut, end=False), streaming(CHUNKS)) as server:
            kind = "openai" if wire is openai_chat else "anthropic"
            asking = incumbent(server.url, kind=kind)
            one = exchange(wire, stream=True)
            body, ended = await whole(await asking.ask(one))
            assert not ended
            assert one.error
            assert asking.upstreams[0].failures["broken"] == 1
            assert asking.upstreams[0].retries == 0, "nothing is asked again after a byte went out"
            assert body.startswith(cut)
            assert_error_of(wire, body[len(cut) :].strip().rpartition(b"data: ")[2])
            assert (b"event: error\n" in body) == (wire is anthropic_messages)
            await asking.close()

    on_loop(main())


def test_a_client_that_leaves_a_stream_closes_the_upstream_s() -> None:
    async def main() -> None:
        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n")
            await silence(reader, writer)

        async with scripted(endless) as server:
            asking = incumbent(server.url)
            reply = await asking.ask(exchange(stream=True))
            assert not isinstance(reply.body, bytes)
            await anext(reply.body)
            await reply.body.aclose()  # type: ignore[attr-defined]
            assert await settled(lambda: server.closed == 1)
            del reply
            await asking.ask(exchange(stream=True))  # and nobody reads it
            assert await settled(lambda: server.closed == 2)
            await asking.close()

    on_loop(main())


@pytest.mark.parametrize(
    "garbage",
    [
        answer(b"<html>busy</html>", kind=b"text/html"),
        answer(b"not json"),
        answer(b"[1, 2]"),
        answer({"nothing": "of use"}),
        answer(b"", kind=b"text/plain"),
        answer(b'data: {"a"', kind=b"text/event-stream"),
    ],
)
def test_garbage_is_a_502_in_the_wire_s_shape(garbage: bytes) -> None:
    reply, same, _ = on_loop(asked_once(saying(garbage), retries=0))
    if b"event-stream" not in garbage and b"nothing" not in garbage:
        assert reply.status == 502
        assert same.error
        assert_error_of(openai_chat, reply.body)
    translated, one, _ = on_loop(asked_once(saying(garbage), wire=anthropic_messages, retries=0))
    assert translated.status == 502
    assert one.error
    assert_error_of(anthropic_messages, translated.body)


def test_a_chat_client_gets_an_anthropic_upstream_s_answer_stream_and_error() -> None:
    async def main() -> None:
        overloaded = answer({"type": "error", "error": {"type": "overloaded_error", "message": "later"}}, 529)
        events_of_it = b"".join(anthropic_messages.stream_of(MESSAGE))
        stream = answer(events_of_it, kind=b"text/event-stream")
        async with scripted(saying(answer(MESSAGE), stream, overloaded)) as server:
            options = UpstreamOptions(url=server.url, kind="anthropic", key=Secret("k"), retries=0)
            asking = incumbent(options)
            plain = ChatCompletion.model_validate(await json_of(await asking.ask(exchange())))
            assert plain.choices[0].message.content == "hi"
            assert plain.usage is not None
            assert plain.usage.total_tokens == 4
            body, ended = await whole(await asking.ask(exchange(stream=True)))
            chunks = [ChatCompletionChunk.model_validate(event) for event in events(body.decode())]
            assert ended
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hi"
            assert body.endswith(b"data: [DONE]\n\n")
            failed = await asking.ask(exchange())
            assert failed.status == 529
            assert (await json_of(failed))["error"]["message"] == "later"
            await asking.close()

    on_loop(main())


def test_an_anthropic_client_gets_a_chat_upstream_s_stream_in_pieces_and_cut_ones_as_errors() -> None:
    async def main() -> None:
        halves = [CHUNKS[i : i + 37] for i in range(0, len(CHUNKS), 37)]
        async with scripted(streaming(*halves), streaming(*halves[:9], end=False), streaming(*halves[:9])) as server:
            asking = incumbent(server.url)
            body, ended = await whole(await asking.ask(exchange(anthropic_messages, stream=True)))
            assert ended
            assert anthropic_messages.joined(events(body.decode()))["content"] == [{"type": "text", "text": "hi"}]
            for _ in range(2):
                await asking.close()
                one = exchange(anthropic_messages, stream=True)
                body, ended = await whole(await asking.ask(one))
                assert not ended
                assert one.error
                assert body.count(b"event: error\n") == 1
            await asking.close()

    on_loop(main())


def test_a_chat_upstream_that_does_not_stream_is_streamed_for_the_other_wire() -> None:
    async def main() -> None:
        async with scripted(saying(GOOD)) as server:
            asking = incumbent(server.url)
            body, ended = await whole(await asking.ask(exchange(anthropic_messages, stream=True)))
            assert ended
            assert anthropic_messages.joined(events(body.decode()))["content"] == [{"type": "text", "text": "hi"}]
            await asking.close()

    on_loop(main())


def test_what_the_other_wire_cannot_say_is_a_400_that_names_it() -> None:
    async def main() -> None:
        async with scripted(silence) as server:
            asking = incumbent(server.url)
            one = exchange(anthropic_messages, mcp_servers=[{"type": "url", "url": "https://x.example"}])
            reply = await asking.ask(one)
            assert reply.status == 400
            assert b"mcp_servers" in (await whole(reply))[0]
            assert server.connections == 0
            await asking.close()

    on_loop(main())


def test_other_paths_go_through_untouched_and_fail_in_the_client_s_wire() -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                server.requests.append(await read_request(reader))
                writer.write(answer(b"\x00binary", 201, b"audio/mpeg"))

        async with scripted(script) as server:
            asking = incumbent(server.url + "/v1")
            request = Request("POST", "/v1/audio/speech", "a=b", {b"authorization": b"Bearer c"}, b"\x01\x02")
            reply = await asking.forward(request, openai_chat)
            assert (reply.status, await whole(reply)) == (201, (b"\x00binary", True))
            assert server.requests[0].startswith(b"POST /v1/audio/speech?a=b HTTP/1.1\r\n")
            assert server.requests[0].endswith(b"\r\n\r\n\x01\x02")
            await asking.close()
        lost = incumbent(unused_address())
        reply = await lost.forward(request, anthropic_messages)
        assert reply.status == 503
        assert_error_of(anthropic_messages, (await whole(reply))[0])
        await lost.close()

    on_loop(main())


def test_models_are_gathered_from_those_that_tell() -> None:
    async def main() -> None:
        listed = answer({"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}, "odd", {"id": 3}]})
        async with scripted(saying(listed)) as server:
            asking = incumbent(
                UpstreamOptions(url=server.url, name="x"),
                UpstreamOptions(url=unused_address(), name="y", models=("c", "a")),
            )
            assert [one["id"] for one in await asking.models()] == ["a", "b", "c"]
            await asking.close()

    on_loop(main())
