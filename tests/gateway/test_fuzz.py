"""A running gateway, fuzzed: against its own description, and in the raw."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stepdown.gateway.openapi import describe
from tests.gateway.serving import Gateway, serving

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
BOUNDED = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


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
