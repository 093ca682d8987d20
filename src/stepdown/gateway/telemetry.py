"""OpenTelemetry spans of finished exchanges, one each, without what was said in them.

Source: OpenTelemetry's semantic conventions for generative AI, opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans
(span name and kind, `gen_ai.*`, `server.*`, `error.type`). Status of those conventions: development.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepdown.core.calls import Call
from stepdown.core.errors import needs
from stepdown.core.gateway import UpstreamSettings
from stepdown.gateway.exchange import CACHE, Exchange
from stepdown.gateway.outcome import Outcome, is_student

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXTRA = "telemetry"
SWITCHES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Where one of these variables of the environment names a collector, spans are sent to it."""

SERVICE = "stepdown-gateway"

_NUMBERS = {
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "seed": ("gen_ai.request.seed", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
}
_CONTEXT = ("traceparent", "tracestate")


class Telemetry:
    """A listener of the mover's: spans are made after the client has its answer, with the times it took.

    upstreams: those that the gateway asks, each with its name.
    """

    def __init__(self, provider: TracerProvider, upstreams: Iterable[UpstreamSettings] = ()) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("stepdown.gateway")
        self._parents = TraceContextTextMapPropagator()
        self._servers = {one.name: _server(one) for one in upstreams}

    def __call__(self, exchange: Exchange, outcome: Outcome) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        here = is_student(exchange.rung) or exchange.rung == CACHE
        attributes = {**_asked(exchange), **self._answered(exchange, outcome, here)}
        headers = {name: exchange.request.header(name.encode()) for name in _CONTEXT}
        model = attributes.get("gen_ai.request.model")
        start = round(exchange.at * 1e9)
        span = self._tracer.start_span(
            f"chat {model}" if model else "chat",
            context=self._parents.extract({name: value for name, value in headers.items() if value}),
            kind=SpanKind.INTERNAL if here else SpanKind.CLIENT,
            attributes=attributes,
            start_time=start,
        )
        if "error.type" in attributes:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=start + round(exchange.latency_s * 1e9))

    def close(self) -> None:
        """Send what waits and end. Takes as long as the exporter's own time-outs allow."""
        self._provider.shutdown()

    def _answered(self, exchange: Exchange, outcome: Outcome, here: bool) -> dict[str, Any]:
        task = exchange.task
        server = self._servers.get(exchange.upstream, {"gen_ai.provider.name": exchange.wire.NAME})
        found: dict[str, Any] = {
            **({"gen_ai.provider.name": "stepdown"} if here else server),
            "stepdown.call.id": exchange.id,
            "stepdown.rung": exchange.rung,
            "stepdown.task": task.name if task else None,
            "stepdown.reason": exchange.reason or None,
            "stepdown.confidence": exchange.confidence,
            "stepdown.certificate": task.certificate or None if task and here else None,
            "error.type": _error_type(exchange, outcome),
        }
        if outcome.tokens and not outcome.estimated:
            found["gen_ai.usage.input_tokens"] = outcome.prompt_tokens
            found["gen_ai.usage.output_tokens"] = outcome.completion_tokens
        response = outcome.call.response if isinstance(outcome.call, Call) else None
        if response:
            choices = [choice for choice in response.get("choices") or () if isinstance(choice, dict)]
            found["gen_ai.response.id"] = _text(response.get("id"))
            found["gen_ai.response.model"] = _text(response.get("model"))
            found["gen_ai.response.finish_reasons"] = [str(choice.get("finish_reason") or "") for choice in choices]
        return {name: value for name, value in found.items() if value is not None}


def telemetry_of(environment: Mapping[str, str], upstreams: Iterable[UpstreamSettings] = ()) -> Telemetry | None:
    """Spans over OTLP/HTTP, where the environment names a collector; None where it does not. Raises MissingExtra.

    The exporter reads its own settings (endpoint, headers, time-outs, sampler) from the process's environment.
    """
    if (
        not any(environment.get(name) for name in SWITCHES)
        or environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        return None
    with needs(EXTRA, "Sending traces"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Telemetry(provider, upstreams)


def _asked(exchange: Exchange) -> dict[str, Any]:
    chat = exchange.chat
    found: dict[str, Any] = {"gen_ai.operation.name": "chat"}
    if isinstance(chat.get("model"), str):
        found["gen_ai.request.model"] = chat["model"][:200]
    for name, (attribute, kind) in _NUMBERS.items():
        value = chat.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 63:
            found[attribute] = kind(value)
    choices = chat.get("n")
    if isinstance(choices, int) and choices > 1:
        found["gen_ai.request.choice.count"] = choices
    shape = chat.get("response_format")
    if isinstance(shape, dict):
        found["gen_ai.output.type"] = "json" if str(shape.get("type", "")).startswith("json") else "text"
    return found


def _server(upstream: UpstreamSettings) -> dict[str, Any]:
    parts = urlsplit(upstream.url)
    server: dict[str, Any] = {"gen_ai.provider.name": upstream.kind}
    if parts.hostname:
        server["server.address"] = parts.hostname
        server["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    return server


def _error_type(exchange: Exchange, outcome: Outcome) -> str | None:
    """One of few: the status, "cancelled" where the client went away, "broken" for an answer cut off or unreadable."""
    if exchange.status >= 400:
        return str(exchange.status)
    if exchange.error == "the client went away":
        return "cancelled"
    return "broken" if exchange.error or (isinstance(outcome.call, Call) and outcome.call.error) else None


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value else None
