"""Raw bytes to a running gateway: what is refused before its body is read, and what never reaches an upstream."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import Gateway, serving, soon
from tests.gateway.test_fuzz import exchanged, statuses
from tests.gateway.test_serving_keys import make_key

SETTINGS = """
[gateway]
hosts                      = ["gateway.internal"]
paths                      = ["/v1/rerank", "/v1/own/thing"]
max_connections_per_client = 6
max_bytes_under_way        = 33554432
"""
BODY = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).encode()
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def head(path: str = CHAT, host: str = "localhost", more: str = "", method: str = "POST") -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    return f"{lines}connection: close\r\n{more}\r\n".encode()


def whole(path: str = CHAT, host: str = "localhost", more: str = "", body: bytes = BODY) -> bytes:
    return head(path, host, f"{more}content-length: {len(body)}\r\n") + body


def chunked(body: bytes, trailers: bytes = b"", more: str = "") -> bytes:
    chunks = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)
    return head(more=f"{more}transfer-encoding: chunked\r\n") + chunks


@pytest.fixture(scope="module")
def bare(upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A recording proxy without keys."""
    home = tmp_path_factory.mktemp("bare")
    (home / "stepdown.toml").write_text(SETTINGS)
    with serving(home, "--upstream", upstream.url) as running:
        yield running


@pytest.fixture(scope="module")
def keyed(upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, dict[str, str]]]:
    """A gateway that asks for keys, and their tokens by name."""
    home = tmp_path_factory.mktemp("keyed")
    (home / "stepdown.toml").write_text("")
    tokens = {name: make_key(home, name, *more) for name, more in {"good": (), "late": ("--expires", "1s")}.items()}
    with serving(home, "--upstream", upstream.url) as running:
        late = {"authorization": f"Bearer {tokens['late']}"}
        assert soon(lambda: running.client.get("/v1/models", headers=late).status_code == 401)
        yield running, tokens


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "10.0.0.1", "localhost.evil", "localhost, x"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/models", "/healthz"])
def test_another_host_is_not_answered(bare: Gateway, upstream: LargeModel, host: str, path: str) -> None:
    before = len(upstream.seen)
    answer = exchanged(bare, [whole(path, host)], then_wait=True)
    assert statuses(answer) == [421]
    assert "[gateway] hosts" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert len(upstream.seen) == before


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]", "gateway.internal:8080"])
def test_its_own_hosts_are(bare: Gateway, host: str) -> None:
    assert statuses(exchanged(bare, [whole(CHAT, host)], then_wait=True)) == [200]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/..%2fadmin",
        "/v1/%2e%2e/admin",
        "/v1/..%5cadmin",
        "/v1/..;/admin",
        "/v1/files;x/y",
        "/v1//admin",
        "//evil/v1/files",
        "/v1/files\\..\\admin",
        "/v1/files/%00",
        "/v1/files/%252e",
        "/v1/files/\xe9",
        "/v1/files#x",
        "http://evil/v1/files",
        "*",
    ],
)
def test_what_an_upstream_could_read_in_another_way_never_gets_there(
    bare: Gateway, upstream: LargeModel, path: str
) -> None:
    before = len(upstream.seen)
    raw = whole("PATH").replace(b"PATH", path.encode("latin-1"))
    assert statuses(exchanged(bare, [raw], then_wait=True)) == [400]
    assert len(upstream.seen) == before


@pytest.mark.parametrize("path", ["/v1/admin", "/v1/organization/users", "/v1/api_keys", "/v1/own", "/v1/messages/x"])
def test_unknown_families_are_not_passed_on(bare: Gateway, upstream: LargeModel, path: str) -> None:
    before = len(upstream.seen)
    got = bare.client.post(path, content=b"{}", headers={"content-type": "application/json"})
    assert got.status_code == 404
    assert "[gateway] paths" in got.json()["error"]["message"]
    assert len(upstream.seen) == before


@pytest.mark.parametrize(
    "path", ["/v1/rerank", "/v1/own/thing/x", "/v1/messages/count_tokens", "/v1/embeddings", "/v1/batches/b-1/cancel"]
)
def test_known_and_named_ones_are(bare: Gateway, path: str) -> None:
    got = bare.client.post(path, content=b"{}", headers={"content-type": "application/json"})
    assert got.json() == {"took": path}


def test_a_model_s_name_may_hold_a_slash(bare: Gateway) -> None:
    assert bare.client.get("/v1/models/gpt-4o-mini").status_code == 200
    got = bare.client.get("/v1/models/meta%2FLlama")
    assert got.status_code == 404
    assert "'meta/Llama'" in got.json()["error"]["message"]


def test_a_trailer_overrules_nothing(bare: Gateway, upstream: LargeModel) -> None:
    trailers = b"x-stepdown-route: students\r\nx-late: 1\r\nauthorization: Bearer other\r\n"
    answer = exchanged(bare, [chunked(BODY, trailers)], then_wait=True)
    assert statuses(answer) == [200]
    assert b"x-stepdown-rung: incumbent" in answer
    seen = upstream.last()
    assert not {"x-late", "authorization", "x-stepdown-route"} & set(seen.headers)
    assert seen.body == BODY


def test_a_client_that_closes_its_side_gets_its_answer(bare: Gateway) -> None:
    for stream in (b"false", b"true"):
        body = BODY.replace(b'"max_tokens"', b'"stream": %b, "max_tokens"' % stream)
        answer = exchanged(bare, [whole(body=body)])  # It shuts its side down.
        assert answer.startswith(b"HTTP/1.1 200")
        assert (SAID.replace('"', '\\"').encode() in answer) if stream == b"false" else answer.endswith(b"0\r\n\r\n")


def test_one_address_has_a_bound(bare: Gateway) -> None:
    host, port = bare.client.base_url.host, bare.client.base_url.port
    kept = [socket.create_connection((host, port)) for _ in range(8)]
    try:
        refused = [one for one in kept if _says(one)]
        assert len(refused) >= 2
        answer = refused[-1].makefile("rb").read()
        assert statuses(answer) == [503]
        assert b"retry-after: 1" in answer
    finally:
        for one in kept:
            one.close()
    assert soon(lambda: statuses(exchanged(bare, [head("/healthz", method="GET")])) == [200])


def _says(one: socket.socket) -> bool:
    """Whether a connection is spoken to before it said anything."""
    one.settimeout(0.3)
    try:
        return bool(one.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False


def test_bodies_beyond_the_bound_are_refused_by_their_length(bare: Gateway) -> None:
    """Two large ones under way leave no room for a third, and every room for a small one."""
    size = 12 << 20
    address = (bare.client.base_url.host, bare.client.base_url.port)
    begun = head(more=f"content-length: {size}\r\n")
    with socket.create_connection(address) as one, socket.create_connection(address) as two:
        one.sendall(begun)
        two.sendall(begun)
        assert soon(lambda: statuses(exchanged(bare, [begun], then_wait=True)) == [503])
        assert statuses(exchanged(bare, [whole()], then_wait=True)) == [200]
    assert soon(lambda: statuses(exchanged(bare, [begun])) == [])


def test_millions_of_values_are_no_request(bare: Gateway) -> None:
    body = BODY[:-1] + b', "x": [' + b"[]," * 1_000_000 + b"0]}"
    got = bare.client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert got.status_code == 413
    assert got.json()["error"]["code"] == "too_many_values"


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/embeddings", "/v1/feedback"])
@pytest.mark.parametrize("key", ["none", "unknown", "late"])
def test_the_key_is_checked_before_the_body_is_read(keyed: tuple[Gateway, dict[str, str]], path: str, key: str) -> None:
    gateway, tokens = keyed
    token = tokens.get(key, "sk-stepdown-unknown")
    more = "" if key == "none" else f"authorization: Bearer {token}\r\n"

    def said() -> bytes:
        # The body never comes: an answer shows that nobody waited for it.
        return exchanged(
            gateway, [head(path, more=f"{more}expect: 100-continue\r\ncontent-length: 9000000\r\n")], then_wait=True
        )

    assert soon(lambda: statuses(said()) == [401])
    assert b"100 Continue" not in said()
    error = json.loads(said().partition(b"\r\n\r\n")[2])
    assert error["error"]["message"]
    assert ("type" in error) is (path == MESSAGES)


def test_a_good_key_is_asked_for_its_body(keyed: tuple[Gateway, dict[str, str]], upstream: LargeModel) -> None:
    gateway, tokens = keyed
    more = f"x-api-key: {tokens['good']}\r\nexpect: 100-continue\r\n"
    answer = exchanged(gateway, [whole(more=more)], then_wait=True)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert tokens["good"] not in upstream.last().everything
    too_large = head(more=f"{more}content-length: {1 << 40}\r\n")
    assert statuses(exchanged(gateway, [too_large], then_wait=True)) == [413]


def test_a_key_in_a_trailer_opens_nothing(keyed: tuple[Gateway, dict[str, str]]) -> None:
    gateway, tokens = keyed
    trailer = f"authorization: Bearer {tokens['good']}\r\n".encode()
    assert statuses(exchanged(gateway, [chunked(BODY, trailer)], then_wait=True)) == [401]
