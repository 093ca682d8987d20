"""native: JSONL of {id?, timestamp, client_id?, workload_id?, request, response} with chat.completions bodies.

Also read: stored completions (a response with its `messages` or `input` beside it), and conversations whose last
message is the answer ({"messages": […]}, as fine-tuning files have them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.json_records import Sizes, decoded, peek, records, share
from stepdown.traffic.record import Record, call_of, wire_of
from stepdown.traffic.source import Source

EXTRA = ""

_decode = msgspec.json.Decoder(Record).decode
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode
_REQUEST_KEYS = (
    "model",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "response_format",
    "max_completion_tokens",
    "seed",
)
_BESIDE_REQUEST = {*_REQUEST_KEYS, "messages", "input", "metadata"} - {"model"}


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    objects = peek(head)
    if not objects:
        return 0.4 if head.lstrip().startswith(b"{") and b'"messages"' in head and b'"custom_id"' not in head else 0.0
    exchange = share(objects, lambda one: isinstance(one.get("request"), dict) and "custom_id" not in one)
    alone = share(objects, lambda one: _stored(one) is not None and "body" not in one)
    return max(0.8 * exchange, 0.7 * alone)


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    sizes = Sizes(options.max_line_bytes, options.max_document_bytes)
    for source in sources:
        for item in records(source, sizes):
            if isinstance(item, Broken):
                yield item
                continue
            number, raw = item
            record = decoded(source, number, raw, _decode)
            if not isinstance(record, Broken) and record.request is None:
                record = _from_stored(source, number, raw)
            if isinstance(record, Broken):
                yield record
            else:
                wire = wire_of(record.request or {}, record.response)
                yield call_of(record, source, number, wire)


def examples() -> list[FormatExample]:
    line = (
        b'{"id":"a-1","timestamp":1751942128,"client_id":"app","workload_id":"mood",'
        b'"request":{"model":"m","messages":[{"role":"user","content":"Good or bad? I love it"}]},'
        b'"response":{"id":"r-1","model":"m","choices":[{"index":0,"finish_reason":"stop",'
        b'"message":{"role":"assistant","content":"good"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}}\n'
    )
    answer = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
    call = Call(
        id="a-1",
        timestamp=1751942128.0,
        client_id="app",
        workload_id="mood",
        request={"model": "m", "messages": [{"role": "user", "content": "Good or bad? I love it"}]},
        response={
            "id": "r-1",
            "model": "m",
            "choices": [answer],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1},
        },
        source="native.jsonl:1",
    )
    stored = (
        b'{"id":"r-1","object":"chat.completion","created":1751942128,"model":"m",'
        b'"messages":[{"role":"user","content":"Good or bad? I love it"}],"metadata":{"workload_id":"mood"},'
        b'"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"good"}}]}\n'
    )
    from_stored = Call(
        id="r-1",
        timestamp=1751942128.0,
        workload_id="mood",
        request=call.request,
        response={"id": "r-1", "object": "chat.completion", "created": 1751942128, "model": "m", "choices": [answer]},
        source="stored.jsonl:1",
    )
    return [
        FormatExample(name="native.jsonl", data=line, calls=(call,)),
        FormatExample(name="stored.jsonl", data=stored, calls=(from_stored,)),
    ]


def _from_stored(source: Source, number: int, raw: bytes) -> Record | Broken:
    value = decoded(source, number, raw, _decode_any)
    if isinstance(value, Broken):
        return value
    record = _stored(value)
    return record or source.broken(number, "the record has neither a request nor messages with an answer", raw)


def _stored(value: dict[str, Any]) -> Record | None:
    """A stored completion, or a conversation that ends with its answer, as a request and a response."""
    given = value.get("messages") if isinstance(value.get("messages"), list) else value.get("input")
    if not isinstance(given, list) or not all(isinstance(message, dict) for message in given):
        return None
    noted = value.get("metadata")
    metadata: dict[str, Any] = noted if isinstance(noted, dict) else {}
    request = {key: value[key] for key in _REQUEST_KEYS if value.get(key) is not None}
    identity = value.get("id") if isinstance(value.get("id"), str | int) else None
    if isinstance(value.get("choices"), list):
        response = {key: field for key, field in value.items() if key not in _BESIDE_REQUEST}
        record = Record(id=identity, request={**request, "messages": given}, response=response)
        return _named(record, metadata)
    if not given or given[-1].get("role") != "assistant":
        return None
    choice = {"index": 0, "finish_reason": "stop", "message": given[-1]}
    response = {"object": "chat.completion", "model": value.get("model") or "", "choices": [choice]}
    time = value.get("timestamp") if isinstance(value.get("timestamp"), int | float | str) else None
    request["messages"] = given[:-1]
    return _named(Record(id=identity, timestamp=time, request=request, response=response), metadata)


def _named(record: Record, metadata: dict[str, Any]) -> Record:
    """The record with the client and workload that its metadata names."""
    client, workload = metadata.get("client_id"), metadata.get("workload_id")
    record.client_id = client if isinstance(client, str) else None
    record.workload_id = workload if isinstance(workload, str) else None
    return record
