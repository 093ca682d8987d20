"""langfuse: generations out of Langfuse's exports of observations, joined with its exports of traces where given.

Shapes, as Langfuse 3 writes them: the export of the observations table from its pages (JSON array or CSV, fields in
camelCase: worker/src/features/database-read-stream/observation-stream.ts), the public API's answers ({data: […]}, or a
trace with its observations in it), and
the blob-storage export (docs: blob-storage-export-fields; JSON, JSONL or CSV, fields in snake_case): `observations_v2/`
says user and session itself, the older `observations/` leaves them to `traces/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.served import Served
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.loose_chat import answers_of, completion, has_text, messages_of, tools_of, unpacked, usage_of
from stepdown.traffic.record import Record, Wire, call_of, seconds
from stepdown.traffic.rows import first_of, named, number, rows_of, scalars, sniffed_share
from stepdown.traffic.source import Source
from stepdown.traffic.trace_spool import Span, SpooledCall, TraceSpool
from stepdown.wires import openai_chat
from stepdown.wires.loose import mapping, mappings, text

EXTRA = ""

_TYPES = frozenset(
    ("SPAN", "GENERATION", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL")
)
_PARAMETERS = frozenset(
    (
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "stop",
        "n",
        "presence_penalty",
        "frequency_penalty",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "parallel_tool_calls",
        "stream",
    )
)
# What Langfuse's wrappers write for a parameter that nobody gave.
_NOT_SET = (None, "", "inf", "Infinity", "None")
_NOTHING = "no observation here is a generation: export the observations, with those of type GENERATION"
_SCORES = "scores and no calls: export the observations; people's scores are gold only by `stepdown import --gold`"
_NO_INPUT = (
    "no input was exported: choose the field group `io` in the export, or capture inputs where the calls are made"
)


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    return 0.97 * sniffed_share(head, _is_ours, "data")


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    with TraceSpool() as spool:
        count = broken = 0
        for position, source in enumerate(sources):
            scores = 0
            for item in rows_of(source, options, "data"):
                problem = item if isinstance(item, Broken) else _spool(spool, source, position, *item)
                if isinstance(problem, Broken):
                    broken += 1
                    yield problem
                elif isinstance(item, tuple):
                    scores += _is_score(item[1])
            if scores:
                broken += 1
                yield source.broken(0, _SCORES)
        for call in spool.calls():
            count += 1
            yield _call(sources[call.source], call)
        if not (count or broken):
            yield from (source.broken(0, _NOTHING) for source in sources)


def examples() -> list[FormatExample]:
    prompt = [{"role": "user", "content": "Good or bad? I love it"}]
    row = {
        "id": "o-1",
        "trace_id": "t-1",
        "type": "GENERATION",
        "parent_observation_id": "s-1",
        "start_time": "2025-07-08 02:35:28.000000",
        "end_time": "2025-07-08 02:35:28.500000",
        "name": "mood",
        "metadata": {"team": "desk"},
        "level": "DEFAULT",
        "status_message": "",
        "input": msgspec.json.encode(prompt).decode(),
        "output": '{"role":"assistant","content":"good"}',
        "provided_model_name": "m",
        "model_parameters": '{"temperature":"0.5"}',
        "usage_details": {"input": 9, "output": 1, "total": 10},
        "total_cost": 0.5,
        "user_id": "anna",
        "session_id": "s-1",
    }
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    call = Call(
        id="o-1",
        timestamp=1751942128.0,
        client_id="anna",
        latency_s=0.5,
        cost_usd=0.5,
        request={
            "model": "m",
            "temperature": 0.5,
            "messages": prompt,
            "metadata": {"team": "desk", "session_id": "s-1", "trace_id": "t-1"},
        },
        response={"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage},
        source="observations.jsonl:1",
        served=Served(trace="t-1", parent="s-1"),
    )
    return [FormatExample(name="observations.jsonl", data=msgspec.json.encode(row) + b"\n", calls=(call,))]


def _is_ours(row: dict[str, Any]) -> bool:
    return _is_observation(row) or _is_trace(row) or _is_score(row)


def _is_observation(row: dict[str, Any]) -> bool:
    timed = bool({"startTime", "start_time"} & row.keys()) and bool({"traceId", "trace_id"} & row.keys())
    return timed and (text(row.get("type")) in _TYPES or (row.get("type") is None and "type" in row))


def _is_trace(row: dict[str, Any]) -> bool:
    names_session_and_user = {"sessionId", "session_id"} & row.keys() and {"userId", "user_id"} & row.keys()
    is_whole = "bookmarked" in row or bool(mappings(row.get("observations")))
    return bool(names_session_and_user) and {"id", "timestamp"} <= row.keys() and is_whole


def _is_score(row: dict[str, Any]) -> bool:
    about = {"traceId", "trace_id", "observationId", "observation_id"} & row.keys()
    return bool(about) and bool({"dataType", "data_type"} & row.keys()) and "value" in row


def _spool(spool: TraceSpool, source: Source, position: int, line: int, row: dict[str, Any]) -> Broken | None:
    if _is_score(row):
        return None  # said once a file
    if _is_trace(row):
        about = ("id", "userId", "user_id", "sessionId", "session_id", "name", "metadata")
        spool.note({key: row[key] for key in about if key in row}, (position, line), named(row, "id"))
        # Where a trace brings its observations, those of one that cannot be read are told by its line.
        problems = [_spool(spool, source, position, line, one) for one in mappings(row.get("observations"))]
        return next((problem for problem in problems if problem is not None), None)
    if not _is_observation(row):
        return source.broken(line, "neither an observation nor a trace", msgspec.json.encode(row))
    if row["type"] != "GENERATION":
        return None
    span = Span(
        trace=named(row, "traceId", "trace_id"),
        name=named(row, "id"),
        parent=named(row, "parentObservationId", "parent_observation_id"),
        begun=_time(row, "startTime", "start_time") or 0.0,
        ended=_time(row, "endTime", "end_time") or 0.0,
    )
    spool.add(row, (position, line), span, bool(row.get("input")))
    return None


def _call(source: Source, spooled: SpooledCall) -> Call | Broken:
    row, line = spooled.value, spooled.line
    about = next((mapping(note) for note in spooled.trace_notes), {})
    raw = msgspec.json.encode(row)
    prompt = unpacked(row.get("input"))
    if prompt in (None, "", [], {}):
        return source.broken(line, _NO_INPUT, raw)
    try:
        request = _request(row, prompt)
    except ValueError as problem:
        return source.broken(line, str(problem), raw)
    metadata = _metadata(row, about)
    failed = row.get("level") == "ERROR"
    begun, ended = first_of(row, "startTime", "start_time"), _time(row, "endTime", "end_time")
    took = (ended or 0.0) - (_time(row, "startTime", "start_time") or 0.0)
    error = (named(row, "statusMessage", "status_message") or "error")[:500] if failed else ""
    record = Record(
        id=named(row, "id") or None,
        timestamp=begun if isinstance(begun, str | int | float) else None,
        client_id=named(row, "userId", "user_id") or named(about, "userId", "user_id"),
        workload_id=named(metadata, "workload_id") or named(row, "promptName", "prompt_name"),
        latency_s=round(took, 6) if ended and took >= 0 else None,
        cost_usd=number(first_of(row, "totalCost", "total_cost", "calculatedTotalCost")) or None,
        request={**request, "metadata": metadata} if metadata else request,
        response=None if error else _response(row),
        error=error,
        trace_id=named(row, "traceId", "trace_id"),
        parent_id=named(row, "parentObservationId", "parent_observation_id"),
    )
    return call_of(record, source, line, cast(Wire, openai_chat))


def _request(row: dict[str, Any], prompt: Any) -> dict[str, Any]:
    """The request in chat shape. Raises ValueError where the input is no conversation or has no text."""
    messages = messages_of(prompt)
    if not has_text(messages):
        raise ValueError("the input has no text")
    request: dict[str, Any] = {}
    if model := _model(row):
        request["model"] = model
    parameters = mapping(unpacked(first_of(row, "modelParameters", "model_parameters")))
    for key, value in parameters.items():
        if key in _PARAMETERS and value not in _NOT_SET:
            request[key] = _number_or_self(unpacked(value))
    request["messages"] = messages
    given = mapping(prompt)
    if tools := tools_of(given.get("tools")) or _definitions(row):
        request["tools"] = tools
    for key in ("tool_choice", "response_format"):
        if given.get(key) is not None:
            request[key] = given[key]
    return request


def _definitions(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Tools as Langfuse keeps them apart: by name, each as JSON text without it."""
    definitions = mapping(unpacked(first_of(row, "toolDefinitions", "tool_definitions")))
    return tools_of([{"name": name, **mapping(unpacked(about))} for name, about in definitions.items()])


def _response(row: dict[str, Any]) -> dict[str, Any] | None:
    answers = answers_of(unpacked(row.get("output")))
    if not answers:
        return None
    counts = mapping(unpacked(first_of(row, "usageDetails", "usage_details")))
    return completion(answers, _model(row), _usage(counts))


def _usage(counts: dict[str, Any]) -> dict[str, Any]:
    """Langfuse counts each kind of token once: the prompt is `input` and all that was cached or is a part of it."""
    if "prompt_tokens" in counts:
        return usage_of(counts["prompt_tokens"], counts.get("completion_tokens"))
    if not {"input", "output"} & counts.keys():
        return {}
    known = {key: value for key, value in counts.items() if isinstance(value, int) and not isinstance(value, bool)}
    prompt = sum(value for key, value in known.items() if key.startswith(("input", "cache_")))
    answer = sum(value for key, value in known.items() if key.startswith("output"))
    read = sum(known.get(key, 0) for key in ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read"))
    written = sum(known.get(key, 0) for key in ("cache_creation_input_tokens", "input_cache_creation"))
    return usage_of(prompt, answer, read, written)


def _metadata(row: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    own = {**scalars(about.get("metadata")), **scalars(row.get("metadata"))}
    session = named(row, "sessionId", "session_id") or named(about, "sessionId", "session_id")
    trace = named(row, "traceId", "trace_id")
    return {**own, **({"session_id": session} if session else {}), **({"trace_id": trace} if trace else {})}


def _model(row: dict[str, Any]) -> str:
    return named(row, "providedModelName", "provided_model_name", "model")


def _time(row: dict[str, Any], *names: str) -> float | None:
    time = first_of(row, *names)
    try:
        return seconds(time) if isinstance(time, str | int | float) else None
    except ValueError:
        return None


def _number_or_self(value: Any) -> Any:
    """Parameters are kept as texts: a number again where one is meant."""
    parsed = number(value) if isinstance(value, str) else None
    return value if parsed is None else int(parsed) if parsed.is_integer() and "." not in value else parsed
