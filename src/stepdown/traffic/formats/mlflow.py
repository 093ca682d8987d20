"""mlflow: traces of MLflow, of whose spans the calls of chat models are read.

Shapes, as MLflow 3.17 (and 2.14 on) writes them: `Trace.to_json` ({info, data: {spans}}; mlflow/entities/trace.py,
span.py), one a line, in an array, or under `traces` as `mlflow traces search --output json` prints them; rows of
`mlflow.search_traces()` as JSON or CSV, whose column `trace` has that JSON; the artefact traces.json ({spans}).
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
    decoded_text,
    has_text,
    messages_of,
    tools_of,
    unpacked,
    usage_of,
    without_nulls,
)
from stepdown.traffic.record import Record, Wire, call_of, wire_of
from stepdown.traffic.rows import first_of, named, rows_of, scalars, sniffed_share
from stepdown.traffic.source import Source
from stepdown.traffic.trace_spool import Span, SpooledCall, TraceSpool
from stepdown.wires import openai_chat
from stepdown.wires.loose import mapping, mappings, text

EXTRA = ""

_CHATS = frozenset({"CHAT_MODEL", "LLM"})
_INPUTS, _OUTPUTS, _TYPE = "mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.spanType"
_NO_SPANS = (
    "the trace has no spans that can be read: write trace.to_json() of each trace, or the column `trace` as JSON"
)
_NOTHING = "no span of these traces is a call of a chat model (span types CHAT_MODEL and LLM)"


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    share = sniffed_share(head, _is_ours, "traces")
    return 0.97 * share if share else 0.9 * (head.lstrip()[:1] in {b"{", b"["} and b"mlflow.trace" in head)


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    for position, source in enumerate(sources):
        with TraceSpool() as spool:
            broken = count = 0
            for item in rows_of(source, options, "traces"):
                problem = item if isinstance(item, Broken) else _spool(spool, source, position, *item)
                if isinstance(problem, Broken):
                    broken += 1
                    yield problem
            for call in spool.calls():
                count += 1
                yield _call(source, call)
            if not (count or broken):
                yield source.broken(0, _NOTHING)


def examples() -> list[FormatExample]:
    request = {"model": "m", "messages": [{"role": "user", "content": "Good or bad? I love it"}], "temperature": 0}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
    answered = {"id": "r-1", "object": "chat.completion", "created": 1751942128, "model": "m", "choices": [choice]}
    attributes = {_TYPE: "CHAT_MODEL", _INPUTS: request, _OUTPUTS: {**answered, "service_tier": None}}
    span = {
        "trace_id": "eYcMqqtIzr4GCOU6jzcicw==",
        "span_id": "C6FIVDjM5OU=",
        "parent_span_id": None,
        "name": "Completions",
        "start_time_unix_nano": 1751942128000000000,
        "end_time_unix_nano": 1751942128500000000,
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {key: msgspec.json.encode(value).decode() for key, value in attributes.items()},
    }
    metadata = {"mlflow.trace.user": "anna", "mlflow.trace.session": "s-1", "mlflow.user": "root"}
    trace = {
        "info": {"trace_id": "tr-1", "trace_metadata": metadata, "tags": {"team": "desk"}},
        "data": {"spans": [span]},
    }
    call = Call(
        id="tr-1-C6FIVDjM5OU=",
        timestamp=1751942128.0,
        client_id="anna",
        latency_s=0.5,
        request={**request, "metadata": {"team": "desk", "session_id": "s-1", "trace_id": "tr-1"}},
        response=answered,
        source="traces.jsonl:1",
        served=Served(trace="tr-1"),
    )
    return [FormatExample(name="traces.jsonl", data=msgspec.json.encode(trace) + b"\n", calls=(call,))]


def _is_ours(row: dict[str, Any]) -> bool:
    if isinstance(row.get("info"), dict) and isinstance(row.get("data"), dict):
        return bool({"trace_id", "request_id"} & row["info"].keys())
    if {"trace_metadata", "request_metadata"} & row.keys():
        return bool({"trace", "spans"} & row.keys())
    spans = mappings(row.get("spans"))
    return bool(spans) and _TYPE in mapping(spans[0].get("attributes"))


def _spool(spool: TraceSpool, source: Source, position: int, line: int, row: dict[str, Any]) -> Broken | None:
    """Every call of a chat model in a trace into the spool; Broken where the trace cannot be read."""
    whole = unpacked(row.get("trace"))
    trace = whole if isinstance(whole, dict) else row
    info = mapping(trace.get("info")) or trace
    given = unpacked(first_of(mapping(trace.get("data")) or trace, "spans"))
    spans = mappings(given)
    if not isinstance(given, list) or len(spans) < len(given):
        return source.broken(line, _NO_SPANS, msgspec.json.encode(row))
    about = _about(info)
    for span in spans:
        attributes = {key: _decoded(value) for key, value in mapping(span.get("attributes")).items()}
        if text(attributes.get(_TYPE)) not in _CHATS:
            continue
        context = mapping(span.get("context"))
        begun, ended = (_nanoseconds(first_of(span, *names)) for names in _TIMES)
        answered = attributes.get(_OUTPUTS)
        entry = Span(
            trace=about["trace_id"],
            name=named(span, "span_id") or named(context, "span_id"),
            parent=named(span, "parent_span_id", "parent_id"),
            answer=named(mapping(answered), "id"),
            begun=begun,
            ended=ended,
        )
        value = {
            "attributes": attributes,
            "about": about,
            "name": entry.name,
            "parent": entry.parent,
            "begun": begun,
            "ended": ended,
        }
        value["error"] = _error(span)
        spool.add(value, (position, line), entry, bool(attributes.get(_INPUTS)))
    return None


_TIMES = (("start_time_unix_nano", "start_time"), ("end_time_unix_nano", "end_time"))


def _about(info: dict[str, Any]) -> dict[str, Any]:
    """The fields of a trace that hold for all its calls: its id, the user, and metadata with the session."""
    given = mapping(unpacked(first_of(info, "trace_metadata", "request_metadata")))
    tags = scalars(info.get("tags"))
    own = {key: value for key, value in {**tags, **scalars(given)}.items() if not key.startswith("mlflow.")}
    trace = named(info, "trace_id", "request_id")
    session = named(given, "mlflow.trace.session") or named(tags, "mlflow.trace.session")
    metadata = {**own, **({"session_id": session} if session else {}), **({"trace_id": trace} if trace else {})}
    return {"trace_id": trace, "user": named(given, "mlflow.trace.user"), "metadata": metadata}


def _call(source: Source, spooled: SpooledCall) -> Call | Broken:
    value, line = spooled.value, spooled.line
    attributes, about = value["attributes"], value["about"]
    try:
        request, response = _bodies(attributes)
    except ValueError as problem:
        return source.broken(line, f"span {value['name']}: {problem}", msgspec.json.encode(attributes))
    metadata = {**mapping(request.get("metadata")), **about["metadata"]}
    took = value["ended"] - value["begun"]
    record = Record(
        id="-".join(filter(None, (about["trace_id"], value["name"]))) or None,
        timestamp=value["begun"] or None,
        client_id=about["user"],
        workload_id=named(metadata, "workload_id"),
        latency_s=round(took, 6) if took > 0 else None,
        cost_usd=_cost(attributes),
        provider=text(attributes.get("mlflow.llm.provider")),
        request={**request, "metadata": metadata} if metadata else request,
        response=None if value["error"] else response,
        error=value["error"],
        trace_id=about["trace_id"],
        parent_id=value["parent"],
    )
    return call_of(record, source, line, cast(Wire, openai_chat))


def _bodies(attributes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Request and response in chat shape. Raises ValueError where there is no prompt."""
    inputs, outputs = attributes.get(_INPUTS), attributes.get(_OUTPUTS)
    if not inputs:
        raise ValueError("it has no inputs, and so no prompt")
    model = named(attributes, "mlflow.llm.model", "model")
    raw = isinstance(inputs, dict) and isinstance(inputs.get("messages", inputs.get("input")), list | str)
    body = mapping(outputs)
    known = bool({"choices", "output", "content"} & body.keys()) and "model" in body
    if raw and (known or outputs is None):
        wire = wire_of(inputs, body or None)
        return wire.request(inputs), wire.response(
            without_nulls(body) if "choices" in body else body
        ) if known else None
    request: dict[str, Any] = {"messages": messages_of(inputs)}
    if not has_text(request["messages"]):
        raise ValueError("its inputs have no text")
    if model:
        request = {"model": model, **request}
    if tools := tools_of(mapping(inputs).get("tools") or attributes.get("mlflow.chat.tools")):
        request["tools"] = tools
    answers = answers_of(outputs)
    counts = mapping(attributes.get("mlflow.chat.tokenUsage"))
    cached = (counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens"))
    usage = usage_of(counts.get("input_tokens"), counts.get("output_tokens"), *cached)
    return request, completion(answers, model, usage, named(mapping(outputs), "id")) if answers else None


def _cost(attributes: dict[str, Any]) -> float | None:
    cost = mapping(attributes.get("mlflow.llm.cost")).get("total_cost")
    return float(cost) if isinstance(cost, int | float) and cost else None


def _error(span: dict[str, Any]) -> str:
    status = mapping(span.get("status"))
    code = named(status, "code") or named(span, "status_code")
    if "ERROR" not in code.upper():
        return ""
    for event in mappings(span.get("events")):
        attributes = mapping(event.get("attributes"))
        if event.get("name") == "exception":
            message = f"{text(attributes.get('exception.type'))}: {text(attributes.get('exception.message'))}"
            return message.strip(": ")[:500] or "error"
    return (named(status, "message") or named(span, "status_message") or "error")[:500]


def _decoded(value: Any) -> Any:
    """An attribute's value: MLflow keeps each as JSON text."""
    return decoded_text(value) if isinstance(value, str) else value


def _nanoseconds(value: Any) -> float:
    """Seconds since the epoch; 0 where there is no time."""
    try:
        return max(0.0, int(value) / 1e9) if isinstance(value, int | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
