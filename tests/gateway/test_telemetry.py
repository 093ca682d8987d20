"""Spans as a collector gets them: a real one over HTTP, that reads the protobuf."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.errors import MissingExtra
from stepdown.core.gateway import UpstreamSettings
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.outcome import outcome_of
from stepdown.gateway.telemetry import Telemetry, telemetry_of
from tests.gateway.exchanges import AT, answer, exchange, task

trace_service_pb2 = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

UPSTREAMS = (UpstreamSettings(url="https://api.example.com/v1", name="openai", kind="openai"),)
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """Takes OTLP over HTTP and keeps what came, decoded and as bytes."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.raw += body
        message = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for one in message.resource_spans:
            self.resources.append(values(one.resource.attributes))
            for scope in one.scope_spans:
                self.spans.extend(scope.spans)


def values(attributes: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        found = getattr(value, kind)
        return [plain(each) for each in found.values] if kind == "array_value" else found

    return {one.key: plain(one.value) for one in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def sent(collector: Collector, monkeypatch: pytest.MonkeyPatch, *exchanges: Exchange) -> list[Any]:
    """The spans that come out for these exchanges."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    telemetry = telemetry_of({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address}, UPSTREAMS)
    assert isinstance(telemetry, Telemetry)
    for one in exchanges:
        telemetry(one, outcome_of(one, lambda call: 0.1))
    telemetry.close()
    return collector.spans


def test_an_upstreams_answer_is_a_client_span(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    one = exchange(served=task(), reason="unsure", confidence=0.4)
    one.chat |= {
        "temperature": 0,
        "max_tokens": 50,
        "n": 2,
        "seed": 1 << 70,
        "response_format": {"type": "json_object"},
    }
    one.request.headers = {b"traceparent": PARENT}
    (span,) = sent(collector, monkeypatch, one)
    assert (span.name, span.kind) == ("chat gpt-4o-mini", 3)
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert span.start_time_unix_nano == round(AT * 1e9)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
    assert values(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.choice.count": 2,
        "gen_ai.output.type": "json",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "server.address": "api.example.com",
        "server.port": 443,
        "stepdown.call.id": one.id,
        "stepdown.rung": "incumbent",
        "stepdown.task": "intent",
        "stepdown.reason": "unsure",
        "stepdown.confidence": 0.4,
    }
    assert collector.resources[0]["service.name"] == "stepdown-gateway"


def test_a_students_answer_is_an_internal_span_with_its_certificate(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = exchange(served=replace(task(), certificate="abc"), rung="encoder", upstream="", confidence=0.99)
    (span,) = sent(collector, monkeypatch, local)
    found = values(span.attributes)
    assert span.kind == 1
    assert (found["gen_ai.provider.name"], found["stepdown.rung"]) == ("stepdown", "encoder")
    assert (found["stepdown.certificate"], found["stepdown.confidence"]) == ("abc", 0.99)
    assert "server.address" not in found


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"status": 529}, "529"),
        ({"status": 429, "rung": "refused", "upstream": ""}, "429"),
        ({"status": 0, "error": "the client went away"}, "cancelled"),
        ({"reply": b"half an ans"}, "broken"),
        ({"error": "The upstream cut its answer off."}, "broken"),
    ],
)
def test_errors_have_a_type(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], kind: str
) -> None:
    (span,) = sent(collector, monkeypatch, exchange(**fields))
    assert values(span.attributes)["error.type"] == kind
    assert span.status.code == 2


def test_no_body_and_no_broken_parent_gets_out(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "my-pin-is-0815"
    one = exchange(answer(secret), said=secret)
    one.request.headers = {b"traceparent": b"\xff not one", b"authorization": secret.encode()}
    failed = exchange(f'{{"error": {{"message": "{secret}"}}}}'.encode(), status=400, error=secret)
    assert len(sent(collector, monkeypatch, one, failed)) == 2
    assert secret.encode() not in collector.raw


def test_spans_are_made_only_where_a_collector_is_named() -> None:
    assert telemetry_of({}) is None
    assert telemetry_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) is None


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from stepdown.core.errors import MissingExtra
from stepdown.gateway.telemetry import telemetry_of
try:
    telemetry_of({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"})
except MissingExtra as error:
    print(error)
"""


def test_without_the_extra_it_is_said_how_to_get_it() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=root, check=True)
    assert "pip install 'stepdown[telemetry]'" in done.stdout
    assert issubclass(MissingExtra, Exception)
