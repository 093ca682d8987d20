"""litellm: what LiteLLM logs of every call (its standard logging payload), and the spend logs of its proxy.

Shapes, as LiteLLM 1.110.2 writes them: `StandardLoggingPayload` in litellm/types/utils.py, one object a call, as its
buckets (integrations/gcs_bucket, s3_v2.py, azure_storage), queues (sqs.py, gcs_pubsub) and the generic API
(generic_api, arrays or lines) send it; `LiteLLM_SpendLogs` in litellm/proxy/schema.prisma, as GET /spend/logs answers,
in pages ({data: […]}) too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.served import Served
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.loose_chat import (
    answers_of,
    completion,
    has_text,
    messages_of,
    tools_of,
    unpacked,
    usage_of,
    without_nulls,
)
from stepdown.traffic.record import Record, Wire, call_of, error_text, seconds
from stepdown.traffic.rows import first_of, named, number, rows_of, scalars, sniffed_share
from stepdown.traffic.source import Source
from stepdown.wires import openai_chat, openai_responses
from stepdown.wires.loose import mapping, text

EXTRA = ""

_REDACTED = "redacted-by-litellm"
_CUT = "litellm_truncated"
_NO_CHAT = ("embedding", "image", "speech", "transcription", "rerank", "moderation", "file", "batch", "vector_store")
_NOT_SENT = frozenset(
    {"metadata", "litellm_metadata", "extra_headers", "instructions", "api_key", "proxy_server_request"}
)


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    return 0.97 * sniffed_share(head, _is_ours, "data")


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    for source in sources:
        for item in rows_of(source, options, "data"):
            if isinstance(item, Broken):
                yield item
            else:
                yield _call(source, *item)


def examples() -> list[FormatExample]:
    message = {"role": "assistant", "content": "good"}
    choice = {"finish_reason": "stop", "index": 0, "message": message}
    usage = {"completion_tokens": 1, "prompt_tokens": 9, "total_tokens": 10}
    response = {"id": "r-1", "created": 1751942128, "model": "m", "object": "chat.completion", "choices": [choice]}
    messages = [{"role": "user", "content": "Good or bad? I love it"}]
    payload = {
        "id": "r-1",
        "trace_id": "t-1",
        "session_id": "s-1",
        "call_type": "acompletion",
        "stream": None,
        "response_cost": 0.5,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": 1751942128.0,
        "endTime": 1751942128.5,
        "model": "m",
        "metadata": {"user_api_key_alias": "web", "spend_logs_metadata": {"workload_id": "mood"}},
        "cache_hit": None,
        "end_user": "anna",
        "messages": messages,
        "response": {**response, "usage": usage},
        "error_str": None,
        "model_parameters": {"temperature": 0},
    }
    call = Call(
        id="r-1",
        timestamp=1751942128.0,
        client_id="anna",
        workload_id="mood",
        latency_s=0.5,
        cost_usd=0.5,
        provider="openai",
        request={
            "model": "m",
            "temperature": 0,
            "messages": messages,
            "metadata": {"workload_id": "mood", "session_id": "s-1", "trace_id": "t-1"},
        },
        response={**response, "usage": usage},
        source="payload.jsonl:1",
        served=Served(trace="t-1"),
    )
    return [FormatExample(name="payload.jsonl", data=msgspec.json.encode(payload) + b"\n", calls=(call,))]


def _is_ours(value: dict[str, Any]) -> bool:
    payload = value.get("standard_logging_object")
    row = payload if isinstance(payload, dict) else value
    return (
        "call_type" in row and bool({"response_cost", "spend"} & row.keys()) and bool({"id", "request_id"} & row.keys())
    )


def _call(source: Source, line: int, row: dict[str, Any]) -> Call | Broken:
    row = mapping(row.get("standard_logging_object")) or row
    raw = msgspec.json.encode(row)
    kind = text(row.get("call_type"))
    if any(word in kind for word in _NO_CHAT):
        return source.broken(line, f"not a chat: {kind}", raw)
    messages = unpacked(row.get("messages"))
    body = mapping(unpacked(row.get("proxy_server_request")))
    try:
        request = _request(row, messages or body)
        if reason := _not_whole(request):
            return source.broken(line, reason, raw)
        response = _response(row)
    except ValueError as problem:
        return source.broken(line, str(problem), raw)
    error = _error(row)
    if response is None and not error:
        return source.broken(line, "the call succeeded, and no answer was kept", raw)
    begun, ended = (first_of(row, *names) for names in (("startTime", "start_time"), ("endTime", "end_time")))
    record = Record(
        id=_id(row, begun, bool(error)),
        timestamp=begun if isinstance(begun, str | int | float) else None,
        client_id=_client(row, request),
        workload_id=named(mapping(request.get("metadata")), "workload_id"),
        latency_s=_seconds_between(begun, ended),
        cost_usd=_cost(row),
        provider="cache" if _is_cached(row) else named(row, "custom_llm_provider"),
        request=request,
        response=None if error else response,
        error=error,
        trace_id=_trace(row),
    )
    return call_of(record, source, line, cast(Wire, openai_chat))


def _id(row: dict[str, Any], begun: Any, failed: bool) -> str:
    """LiteLLM's own id of the call, as those of some servers repeat. Tries share it, so that failed ones add a time."""
    own = named(row, "litellm_call_id")
    return (f"{own}-failed-{begun}" if failed else own) if own else named(row, "id", "request_id")


def _request(row: dict[str, Any], messages: Any) -> dict[str, Any]:
    """The request in chat shape. Raises ValueError where nothing of it was kept."""
    if not messages:
        raise ValueError(
            "no text was kept: set store_prompts_in_spend_logs: true in the proxy's general_settings, or log to a "
            "bucket"
        )
    parameters = mapping(unpacked(row.get("model_parameters"))) or mapping(messages)
    plain = {key: value for key, value in parameters.items() if key not in _NOT_SENT and value is not None}
    if isinstance(mapping(unpacked(row.get("response"))).get("output"), list) or "response" in text(
        row.get("call_type")
    ):
        items = messages.get("input") if isinstance(messages, dict) else messages
        request = openai_responses.request({**plain, "input": items, "instructions": parameters.get("instructions")})
    else:
        request = {key: value for key, value in plain.items() if key not in {"messages", "input", "prompt"}}
        request["messages"] = messages_of(messages)
    if request.get("tools"):
        request["tools"] = tools_of(request["tools"])
    if isinstance(row.get("stream"), bool):
        request["stream"] = row["stream"]
    metadata = _metadata(row)
    request = {"model": row.get("model_group") or row.get("model") or "", **request, "messages": request["messages"]}
    return request | {"metadata": metadata} if metadata else request


def _not_whole(request: dict[str, Any]) -> str:
    """Why the request is not what was sent; "" where it is."""
    encoded = msgspec.json.encode(request["messages"]).decode()
    if _REDACTED in encoded:
        return "the text was redacted by LiteLLM: turn_off_message_logging is set where the calls are made"
    if _CUT in encoded:
        return "the text was cut short by LiteLLM: raise MAX_STRING_LENGTH_PROMPT_IN_DB, or log to a bucket"
    return "" if has_text(request["messages"]) else "no text was kept of what was asked"


def _response(row: dict[str, Any]) -> dict[str, Any] | None:
    answered = unpacked(row.get("response"))
    usage = usage_of(row.get("prompt_tokens"), row.get("completion_tokens"))
    if not answered or (isinstance(answered, dict) and answered.get("error")):
        return None
    if isinstance(answered, dict) and isinstance(answered.get("output"), list):
        response = openai_responses.response(answered)
        # Its usage is logged in chat terms already.
        return {**response, "usage": response["usage"] or mapping(answered.get("usage")) or usage}
    if isinstance(answered, dict) and isinstance(answered.get("choices"), list):
        whole = without_nulls(answered)
        if whole["choices"] and all(isinstance(choice.get("message"), dict) for choice in whole["choices"]):
            return whole
    known = mapping(answered)
    return completion(
        answers_of(answered), text(known.get("model")) or text(row.get("model")), usage, text(known.get("id"))
    )


def _error(row: dict[str, Any]) -> str:
    metadata = mapping(unpacked(row.get("metadata")))
    information = mapping(row.get("error_information")) or mapping(metadata.get("error_information"))
    message = error_text(row.get("error_str")) or text(information.get("error_message"))
    kind = text(information.get("error_class"))
    failed = row.get("status") == "failure"
    if not (failed or message):
        return ""
    return error_text(message if message.startswith(kind) else f"{kind}: {message}") if message else kind or "failure"


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a call: the caller's own, the session, and the trace that retries share."""
    given = mapping(unpacked(row.get("metadata")))
    own = {**scalars(given.get("requester_metadata")), **scalars(given.get("spend_logs_metadata"))}
    session = named(row, "session_id") or named(given, "session_id")
    own |= {name: value for name, value in (("session_id", session), ("trace_id", _trace(row))) if value}
    tags = unpacked(row.get("request_tags"))
    if isinstance(tags, list) and tags and all(isinstance(tag, str) for tag in tags):
        own["tags"] = ",".join(tags)
    return own


def _trace(row: dict[str, Any]) -> str:
    return named(row, "trace_id") or named(mapping(unpacked(row.get("metadata"))), "trace_id")


def _client(row: dict[str, Any], request: dict[str, Any]) -> str:
    metadata = mapping(unpacked(row.get("metadata")))
    keys = ("user_api_key_end_user_id", "user_api_key_user_id", "user_api_key_alias")
    return named(row, "end_user") or named(request, "user") or named(metadata, *keys) or named(row, "user")


def _cost(row: dict[str, Any]) -> float | None:
    """What the call cost, in USD. 0 for a model that LiteLLM has no price of is no cost that is known."""
    cost = number(first_of(row, "response_cost", "spend"))
    return cost if cost or _is_cached(row) else None


def _is_cached(row: dict[str, Any]) -> bool:
    return str(row.get("cache_hit")).lower() == "true"


def _seconds_between(begun: Any, ended: Any) -> float | None:
    try:
        took = seconds(ended) - seconds(begun)
    except (ValueError, TypeError):
        return None
    return round(took, 6) if took >= 0 else None
