"""One recorded exchange, loosely typed as logs have it, made a Call."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Protocol, cast

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import canonical_json, digest
from stepdown.core.served import Served, served_by
from stepdown.traffic.source import Source
from stepdown.wires import anthropic_messages, openai_chat, openai_responses

ERROR_CHARACTERS = 500
ID_CHARACTERS = 200

# Later than this in seconds is a time in milliseconds (or finer): the year 5138.
_SECONDS_END = 1e11


class Wire(Protocol):
    """What a module in `wires/` does. Each raises ValueError in plain words when a body is not of its wire."""

    PATH: str

    def request(self, body: dict[str, Any]) -> dict[str, Any]: ...
    def response(self, body: dict[str, Any]) -> dict[str, Any]: ...


class Record(msgspec.Struct, kw_only=True):
    """The known fields of a JSONL log; others are ignored."""

    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    id: str | int | None = None
    timestamp: float | str | None = None
    client_id: str | int | None = None
    workload_id: str | int | None = None
    latency_s: float | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    provider: str | None = None
    error: Any = None
    metadata: Any = None
    trace_id: Any = None
    parent_id: Any = None


def wire_of(request: dict[str, Any], response: dict[str, Any] | None) -> Wire:
    """The wire that two bodies came over, by their shape; chat.completions where nothing tells."""
    module: ModuleType = openai_chat
    if response is not None and "choices" in response:
        module = openai_chat
    elif "input" in request and "messages" not in request:
        module = openai_responses
    elif _is_anthropic(request, response):
        module = anthropic_messages
    return cast(Wire, module)


def call_of(record: Record, source: Source, line: int, wire: Wire) -> Call | Broken:
    """A Call in chat shape. Broken, with the reason, where a body is not of the wire or the time cannot be read."""
    if record.request is None:
        return source.broken(line, "the record has no request", _raw(record))
    try:
        request = wire.request(record.request)
        response, error = _answer(record, wire)
        timestamp = seconds(record.timestamp) if record.timestamp is not None else _created(response)
    except ValueError as problem:
        return source.broken(line, str(problem), _raw(record))
    if record.cost_usd is not None and not 0.0 <= record.cost_usd < math.inf:
        return source.broken(line, f"a call does not cost {record.cost_usd} USD", _raw(record))
    if isinstance(record.metadata, dict) and record.metadata and "metadata" not in request:
        request = {**request, "metadata": record.metadata}
    latency = record.latency_s
    if latency is None and record.latency_ms is not None:
        latency = record.latency_ms / 1000.0
    provider, served = served_by(record.provider or "")
    trace, parent = _name(record.trace_id), _name(record.parent_id)
    if trace or parent:
        served = msgspec.structs.replace(served or Served(), trace=trace, parent=parent)
    return Call(
        id=_text(record.id) or content_id(record, line),
        request=request,
        response=response,
        timestamp=timestamp,
        client_id=_text(record.client_id),
        workload_id=_text(record.workload_id),
        latency_s=latency,
        cost_usd=record.cost_usd,
        provider=provider,
        error=error,
        source=source.at(line),
        served=served,
    )


def content_id(record: Record, line: int) -> str:
    """A stable id for a record without one: a hash of its content.

    Where nothing in it tells two equal records apart (no time, no response id), the line counts too, so that equal
    records of one file stay as many calls as they were.
    """
    response = record.response or {}
    apart: Any = record.timestamp or response.get("id") or response.get("created") or line
    return "call-" + digest(canonical_json([record.request, record.response, apart]))[:24]


def seconds(value: float | str) -> float:
    """Seconds since the epoch from a number (s, ms, µs or ns) or an ISO 8601 text. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _iso(str(value))
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"the timestamp {value!r} is not a time")
    number = float(value)
    for _ in range(3):  # ms, µs, ns
        if number >= _SECONDS_END:
            number /= 1000.0
    if number >= _SECONDS_END:
        raise ValueError(f"the timestamp {value!r} is not a time")
    return number


def error_text(error: Any) -> str:
    """An upstream's error as one bounded line; "" for none."""
    if not error:
        return ""
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        kind = error.get("type") or error.get("code")
        error = f"{kind}: {error['message']}" if kind else error["message"]
    text = error if isinstance(error, str) else canonical_json(error).decode()
    return text[:ERROR_CHARACTERS]


def _answer(record: Record, wire: Wire) -> tuple[dict[str, Any] | None, str]:
    body, error = record.response, error_text(record.error)
    if body is None or (error and "choices" not in body):
        return None, error
    if body.get("error") and not body.get("choices"):
        return None, error_text(body["error"])
    return wire.response(body), error


def _is_anthropic(request: dict[str, Any], response: dict[str, Any] | None) -> bool:
    if response is not None and not response.get("error"):
        return isinstance(response.get("content"), list)
    tools = request.get("tools")
    return "system" in request or (isinstance(tools, list) and any("input_schema" in tool for tool in tools if tool))


def _created(response: dict[str, Any] | None) -> float:
    created = (response or {}).get("created")
    return seconds(created) if isinstance(created, int | float) and created >= 0 else 0.0


def _iso(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"the timestamp {text[:40]!r} is neither a number nor ISO 8601") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)


def _name(value: Any) -> str:
    """An id of a trace or a span; "" for what is none."""
    return str(value)[:ID_CHARACTERS] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _raw(record: Record) -> bytes:
    return canonical_json([record.request, record.response])
