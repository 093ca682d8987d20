"""What no client should send, and what becomes of it: an error of the wire's own shape, and a gateway that stays up."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway

JSON = {"content-type": "application/json"}
PATHS = ("/v1/chat/completions", "/v1/messages")


def wire_error(path: str, body: bytes) -> str:
    """The message of an error in its wire's shape."""
    error = json.loads(body)
    if path == "/v1/messages":
        assert error["type"] == "error"
    assert isinstance(error["error"]["type"], str)
    assert error["error"]["message"]
    message: str = error["error"]["message"]
    return message


BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"null", 400),
    (b"[]", 400),
    (b'"text"', 400),
    (b"{}", 400),
    (b'{"messages": "hello"}', 400),
    (b'{"messages": ["hello"]}', 400),
    (b'{"messages": {"role": "user"}}', 400),
    (b'{"messages": [], "messages": 7}', 400),
    (b'{"model": "m", "messages": [{"role": "user", "content": "\xff\xfe"}]}', 400),
    (b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}', 400),
    (b'{"model": "m", "messages": ' + b"[" * 200_000, 400),
    (b'{"model": "m", "messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
    (b'\xef\xbb\xbf{"messages": []}', 400),
    (b"\x00" * 100, 400),
    (b'{"messages": [], "x": 1e999}', 400),
    (b'{"messages": [], "x": NaN}', 400),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "status"), BODIES, ids=[str(number) for number in range(len(BODIES))])
def test_bodies_that_are_no_request(
    gateway: Gateway, upstream: LargeModel, path: str, body: bytes, status: int
) -> None:
    before = len(upstream.seen)
    got = gateway.client.post(path, content=body, headers=JSON)
    assert got.status_code == status, got.text
    wire_error(path, got.content)
    assert len(got.content) < 2000
    assert len(upstream.seen) == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
def test_bodies_of_another_kind(gateway: Gateway, path: str, kind: str) -> None:
    body = b'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}'
    got = gateway.client.post(path, content=body, headers={"content-type": kind})
    assert got.status_code == 415
    wire_error(path, got.content)
    assert gateway.client.post(path, content=body).status_code == 415


ODD_FIELDS: list[dict[str, Any]] = [
    {"model": None},
    {"model": 7},
    {"model": ["a"]},
    {"model": "x" * 10_000},
    {"model": "no-such-model-\x00"},
    {"stream": "yes"},
    {"stream_options": 7},
    {"metadata": "text"},
    {"metadata": {"workload": "x" * 5000}},
    {"tools": 7},
    {"tools": ["a", None, {"function": 7}]},
    {"response_format": "json"},
    {"response_format": {"type": ["a"], "json_schema": 7}},
    {"stop": [7, None]},
    {"max_tokens": "many"},
    {"max_tokens": -1},
    {"n": 10**30},
    {"logprobs": "x"},
    {"user": {"a": 1}},
    {"messages": []},
    {"messages": [{"role": 7, "content": 7}]},
    {"messages": [{"content": [[["a"]]]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": {"a": 1}}]}]},
    {"system": 7},
    {"temperature": 10**400},
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("odd", ODD_FIELDS, ids=[str(number) for number in range(len(ODD_FIELDS))])
@pytest.mark.parametrize("task", [None, "tickets"])
def test_odd_fields_are_the_upstreams_to_judge(
    gateway: Gateway, path: str, odd: dict[str, Any], task: str | None
) -> None:
    """Passed on, or refused in words where no other wire has them; never a failure of ours."""
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], **odd}
    headers = {**JSON, **({"x-stepdown-workload": task} if task else {})}
    got = gateway.client.post(path, content=json.dumps(body).encode(), headers=headers)
    assert got.status_code in (200, 400), got.text
    if got.status_code == 400:
        wire_error(path, got.content)


def test_an_unknown_route_is_refused(gateway: Gateway) -> None:
    got = gateway.client.post("/v1/messages", json={"messages": []}, headers={"x-stepdown-route": "moon"})
    assert got.status_code == 400
    assert "incumbent or students" in wire_error("/v1/messages", got.content)


@pytest.mark.parametrize("path", PATHS)
def test_a_body_beyond_every_bound(gateway: Gateway, path: str) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {1 << 40}\r\n"
        )
        connection.sendall(head.encode() + b"\r\n")
        answer = connection.makefile("rb").read()
    head_bytes, _, body = answer.partition(b"\r\n\r\n")
    assert head_bytes.startswith(b"HTTP/1.1 413 ")
    wire_error(path, body)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/messages", 405),
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("POST", "/healthz", 405),
        ("POST", "/metrics", 405),
        ("TRACE", "/v1/embeddings", 405),
        ("GET", "/v1/models/no-such", 404),
        ("GET", "/" + "x" * 3000, 404),
    ],
)
def test_paths_and_methods(gateway: Gateway, method: str, path: str, status: int) -> None:
    got = gateway.client.request(method, path)
    assert got.status_code == status
    if status == 405:
        assert got.headers.get("allow") or method == "TRACE"
    if status >= 400:
        wire_error(path, got.content)


def test_after_all_of_it_the_gateway_is_well(gateway: Gateway) -> None:
    assert gateway.client.get("/readyz").json() == {"status": "ready"}
    assert "Traceback" not in gateway.log
