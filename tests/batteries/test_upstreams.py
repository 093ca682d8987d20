"""Every kind of upstream faces the same battery: a new file in `gateway/upstreams/` is tested unasked."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest
from tests.gateway.asked import exchange, incumbent, json_of, whole

from stepdown.core.secret import Secret
from stepdown.gateway.http.messages import Request, UpstreamError
from stepdown.gateway.upstream import Unsupported, UpstreamKind, UpstreamOptions, open_upstream, upstream_kinds
from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.wire import WIRES

KINDS = upstream_kinds()
EXAMPLES = [
    pytest.param(name, one, id=f"{name}-{number}")
    for name in KINDS.names()
    for number, one in enumerate(KINDS.load(name).examples())
]


@pytest.fixture(params=KINDS.names())
def kind(request: pytest.FixtureRequest) -> UpstreamKind:
    return KINDS.load(request.param)


def test_a_kind_says_its_wire_its_extra_and_brings_examples(kind: UpstreamKind) -> None:
    assert kind.WIRE in WIRES
    assert isinstance(kind.EXTRA, str)
    assert kind.examples()


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_an_example_opens_without_connecting_and_closes_twice(name: str, options: UpstreamOptions) -> None:
    assert options.kind == name

    async def main() -> None:
        upstream = open_upstream(options)
        await upstream.close()
        await upstream.close()

    asyncio.run(main())


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
@pytest.mark.parametrize("wire", [openai_chat, anthropic_messages])
@pytest.mark.parametrize("stream", [False, True])
def test_every_request_has_an_answer_in_the_client_s_wire(
    name: str, options: UpstreamOptions, wire: Any, stream: bool
) -> None:
    async def main() -> None:
        asking = incumbent(dataclasses.replace(options, retries=0, connect_s=1.0))
        for body in ({"messages": [{"role": "user", "content": "hello"}]}, {"messages": []}):
            one = exchange(wire, stream=stream, **body)
            reply = await asking.ask(one)
            assert one.upstream == options.name
            assert 200 <= reply.status < 600
            if reply.status >= 400:
                said = await json_of(reply)
                assert isinstance(said["error"]["message"], str)
                assert (said.get("type") == "error") == (wire is anthropic_messages)
            else:
                got, ended = await whole(reply)
                assert ended
                assert got
        await asking.close()

    asyncio.run(main())


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_models_and_other_paths_answer_or_raise_what_they_may(name: str, options: UpstreamOptions) -> None:
    async def main() -> None:
        upstream = open_upstream(dataclasses.replace(options, connect_s=1.0))
        results = await asyncio.gather(
            upstream.models(), upstream.forward(Request("GET", "/v1/files")), return_exceptions=True
        )
        for result in results:
            assert not isinstance(result, BaseException) or isinstance(result, UpstreamError | Unsupported)
        await upstream.close()

    asyncio.run(main())


@pytest.mark.parametrize(("name", "options"), EXAMPLES)
def test_no_answer_shows_the_key(name: str, options: UpstreamOptions) -> None:
    async def main() -> None:
        secret = dataclasses.replace(options, key=Secret("hush-hush"), retries=0, connect_s=1.0)
        asking = incumbent(secret)
        reply = await asking.ask(exchange(odd=1))
        assert b"hush-hush" not in (await whole(reply))[0] + msgspec.json.encode([str(reply.headers), repr(secret)])
        await asking.close()

    asyncio.run(main())
