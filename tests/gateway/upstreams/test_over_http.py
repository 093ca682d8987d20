"""What leaves for an upstream over HTTP: addresses, keys, headers and bodies."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import msgspec
import pytest

from stepdown.core.errors import UsageError
from stepdown.core.keys import TOKEN_START
from stepdown.core.secret import Secret
from stepdown.gateway.http.messages import Request
from stepdown.gateway.upstream import UpstreamOptions, open_upstream
from stepdown.wires import anthropic_messages, openai_chat
from tests.gateway.asked import COMPLETION, MESSAGE, answer, exchange, incumbent
from tests.gateway.http.sockets import read_request, scripted

SENT = {
    b"user-agent": b"OpenAI/Python",
    b"x-stainless-lang": b"python",
    b"x-stepdown-route": b"incumbent",
    b"accept-encoding": b"gzip, br",
    b"connection": b"keep-alive, x-hop",
    b"x-hop": b"1",
    b"x-own": b"stays",
    b"cookie": b"session=1",
    b"openai-organization": b"org-client",
    b"openai-project": b"proj-client",
    b"api-version": b"2024-10-21",
    b"forwarded": b"for=10.0.0.1",
    b"x-forwarded-for": b"10.0.0.1",
    b"via": b"1.1 proxy",
    b"te": b"trailers",
    b"trailer": b"x-own",
    b"proxy-authorization": b"Basic x",
    b"host": b"gateway",
    b"content-length": b"999",
    b"transfer-encoding": b"chunked",
}


class Seen:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.line, *lines = head.decode().split("\r\n")
        pairs = [tuple(line.split(": ", 1)) for line in lines]
        self.headers: dict[str, str] = dict(pairs)
        assert len(self.headers) == len(pairs), "no header twice"

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def seen(
    wire: ModuleType, path: str = "", headers: dict[bytes, bytes] | None = None, **options: Any
) -> tuple[Seen, bytes]:
    """What an upstream with these options sees of a request, and the request's own body."""

    async def main() -> tuple[Seen, bytes]:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                server.requests.append(await read_request(reader))
                writer.write(answer(MESSAGE if options.get("kind") == "anthropic" else COMPLETION))

        async with scripted(script) as server:
            asking = incumbent(UpstreamOptions(url=server.url + path, name="x", **options))
            one = exchange(wire, headers={**SENT, **(headers or {})}, unknown={"kept": 1.50})
            assert (await asking.ask(one)).status == 200
            await asking.close()
            return Seen(server.requests[0]), one.request.body

    return asyncio.run(main())


def test_a_chat_request_leaves_as_it_came() -> None:
    got, body = seen(openai_chat)
    assert got.line == "POST /v1/chat/completions HTTP/1.1"
    assert got.body == body
    assert got.headers.pop("host").startswith("127.0.0.1:")
    assert got.headers == {
        "content-type": "application/json",
        "authorization": "Bearer client",
        "user-agent": "stepdown",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
    }


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        ("/openai/deployments/small", "/openai/deployments/small/chat/completions"),
    ],
)
def test_addresses_as_users_write_them(path: str, target: str) -> None:
    assert seen(openai_chat, path)[0].line == f"POST {target} HTTP/1.1"


def test_a_configured_key_takes_the_place_of_the_client_s_own() -> None:
    plain = seen(openai_chat, key=Secret("mine"))[0].headers
    assert plain["authorization"] == "Bearer mine"
    options = {"key": Secret("mine"), "key_header": "api-key", "api_version": "2024-10-21"}
    azure = seen(openai_chat, "/openai/deployments/small", {b"x-api-key": b"client"}, **options)[0]
    assert azure.line == "POST /openai/deployments/small/chat/completions?api-version=2024-10-21 HTTP/1.1"
    assert azure.headers["api-key"] == "mine"
    assert "client" not in str(azure.headers)


def test_the_headers_that_an_operator_names_go_upstream() -> None:
    got = seen(openai_chat, pass_headers=("OpenAI-Organization", "x-own"))[0].headers
    assert (got["openai-organization"], got["x-own"]) == ("org-client", "stays")
    assert "openai-project" not in got


@pytest.mark.parametrize("value", [b"2023-06-01\t; who=jane@example.com", b"x" * 41])
def test_a_version_that_is_none_stays_here(value: bytes) -> None:
    got = seen(anthropic_messages, headers={b"anthropic-version": value}, kind="anthropic")[0].headers
    assert got["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("wire", [openai_chat, anthropic_messages])
@pytest.mark.parametrize("header", [b"authorization", b"x-api-key", b"api-key"])
def test_a_key_of_the_gateway_s_own_never_leaves(kind: str, wire: ModuleType, header: bytes) -> None:
    token = TOKEN_START.encode() + b"secret"
    headers = {b"authorization": b"none", header: b"Bearer " + token}
    assert TOKEN_START not in str(seen(wire, headers=headers, kind=kind)[0].headers)


def test_anthropic_has_its_version_and_key_and_beta_passes() -> None:
    sent = {b"anthropic-beta": b"tools-1", b"x-api-key": b"client"}
    got, body = seen(anthropic_messages, headers=sent, kind="anthropic", key=Secret("mine"))
    assert got.line == "POST /v1/messages HTTP/1.1"
    assert got.body == body
    assert got.headers["x-api-key"] == "mine"
    assert "authorization" not in got.headers
    assert (got.headers["anthropic-version"], got.headers["anthropic-beta"]) == ("2023-06-01", "tools-1")
    newer, _ = seen(anthropic_messages, headers={b"anthropic-version": b"2030-01-01"}, kind="anthropic")
    assert newer.headers["anthropic-version"] == "2030-01-01"
    assert newer.headers["authorization"] == "Bearer client"


def test_between_wires_the_client_s_key_is_put_where_the_upstream_looks_for_it() -> None:
    to_anthropic = seen(openai_chat, kind="anthropic")[0]
    assert to_anthropic.line == "POST /v1/messages HTTP/1.1"
    assert to_anthropic.headers["x-api-key"] == "client"
    assert to_anthropic.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in to_anthropic.headers
    assert openai_text(to_anthropic.json) == "hello"
    sent = {b"x-api-key": b"ant", b"authorization": b"", b"anthropic-version": b"2023-06-01", b"anthropic-beta": b"b"}
    to_openai = seen(anthropic_messages, headers=sent)[0]
    assert to_openai.line == "POST /v1/chat/completions HTTP/1.1"
    assert to_openai.headers["authorization"] == "Bearer ant"
    assert not {"x-api-key", "anthropic-version", "anthropic-beta", "x-stainless-lang"} & set(to_openai.headers)


def openai_text(body: dict[str, Any]) -> Any:
    return anthropic_messages.request(body)["messages"][0]["content"]


def test_what_was_masked_or_renamed_leaves_instead_of_what_came() -> None:
    async def main() -> Seen:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.requests.append(await read_request(reader))
            writer.write(answer(COMPLETION))

        async with scripted(script) as server:
            asking = incumbent(server.url)
            one = exchange()
            one.outgoing = {**one.body, "messages": [{"role": "user", "content": "[masked]"}]}
            await asking.ask(one)
            await asking.close()
            return Seen(server.requests[0])

    got = asyncio.run(main())
    assert got.json["messages"][0]["content"] == "[masked]"
    assert b"hello" not in got.body


def test_models_of_anthropic_are_told_as_openai_tells_its_own() -> None:
    async def main() -> None:
        entry = {"type": "model", "id": "claude", "display_name": "Claude", "created_at": "2025-02-19T00:00:00Z"}

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.requests.append(await read_request(reader))
            writer.write(answer({"data": [entry], "has_more": False}))

        async with scripted(script) as server:
            asking = incumbent(server.url, kind="anthropic")
            listed = await asking.models(Request("GET", "/v1/models", "", {b"x-api-key": b"client"}))
            assert listed == [{**entry, "object": "model", "created": 1739923200, "owned_by": "anthropic"}]
            assert Seen(server.requests[0]).headers["x-api-key"] == "client"
            await asking.close()

    asyncio.run(main())


def test_a_key_is_trimmed_and_one_that_no_header_can_hold_is_refused_without_showing_it() -> None:
    assert seen(openai_chat, key=Secret(" mine\n"))[0].headers["authorization"] == "Bearer mine"
    for key in ("a\r\nx-evil: 1", "schlüssel", "a\x00"):
        with pytest.raises(UsageError) as error:
            open_upstream(UpstreamOptions(url="http://127.0.0.1:9", key=Secret(key)))
        assert key not in str(error.value)


def test_a_key_is_not_shown() -> None:
    assert "hush" not in repr(UpstreamOptions(url="http://h", key=Secret("hush")))
