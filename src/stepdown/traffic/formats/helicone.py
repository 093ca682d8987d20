"""helicone: requests as Helicone exports them, with their bodies.

Shapes: `HeliconeRequest` of POST /v1/request/query-clickhouse (docs.helicone.ai/rest/request), which the package
@helicone/export writes as JSON, JSONL or CSV (examples/export/typescript/index.ts of Helicone/helicone): bodies are in
`request_body` and `response_body` where it was run with --include-body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.loose_chat import answers_of, completion, messages_of, unpacked, usage_of, without_nulls
from stepdown.traffic.record import Record, Wire, call_of, error_text, wire_of
from stepdown.traffic.rows import first_of, named, number, rows_of, scalars, sniffed_share
from stepdown.traffic.source import Source
from stepdown.wires import anthropic_messages, event_stream, openai_chat, openai_responses
from stepdown.wires.loose import mapping, text

EXTRA = ""

_WIRES = (openai_chat, openai_responses, anthropic_messages)
_SESSION = "Helicone-Session-Id"
_NO_CACHE = "00000000-0000-0000-0000-000000000000"
_NO_ANSWERS = "this CSV has no answers: export with --format jsonl --include-body"
_NO_BODIES = "no bodies were exported: run the export with --include-body"
_STATUSES = {-2: "pending", -3: "cancelled", -4: "a threat, as Helicone judged"}


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    return 0.97 * sniffed_share(head, _is_ours, "data")


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    for source in sources:
        reported = False
        for item in rows_of(source, options, "data"):
            if isinstance(item, Broken):
                yield item
            elif "response_body" in item[1] or "signed_body_url" in item[1] or "request_id" in item[1]:
                yield _call(source, *item)
            elif not reported:
                reported = True  # every row of the table would say the same
                yield source.broken(1, _NO_ANSWERS if "response_id" in item[1] else _NO_BODIES, _raw(item[1]))


def examples() -> list[FormatExample]:
    request = {"model": "m", "messages": [{"role": "user", "content": "Good or bad? I love it"}]}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
    answered = {"id": "r-1", "object": "chat.completion", "created": 1751942128, "model": "m", "choices": [choice]}
    row = {
        "response_id": "5f1c",
        "response_created_at": "2025-07-08T02:35:29.000Z",
        "response_body": answered,
        "response_status": 200,
        "request_id": "0a2b",
        "request_created_at": "2025-07-08T02:35:28.000Z",
        "request_body": request,
        "request_path": "https://api.openai.com/v1/chat/completions",
        "request_user_id": "anna",
        "request_properties": {_SESSION: "s-1", "app": "shop"},
        "provider": "OPENAI",
        "delay_ms": 500,
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "cost": 0.5,
        "signed_body_url": "https://example.com/body",
        "cache_reference_id": _NO_CACHE,
    }
    call = Call(
        id="0a2b",
        timestamp=1751942128.0,
        client_id="anna",
        latency_s=0.5,
        cost_usd=0.5,
        provider="openai",
        request={**request, "metadata": {"app": "shop", "session_id": "s-1"}},
        response={**answered, "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}},
        source="requests.jsonl:1",
    )
    return [FormatExample(name="requests.jsonl", data=msgspec.json.encode(row) + b"\n", calls=(call,))]


def _is_ours(row: dict[str, Any]) -> bool:
    return {"response_id", "response_created_at"} <= row.keys() or {"request_id", "request_created_at"} <= row.keys()


def _call(source: Source, line: int, row: dict[str, Any]) -> Call | Broken:
    request, response = unpacked(row.get("request_body")), unpacked(row.get("response_body"))
    path = urlsplit(text(row.get("request_path"))).path.rstrip("/")
    if not isinstance(request, dict) or not request:
        return source.broken(line, _NO_BODIES, _raw(row))
    wire = next((wire for wire in _WIRES if path.endswith(wire.PATH)), None)
    if wire is None and not (
        {"messages", "prompt"} & request.keys() or isinstance(mapping(response).get("output"), list)
    ):
        return source.broken(line, f"not a call to a chat endpoint: {path or ', '.join(request)[:80]}", _raw(row))
    try:
        request, response = _bodies(row, request, response, wire)
    except ValueError as problem:
        return source.broken(line, str(problem), _raw(row))
    error = _error(row, response)
    cached = text(row.get("cache_reference_id")) not in {"", _NO_CACHE}
    sent = row.get("request_created_at")
    delay = number(row.get("delay_ms"))
    cost = number(first_of(row, "cost", "costUSD", "cost_usd"))
    record = Record(
        id=named(row, "request_id", "response_id"),
        timestamp=sent if isinstance(sent, str | int | float) else None,
        client_id=named(row, "request_user_id", "helicone_user"),
        workload_id=named(mapping(request.get("metadata")), "workload_id"),
        latency_s=None if delay is None else delay / 1000.0,
        cost_usd=0.0 if cached else cost or None,
        provider="cache" if cached else text(row.get("provider")).lower(),
        request=request,
        response=None if error else response,
        error=error,
    )
    return call_of(record, source, line, cast(Wire, openai_chat))


def _bodies(row: dict[str, Any], body: dict[str, Any], reply: Any, wire: Any) -> tuple[dict[str, Any], Any]:
    """Request and response in chat shape; streams are joined. Raises ValueError where a body is of no wire."""
    whole = _joined(reply, wire or wire_of(body, None))
    if "prompt" in body and "messages" not in body:
        rest = {key: value for key, value in body.items() if key != "prompt"}
        body, wire = {**rest, "messages": messages_of(body)}, openai_chat
    wire = wire or wire_of(body, whole or None)
    request = wire.request(body)
    metadata = _metadata(row, body)
    request = {**request, "metadata": metadata} if metadata else request
    if not whole or whole.get("error"):
        return request, whole
    response = _chat_choices(whole) if wire is openai_chat else wire.response(whole)
    cached = (row.get("prompt_cache_read_tokens"), row.get("prompt_cache_write_tokens"))
    usage = response.get("usage") or usage_of(row.get("prompt_tokens"), row.get("completion_tokens"), *cached)
    return request, ({**response, "usage": usage} if usage else response)


def _chat_choices(whole: dict[str, Any]) -> dict[str, Any]:
    """A completion whose choices are messages: streams that Helicone joined have deltas, old completions texts."""
    choices = whole.get("choices")
    if (
        isinstance(choices, list)
        and choices
        and all(isinstance(mapping(choice).get("message"), dict) for choice in choices)
    ):
        return without_nulls(whole)
    if not isinstance(choices, list):
        raise ValueError("the response has no list of choices")
    return completion(answers_of(whole), text(whole.get("model")), mapping(whole.get("usage")), text(whole.get("id")))


def _joined(answered: Any, wire: Any) -> dict[str, Any]:
    """The response that a stream amounts to, kept as text or beside what was made of it; {} for none."""
    if isinstance(answered, str):
        return dict(wire.joined(event_stream.events(answered))) if event_stream.looks_like(answered) else {}
    whole = mapping(answered)
    streamed = whole.get("streamed_data")
    if streamed and not ({"choices", "content", "output"} & whole.keys()):
        if not isinstance(streamed, str | list):
            raise ValueError("the stream is neither text nor a list of events")
        events = event_stream.events(streamed) if isinstance(streamed, str) else [mapping(each) for each in streamed]
        return dict(wire.joined(events))
    return {key: value for key, value in whole.items() if key != "streamed_data"}


def _metadata(row: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    own = scalars(first_of(row, "request_properties", "properties"))
    session = named(own, _SESSION) or named(own, _SESSION.lower())
    own = {key: value for key, value in own.items() if not key.lower().startswith("helicone-")}
    return {**mapping(request.get("metadata")), **own, **({"session_id": session} if session else {})}


def _error(row: dict[str, Any], answered: Any) -> str:
    status = number(row.get("response_status"))
    body = mapping(answered)
    if body.get("error") and not body.get("choices"):
        return error_text(body["error"])
    if status is None or 0 < status < 400:
        return ""
    return _STATUSES.get(int(status), f"status {int(status)}")


def _raw(row: dict[str, Any]) -> bytes:
    # A signed address opens the body to whoever reads it: it is not kept.
    return msgspec.json.encode({key: value for key, value in row.items() if key != "signed_body_url"})
