"""A running gateway, fuzzed: against its own description, and in the raw."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.http.server import ServerLimits
from stepdown.gateway.openapi import describe
from tests.gateway.http.sockets import serving as http_serving
from tests.gateway.serving import Gateway, serving, soon

pytestmark = pytest.mark.slow

MODEL = "gpt-4o-mini"
CONFORMING = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
API = schemathesis.openapi.from_dict(describe("0"))
OPERATIONS = [found.ok() for found in API.get_all_operations()]
CASES = [
    pytest.param(operation, mode, id=f"{operation.label} {mode}")
    for operation in OPERATIONS
    for mode in schemathesis.GenerationMode
    if mode.is_positive or operation.method == "post"
]
BOUNDED = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class _Model(BaseHTTPRequestHandler):
    """The large model: whatever it is asked, it says yes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        choice = {"index": 0, "finish_reason": "stop"}
        said = {"role": "assistant", "content": "yes"}
        if asked.get("stream") is True:
            chunk = {**_COMPLETION, "object": "chat.completion.chunk", "choices": [{**choice, "delta": said}]}
            self._answer("text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())
        else:
            self._answer(
                "application/json", json.dumps({**_COMPLETION, "choices": [{**choice, "message": said}]}).encode()
            )

    def do_GET(self) -> None:
        entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "test"}
        self._answer("application/json", json.dumps({"object": "list", "data": [entry]}).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`stepdown serve` on an empty home; in the end its log must tell of no failure."""
    model = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    upstream = f"http://127.0.0.1:{model.server_port}/v1"
    with serving(tmp_path_factory.mktemp("fuzzed"), "--upstream", upstream) as running:
        yield running
        assert "a request failed" not in running.log
    model.shutdown()


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_it_answers_as_it_says_it_does(gateway: Gateway, operation: Any, mode: Any) -> None:
    checks = list(CONFORMING)
    if operation.path == "/v1/feedback":
        checks.append(negative_data_rejection)

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case: Any) -> None:
        case.call_and_validate(base_url=gateway.url, checks=checks, timeout=20)

    fuzz()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_any_value_may_be_gold_of_a_known_call(gateway: Gateway) -> None:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Is it?"}]}
    answer = gateway.client.post("/v1/chat/completions", json=asked)
    name = answer.headers["x-stepdown-id"]
    assert soon(lambda: gateway.client.post("/v1/feedback", json={"id": name, "score": 1}).status_code == 200)

    @BOUNDED
    @given(gold=JSON_VALUES)
    def fuzz(gold: Any) -> None:
        said = gateway.client.post("/v1/feedback", json={"id": name, "gold": gold})
        assert said.status_code == 200, said.text
        assert said.json() == {"id": name, "became": "gold"}

    fuzz()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_anything_may_stand_where_messages_do(gateway: Gateway, path: str) -> None:
    parts = st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "image", "tool_use", "tool_result", "image_url"]) | JSON_VALUES},
        optional=dict.fromkeys(("text", "source", "content", "input", "name", "id", "image_url"), JSON_VALUES),
    )
    message = st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | JSON_VALUES},
        optional={"content": JSON_VALUES | st.lists(parts, max_size=3), "tool_calls": JSON_VALUES},
    )
    others = ("model", "stream", "stream_options", "metadata", "system", "tools", "tool_choice", "n")
    body = st.fixed_dictionaries(
        {"messages": JSON_VALUES | st.lists(message, max_size=3)}, optional=dict.fromkeys(others, JSON_VALUES)
    )

    @settings(BOUNDED, max_examples=60)
    @given(body=body)
    def fuzz(body: Any) -> None:
        assert gateway.client.post(path, json=body).status_code in (200, 400, 404)

    fuzz()


@pytest.mark.parametrize("depth", [30, 300, 900, 980, 995, 1100, 100_000])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_deep_json_is_answered(gateway: Gateway, path: str, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    block = (
        b'{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": %b}}]}' % deep
    )
    body = b'{"model": "m", "messages": [%b], "tools": [{"name": "f", "input_schema": {"a": %b}}]}' % (block, deep)
    answer = gateway.client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in ((200, 400) if depth > 300 else (200,)), answer.text
    assert depth < 1000 or answer.status_code == 400


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/x/%2e%2E/admin", "/v1/./models"])
def test_no_path_leads_above_what_is_passed_on(gateway: Gateway, path: str) -> None:
    raw = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
    assert statuses(exchanged(gateway, [raw], then_wait=True)) == [400]


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
HIDDEN = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
SMUGGLING = {
    "length and chunks": HEAD + b"content-length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": HEAD + CHUNKED + b"content-length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: 35\r\n\r\n" + HIDDEN,
    "a list of lengths": HEAD + b"content-length: 0, 35\r\n\r\n" + HIDDEN,
    "a signed length": HEAD + b"content-length: +35\r\n\r\n" + HIDDEN,
    "a hexadecimal length": HEAD + b"content-length: 0x0\r\n\r\n" + HIDDEN,
    "a length beyond 64 bits": HEAD + b"content-length: 18446744073709551651\r\n\r\n" + HIDDEN,
    "an empty length": HEAD + b"content-length:\r\n\r\n" + HIDDEN,
    "chunks that are not last": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a folded header": HEAD + b"x: y\r\n transfer-encoding: chunked\r\n\r\n" + HIDDEN,
    "a bare line feed": HEAD + b"x: y\n" + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "a bare carriage return": HEAD + b"x: y\r" + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "a NUL in a value": HEAD + b"x: \0y\r\n\r\n" + HIDDEN,
    "a NUL in a name": HEAD + b"x\0: y\r\n\r\n" + HIDDEN,
    "no name": HEAD + b": y\r\n\r\n" + HIDDEN,
    "no colon": HEAD + b"x\r\n\r\n" + HIDDEN,
    "a chunk's size in words": HEAD + CHUNKED + b"\r\n0x0\r\n\r\n" + HIDDEN,
    "a negative chunk": HEAD + CHUNKED + b"\r\n-1\r\n\r\n" + HIDDEN,
    "a chunk longer than its size": HEAD + CHUNKED + b"\r\n1\r\nabc\r\n0\r\n\r\n" + HIDDEN,
    "a chunk's extension cut short": HEAD + CHUNKED + b"\r\n0;\n\r\n" + HIDDEN,
    "two hosts": b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: b\r\n\r\n" + HIDDEN,
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n" + HIDDEN,
    "a version to come": b"GET /healthz HTTP/7.7\r\nhost: localhost\r\n\r\n" + HIDDEN,
    "words after the version": b"GET /healthz HTTP/1.1 x\r\nhost: localhost\r\n\r\n" + HIDDEN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: localhost\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(gateway: Gateway, raw: bytes) -> None:
    answers = statuses(exchanged(gateway, [raw], then_wait=True))
    assert len(answers) == 1
    assert answers[0] in (400, 405, 413, 501, 505)


FRAGMENTS = [
    b"GET /healthz HTTP/1.1\r\n",
    b"POST /v1/feedback HTTP/1.1\r\n",
    HEAD,
    HIDDEN,
    CHUNKED,
    b"host: localhost\r\n",
    b"content-length: 5\r\n",
    b"content-length: 0\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"expect: 100-continue\r\n",
    b"connection: close\r\n",
    b" folded\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"hello",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
]
ALMOST_HTTP = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12)), max_size=14)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(pieces=ALMOST_HTTP)
def test_bytes_that_are_almost_http_are_answered_once_each_at_most(gateway: Gateway, pieces: list[bytes]) -> None:
    answers = statuses(exchanged(gateway, pieces))
    assert len(answers) <= b"".join(pieces).count(b" HTTP/1.") + 1
    assert 500 not in answers
    assert gateway.client.get("/healthz").status_code == 200


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(inputs=st.lists(ALMOST_HTTP, min_size=30, max_size=60))
def test_no_request_is_answered_twice_and_none_unasked(inputs: list[list[bytes]]) -> None:
    """In this process, where it is known what was taken for a request; nobody closes but the server."""

    async def talk() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with http_serving(_numbered, ServerLimits(header_s=0.1, body_s=0.1, idle_s=0.1)) as server:
            said = await asyncio.gather(*(server.say(*pieces) for pieces in inputs))
        for each in said:
            answers = statuses(each)
            assert all(status == 200 for status in answers[:-1])
            assert 500 not in answers
        numbers = [int(number) for each in said for number in re.findall(rb"number (\d+)", each)]
        assert len(set(numbers)) == len(numbers)
        assert not failures

    asyncio.run(asyncio.wait_for(talk(), 60))


_numbers = itertools.count()


async def _numbered(request: Request) -> Response:
    """Says each time what it never said before."""
    await asyncio.sleep(0)
    return Response(200, [], b"number %d " % next(_numbers))


def exchanged(gateway: Gateway, pieces: list[bytes], then_wait: bool = False) -> bytes:
    """All that a gateway says to these pieces, each in a packet of its own, until it has closed; we close our half
    unless it must close on its own."""
    with socket.create_connection((gateway.client.base_url.host, gateway.client.base_url.port), timeout=20) as ours:
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = b""
        try:
            for piece in pieces:
                ours.sendall(piece)
            if not then_wait:
                ours.shutdown(socket.SHUT_WR)
            while piece := ours.recv(65536):
                said += piece
        except ConnectionError:
            pass  # It closed while we were still talking, as it may.
        return said


def statuses(said: bytes) -> list[int]:
    """The statuses of whole answers, one after the other; interim ones are no answers."""
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        assert match is not None, said
        length = re.search(rb"content-length: (\d+)", head)
        said = rest[int(length[1]) if length else 0 :]
        if match[1] != b"100":
            found.append(int(match[1]))
    return found
