"""opentelemetry: spans and events of calls to generative AI, as the collector's file exporter writes them (OTLP/JSON).

Shapes: opentelemetry-proto 1.x in JSON (ids in hexadecimal, times and whole numbers as texts; collector-contrib
exporter/fileexporter), lines of `resourceSpans` and `resourceLogs`. Four generations of conventions: messages as
attributes `gen_ai.input.messages` and `gen_ai.output.messages`, on spans or on the event
`gen_ai.client.inference.operation.details` (semantic conventions 1.37 on); events `gen_ai.user.message`,
`gen_ai.choice` and the like, of spans or as logs (1.28 to 1.36); events `gen_ai.content.prompt` and `….completion`
(1.27); attributes `gen_ai.prompt.0.content` (OpenLLMetry, as at 0.46).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.served import Served
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.genai_spans import (
    DETAILS,
    attributes_of,
    has_content,
    hex_id,
    is_chat,
    is_message,
    metadata_of,
    named_event,
    nanoseconds,
    plain,
    request_of,
    response_of,
    tools_from,
)
from stepdown.traffic.loose_chat import completion, usage_of
from stepdown.traffic.record import Record, Wire, call_of
from stepdown.traffic.rows import first_of, named, rows_of, sniffed_share
from stepdown.traffic.source import Source
from stepdown.traffic.trace_spool import Span, SpooledCall, TraceSpool
from stepdown.wires import openai_chat
from stepdown.wires.loose import mapping, mappings, text

EXTRA = ""

_NO_TEXT = (
    "no text was captured: set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true (SPAN_ONLY for the conventions "
    "of 1.37; OpenLLMetry: TRACELOOP_TRACE_CONTENT=true) where the calls are made"
)
_NO_SPAN = "events of a call whose span is not in these files: give the file of traces as well"
_NOTHING = "no span here is a call of a chat model (attributes gen_ai.*)"
_REQUEST = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.seed": "seed",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.choice.count": "n",
    "gen_ai.request.stream": "stream",
    "gen_ai.is_streaming": "stream",
    "llm.is_streaming": "stream",
}


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    return 0.96 * sniffed_share(head, lambda row: bool({"resourceSpans", "resourceLogs"} & row.keys()))


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    with TraceSpool() as spool:
        count = broken = 0
        for position, source in enumerate(sources):
            for item in rows_of(source, options):
                problems = [item] if isinstance(item, Broken) else _spool(spool, source, position, *item)
                broken += len(problems)
                yield from problems
        for call in spool.calls():
            count += 1
            yield _call(sources[call.source], call)
        for source_number, line, notes in spool.lonely():
            count += 1
            yield _from_events(sources[source_number], line, notes)
        if not (count or broken):
            yield from (source.broken(0, _NOTHING) for source in sources)


def examples() -> list[FormatExample]:
    messages = [{"role": "user", "parts": [{"type": "text", "content": "Good or bad? I love it"}]}]
    answered = [{"role": "assistant", "parts": [{"type": "text", "content": "good"}], "finish_reason": "stop"}]
    told = {
        "gen_ai.operation.name": {"stringValue": "chat"},
        "gen_ai.provider.name": {"stringValue": "openai"},
        "gen_ai.request.model": {"stringValue": "m"},
        "gen_ai.response.id": {"stringValue": "r-1"},
        "gen_ai.conversation.id": {"stringValue": "c-1"},
        "gen_ai.usage.input_tokens": {"intValue": "9"},
        "gen_ai.usage.output_tokens": {"intValue": "1"},
        "gen_ai.input.messages": {"stringValue": msgspec.json.encode(messages).decode()},
        "gen_ai.output.messages": {"stringValue": msgspec.json.encode(answered).decode()},
        "user.id": {"stringValue": "anna"},
    }
    span = {
        "traceId": "5dde432052981f936ce58779a3921302",
        "parentSpanId": "00f067aa0ba902b7",
        "spanId": "8738b8823fc8bfaf",
        "name": "chat m",
        "kind": 3,
        "startTimeUnixNano": "1751942128000000000",
        "endTimeUnixNano": "1751942128500000000",
        "attributes": [{"key": key, "value": value} for key, value in told.items()],
        "status": {},
    }
    line = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "app"}, "spans": [span]}]}]}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    call = Call(
        id="5dde432052981f936ce58779a3921302-8738b8823fc8bfaf",
        timestamp=1751942128.0,
        client_id="anna",
        latency_s=0.5,
        provider="openai",
        request={
            "model": "m",
            "messages": [{"role": "user", "content": "Good or bad? I love it"}],
            "metadata": {"conversation_id": "c-1", "trace_id": "5dde432052981f936ce58779a3921302"},
        },
        response={"object": "chat.completion", "model": "m", "choices": [choice], "id": "r-1", "usage": usage},
        source="traces.jsonl:1",
        served=Served(trace="5dde432052981f936ce58779a3921302", parent="00f067aa0ba902b7"),
    )
    return [FormatExample(name="traces.jsonl", data=msgspec.json.encode(line) + b"\n", calls=(call,))]


def _spool(spool: TraceSpool, source: Source, position: int, line: int, row: dict[str, Any]) -> list[Broken]:
    """Calls and events of one record of the exporter's; what it has beside them is passed over."""
    at = (position, line)
    known = {"resourceSpans", "resourceLogs"} & row.keys()
    if not known:
        kinds = "metrics hold no calls" if "resourceMetrics" in row else "neither resourceSpans nor resourceLogs"
        return [source.broken(line, kinds, msgspec.json.encode(row))]
    for resource in mappings(row.get("resourceSpans")):
        for scope in mappings(resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans")):
            for span in mappings(scope.get("spans")):
                _spool_span(spool, span, at)
    for resource in mappings(row.get("resourceLogs")):
        for scope in mappings(resource.get("scopeLogs")):
            for event in mappings(scope.get("logRecords")):
                attributes = attributes_of(event)
                name = text(event.get("eventName")) or text(attributes.get("event.name"))
                trace, span_id = hex_id(event.get("traceId")), hex_id(event.get("spanId"))
                if is_message(name) and trace and span_id:
                    named = named_event(name, attributes, plain(event.get("body")))
                    named["time"] = nanoseconds(event.get("timeUnixNano") or event.get("observedTimeUnixNano"))
                    named["trace"], named["span"] = trace, span_id
                    spool.note(named, at, trace, span_id, has_content(attributes, [named]))
    return []


def _spool_span(spool: TraceSpool, span: dict[str, Any], at: tuple[int, int]) -> None:
    attributes = attributes_of(span)
    events = [
        named_event(text(event.get("name")), attributes_of(event), None)
        | {"time": nanoseconds(event.get("timeUnixNano"))}
        for event in mappings(span.get("events"))
    ]
    if not is_chat(attributes, events):
        if any(key.startswith("gen_ai.") for key in attributes):
            spool.pass_over(hex_id(span.get("traceId")), hex_id(span.get("spanId")))
        return
    status = mapping(span.get("status"))
    entry = Span(
        trace=hex_id(span.get("traceId")),
        name=hex_id(span.get("spanId")),
        parent=hex_id(span.get("parentSpanId")),
        answer=named(attributes, "gen_ai.response.id"),
        begun=nanoseconds(span.get("startTimeUnixNano")),
        ended=nanoseconds(span.get("endTimeUnixNano")),
    )
    failed = status.get("code") in (2, "STATUS_CODE_ERROR") or bool(attributes.get("error.type"))
    value = {
        "attributes": attributes,
        "events": events,
        "span": msgspec.to_builtins(entry),
        "failed": failed,
        "message": text(status.get("message")),
    }
    spool.add(value, at, entry, has_content(attributes, events))


def _call(source: Source, spooled: SpooledCall) -> Call | Broken:
    value, line = spooled.value, spooled.line
    attributes, span = value["attributes"], value["span"]
    events = [*value["events"], *spooled.notes]
    for note in spooled.notes:
        if note["name"] == DETAILS:
            attributes = {**note["attributes"], **attributes}
    return _made(source, line, attributes, events, span, _error(value, attributes, events))


def _from_events(source: Source, line: int, notes: list[Any]) -> Call | Broken:
    """A call that only events tell: whole where one of them has all details."""
    details = next((note for note in notes if note["name"] == DETAILS), None)
    if details is None:
        return source.broken(line, _NO_SPAN, msgspec.json.encode(notes))
    span = {"trace": details["trace"], "name": details["span"], "parent": "", "begun": details["time"], "ended": 0.0}
    attributes = details["attributes"]
    return _made(source, line, attributes, notes, span, named(attributes, "error.type"))


def _made(
    source: Source, line: int, attributes: dict[str, Any], events: list[Any], span: dict[str, Any], error: str
) -> Call | Broken:
    raw = msgspec.json.encode(attributes)
    try:
        messages = request_of(attributes, events)
        answers = response_of(attributes, events)
    except ValueError as problem:
        return source.broken(line, f"span {span['name']}: {problem}", raw)
    if not messages:
        return source.broken(line, f"span {span['name']}: {_NO_TEXT}", raw)
    asked_model = named(attributes, "gen_ai.request.model", "gen_ai.response.model")
    request: dict[str, Any] = {"model": asked_model} if asked_model else {}
    for key, ours in _REQUEST.items():
        if attributes.get(key) is not None:
            request[ours] = attributes[key]
    request["messages"] = messages
    if tools := tools_from(attributes):
        request["tools"] = tools
    if metadata := metadata_of(attributes, span["trace"]):
        request["metadata"] = metadata
    model = named(attributes, "gen_ai.response.model", "gen_ai.request.model")
    took = span["ended"] - span["begun"]
    record = Record(
        id=f"{span['trace']}-{span['name']}",
        timestamp=span["begun"] or None,
        client_id=named(attributes, "user.id", "enduser.id", "gen_ai.user", "llm.user", _ASSOCIATED + "user_id"),
        workload_id=named(attributes, "workload_id", _ASSOCIATED + "workload_id", "gen_ai.prompt.name"),
        latency_s=round(took, 6) if took > 0 else None,
        provider=named(attributes, "gen_ai.provider.name", "gen_ai.system").lower(),
        request=request,
        response=completion(answers, model, _usage(attributes), named(attributes, "gen_ai.response.id"))
        if answers and not error
        else None,
        error=error,
        trace_id=span["trace"],
        parent_id=span["parent"],
    )
    return call_of(record, source, line, cast(Wire, openai_chat))


_ASSOCIATED = "traceloop.association.properties."


def _usage(attributes: dict[str, Any]) -> dict[str, Any]:
    def count(*names: str) -> Any:
        return first_of(attributes, *(f"gen_ai.usage.{name}" for name in names))

    return usage_of(
        count("input_tokens", "prompt_tokens"),
        count("output_tokens", "completion_tokens"),
        count("cache_read.input_tokens", "cache_read_input_tokens"),
        count("cache_creation.input_tokens", "cache_write.input_tokens", "cache_creation_input_tokens"),
    )


def _error(value: dict[str, Any], attributes: dict[str, Any], events: list[Any]) -> str:
    if not value["failed"]:
        return ""
    raised: dict[str, Any] = next((event["attributes"] for event in events if event["name"] == "exception"), {})
    kind = named(attributes, "error.type") or named(raised, "exception.type")
    message = value["message"] or named(raised, "exception.message")
    return (f"{kind}: {message}".strip(": ") or "error")[:500]
