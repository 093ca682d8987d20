"""What of a request's head goes upstream, and what of an answer's comes back: attacked through a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.large_model import EVENTS, JSON, LargeModel, Says
from tests.gateway.serving import Gateway, copied, kept, serving, unsure

KEY = "sk-the-upstreams/own-1234567890"
STAYS = {
    "cookie": "session=stays-here",
    "openai-organization": "org-stays-here",
    "openai-project": "proj-stays-here",
    "api-version": "2024-stays-here",
    "x-forwarded-for": "stays-here",
    "forwarded": "for=stays-here",
    "via": "1.1 stays-here",
    "te": "trailers, stays-here",
    "proxy-authorization": "Basic stays-here",
    "x-real-ip": "stays-here",
    "user-agent": "stays-here",
    "referer": "http://stays-here/",
    "anthropic-beta": "a\tstays-here",
    "x-own": "stays-here",
}


@pytest.fixture(scope="module")
def gateway(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = copied(certified, tmp_path_factory.mktemp("headers") / "home")
    with serving(home, "--upstream", upstream.url, STEPDOWN_UPSTREAM_KEY=KEY) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/chat/completions?who=stays-here", "/v1/messages?who=stays-here"])
def test_what_stays_here(gateway: Gateway, upstream: LargeModel, path: str) -> None:
    got = gateway.ask(unsure(), path, headers=STAYS, max_tokens=9)
    assert got.status_code == 200
    assert "stays-here" not in upstream.last().everything


def test_what_stays_here_on_other_paths(gateway: Gateway, upstream: LargeModel) -> None:
    got = gateway.client.post("/v1/embeddings", json={"input": "x"}, headers=STAYS)
    assert got.status_code == 200
    assert upstream.last().headers["content-type"] == "application/json"
    assert "stays-here" not in upstream.last().everything
    gateway.client.get("/v1/models", headers=STAYS)
    assert "stays-here" not in upstream.last().everything


def test_claude_s_betas_go_upstream(gateway: Gateway, upstream: LargeModel) -> None:
    headers = {"anthropic-beta": "context-1m-2025-08-07, tools-1", "openai-beta": "assistants=v2"}
    gateway.ask(unsure(), "/v1/chat/completions?beta=true", headers=headers)
    assert upstream.last().headers["anthropic-beta"] == headers["anthropic-beta"]
    assert upstream.last().headers["openai-beta"] == headers["openai-beta"]
    assert upstream.last().path.endswith("?beta=true")


def test_what_an_upstream_sets_for_its_own_clients(gateway: Gateway, upstream: LargeModel) -> None:
    headers = {"x-request-id": "r1", "retry-after": "3", "x-ratelimit-remaining-tokens": "7"}
    hidden = {"set-cookie": "a=b", "openai-organization": "ours", "x-stepdown-rung": "linear", "server": "x"}
    upstream.then(Says(b'{"error": {"message": "no"}}', 400, {**JSON, **headers, **hidden}))
    got = gateway.ask(unsure())
    assert {name: got.headers[name] for name in headers} == headers
    assert got.headers["x-stepdown-rung"] == "incumbent"
    assert not {"set-cookie", "openai-organization", "server"} & set(got.headers)


def said(text: str) -> bytes:
    return json.dumps(
        {"error": {"message": f"Incorrect API key provided: {text}.", "code": "invalid_api_key"}}
    ).encode()


ESCAPED = "".join(f"\\u{ord(each):04x}" for each in KEY)


@pytest.mark.parametrize(
    "body", [said(KEY), said(KEY).replace(b"/", b"\\/"), said(KEY).replace(KEY.encode(), ESCAPED.encode())]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_key_that_an_upstream_echoes(gateway: Gateway, upstream: LargeModel, body: bytes, path: str) -> None:
    upstream.then(Says(body, 401, {**JSON, "x-request-id": f"for {KEY}"}))
    got = gateway.ask(unsure(), path, max_tokens=9)
    assert got.status_code == 401
    assert KEY not in json.dumps(got.json(), ensure_ascii=False).replace("\\/", "/") + str(got.headers)
    assert "[KEY]" in got.text
    assert KEY not in str(kept(gateway.home, got.headers["x-stepdown-id"]))


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_a_key_that_a_stream_echoes_in_pieces(gateway: Gateway, upstream: LargeModel, size: int) -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini"}
    delta = {"index": 0, "delta": {"content": f"use {KEY} sk-the"}, "finish_reason": "stop"}
    whole = b"data: " + json.dumps({**chunk, "choices": [delta]}).encode() + b"\n\ndata: [DONE]\n\n"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    upstream.then(Says(pieces, headers=dict(EVENTS)))
    got = gateway.ask(unsure(), stream=True)
    assert got.text == whole.decode().replace(KEY, "[KEY]")
    assert KEY not in str(kept(gateway.home, got.headers["x-stepdown-id"]))


def test_a_client_s_own_key_is_not_kept(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    own = "sk-the-clients-own-123456"
    with serving(copied(certified, tmp_path / "home"), "--upstream", upstream.url) as running:
        upstream.then(Says(said(own), 401))
        got = running.ask(unsure(), headers={"authorization": f"Bearer {own}"})
        assert upstream.last().headers["authorization"] == f"Bearer {own}"
        assert own not in got.text
        assert own not in str(kept(running.home, got.headers["x-stepdown-id"]))
