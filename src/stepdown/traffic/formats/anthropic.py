"""anthropic: JSONL of {id?, timestamp, client_id?, workload_id?, request, response} with Anthropic messages bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.json_records import Sizes, decoded, peek, records, share
from stepdown.traffic.record import Record, Wire, call_of, wire_of
from stepdown.traffic.source import Source
from stepdown.wires import anthropic_messages

EXTRA = ""

_decode = msgspec.json.Decoder(Record).decode


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    objects = peek(head)
    if not objects:
        return 0.6 if head.lstrip().startswith(b"{") and b'"stop_reason"' in head and b'"choices"' not in head else 0.0
    return 0.95 * share(objects, _is_exchange)


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    sizes = Sizes(options.max_line_bytes, options.max_document_bytes)
    for source in sources:
        for item in records(source, sizes):
            record = item if isinstance(item, Broken) else decoded(source, *item, _decode)
            if isinstance(record, Broken):
                yield record
                continue
            record.provider = record.provider or "anthropic"
            number = item[0] if isinstance(item, tuple) else 0
            yield call_of(record, source, number, cast(Wire, anthropic_messages))


def examples() -> list[FormatExample]:
    data = (
        b'{"id":"b-1","timestamp":"2025-07-08T02:35:28Z","workload_id":"weather",'
        b'"request":{"model":"claude-x","max_tokens":64,"system":"Be brief.",'
        b'"tools":[{"name":"look","description":"Look.",'
        b'"input_schema":{"type":"object"}}],"messages":[{"role":"user","content":[{"type":"text","text":"Rain?"}]}]},'
        b'"response":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","stop_reason":"tool_use",'
        b'"content":[{"type":"text","text":"I look."},'
        b'{"type":"tool_use","id":"t1","name":"look","input":{"at":"Bonn"}}],'
        b'"usage":{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":7}}}\n'
    )
    tool = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}}}
    used = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":"Bonn"}'}}
    message = {"role": "assistant", "content": "I look.", "tool_calls": [used]}
    call = Call(
        id="b-1",
        timestamp=1751942128.0,
        workload_id="weather",
        provider="anthropic",
        request={
            "model": "claude-x",
            "max_tokens": 64,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rain?"}],
            "tools": [tool],
        },
        response={
            "id": "msg_1",
            "object": "chat.completion",
            "model": "claude-x",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
            "usage": {
                "prompt_tokens": 17,
                "completion_tokens": 5,
                "total_tokens": 22,
                "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 0},
            },
        },
        source="anthropic.jsonl:1",
    )
    return [FormatExample(name="anthropic.jsonl", data=data, calls=(call,))]


def _is_exchange(value: dict[str, Any]) -> bool:
    request, response = value.get("request"), value.get("response")
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        return False
    return wire_of(request, response if isinstance(response, dict) else None) is anthropic_messages
