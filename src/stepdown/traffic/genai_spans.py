"""Requests and responses of spans by OpenTelemetry's conventions for generative AI, of every generation.

Values are OTLP's AnyValue in JSON (opentelemetry-proto, common.proto, in the OTLP specification's JSON encoding).
Sources: open-telemetry/semantic-conventions docs/gen-ai (gen-ai-spans.md and gen-ai-events.md at 1.27, 1.28, 1.36 and
1.37, gen-ai-input-messages.json, gen-ai-output-messages.json), traceloop/openllmetry
(opentelemetry-semantic-conventions-ai, SpanAttributes). OpenInference is not read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from stepdown.traffic.loose_chat import Answer, answers_of, finish_of, has_text, messages_of, tools_of, unpacked
from stepdown.traffic.rows import first_of, named
from stepdown.traffic.source import MAX_DEPTH
from stepdown.wires.loose import mapping, mappings, text

_HEX = re.compile(r"(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})")


def plain(value: Any, depth: int = 0) -> Any:
    """An AnyValue as JSON has it; None for what is none."""
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return None
    for key in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        if key in value:
            return value[key]
    if "intValue" in value:
        number = value["intValue"]
        return int(number) if isinstance(number, str) and re.fullmatch(r"-?\d{1,19}", number) else number
    if "arrayValue" in value:
        return [plain(each, depth + 1) for each in mappings(mapping(value["arrayValue"]).get("values"))]
    if "kvlistValue" in value:
        return _pairs(mapping(value["kvlistValue"]).get("values"), depth + 1)
    return None


def attributes_of(item: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span, an event or a log record by name."""
    return _pairs(item.get("attributes"), 0)


def hex_id(value: Any) -> str:
    """An id in hexadecimal; in base64, as generic writers of protobuf have it, it is brought into that."""
    given = text(value)
    if not given or _HEX.fullmatch(given):
        return given.lower()
    try:
        return base64.b64decode(given, validate=True).hex()
    except (binascii.Error, ValueError):
        return given


def nanoseconds(value: Any) -> float:
    """Seconds since the epoch from nanoseconds, which JSON has as text; 0 for no time."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 21:
        value = int(value)
    return value / 1e9 if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1e20 else 0.0


def named_event(name: str, attributes: dict[str, Any], body: Any) -> dict[str, Any]:
    """An event of a span or a log record, with its body where it has one."""
    return {"name": name, "attributes": attributes, "body": body}


def _pairs(pairs: Any, depth: int) -> dict[str, Any]:
    return {text(pair.get("key")): plain(pair.get("value"), depth) for pair in mappings(pairs)}


_CHATS = frozenset({"chat", "text_completion", "generate_content", "completion"})
_ROLES = ("system", "user", "assistant", "tool")
_NUMBERED = re.compile(r"(gen_ai\.prompt|gen_ai\.completion|llm\.request\.functions)\.(\d{1,4})\.(.+)")
_CALL = re.compile(r"tool_calls\.(\d{1,4})\.(name|arguments|id)")
_ASSOCIATED = "traceloop.association.properties."
_CONVERSATION = ("gen_ai.conversation.id", _ASSOCIATED + "conversation_id", _ASSOCIATED + "chat_id")
_SESSION = ("session.id", _ASSOCIATED + "session_id")

DETAILS = "gen_ai.client.inference.operation.details"
"""The event that has all that a span has."""
_MESSAGES = frozenset((DETAILS, "gen_ai.choice", "gen_ai.content.prompt", "gen_ai.content.completion"))

Events = Sequence[dict[str, Any]]
"""Events of the span and of logs that name it: {name, attributes, body}."""


def is_message(event: str) -> bool:
    """Whether an event of this name holds a prompt or an answer, and not an evaluation."""
    return event in _MESSAGES or event in {f"gen_ai.{role}.message" for role in _ROLES}


def is_chat(attributes: dict[str, Any], events: Events) -> bool:
    """Whether a span is the call of a chat model, and not of an embedding, a tool or an agent."""
    operation = named(attributes, "gen_ai.operation.name", "llm.request.type").lower()
    if operation:
        return operation in _CHATS
    model = first_of(attributes, "gen_ai.request.model", "gen_ai.response.model")
    return bool(model) and (has_content(attributes, events) or bool(first_of(attributes, "gen_ai.usage.output_tokens")))


def has_content(attributes: dict[str, Any], events: Events) -> bool:
    """Whether the prompt was captured."""
    try:
        return has_text(request_of(attributes, events))
    except ValueError:
        return True  # it is there, and cannot be read: that is said, and not that it was not captured


def request_of(attributes: dict[str, Any], events: Events) -> list[dict[str, Any]]:
    """The request's messages in chat shape; [] where their text was not captured. Raises ValueError."""
    given = unpacked(_from(attributes, events, "gen_ai.input.messages"))
    if given:
        messages = messages_of(given)
        system = unpacked(_from(attributes, events, "gen_ai.system_instructions"))
        if system:
            parts = system if isinstance(system, list) else [{"type": "text", "content": system}]
            messages = [*messages_of([{"role": "system", "parts": parts}]), *messages]
    else:
        messages = _asked_in_events(_all(attributes, events)) or _numbered(attributes, "gen_ai.prompt")
        whole = unpacked(_from(attributes, events, "gen_ai.prompt"))
        messages = messages or (messages_of(whole) if whole else [])
    return messages if has_text(messages) else []


def response_of(attributes: dict[str, Any], events: Events) -> list[Answer]:
    """The answers in chat shape; [] where there is none, or none was captured."""
    reasons = [finish_of(each) for each in _list(attributes.get("gen_ai.response.finish_reasons"))]
    given = unpacked(_from(attributes, events, "gen_ai.output.messages"))
    if given:
        answers = answers_of(given)
    else:
        answers = [
            answer
            for event in _all(attributes, events)
            if event["name"] == "gen_ai.choice" and (answer := _choice(_body(event)))
        ]
        answers = answers or [
            answers_of(message)[0]
            for message in _numbered(attributes, "gen_ai.completion")
            if message.get("content") or message.get("tool_calls")
        ]
        whole = unpacked(_from(attributes, events, "gen_ai.completion"))
        answers = answers or (answers_of(whole) if whole else [])
    replies = [(message, reason) for message, reason in answers if message.get("content") or message.get("tool_calls")]
    return [
        (message, reason or (reasons[index] if index < len(reasons) else ""))
        for index, (message, reason) in enumerate(replies)
    ]


def tools_from(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """The definitions of tools in chat shape, where they were captured."""
    given = unpacked(first_of(attributes, "gen_ai.tool.definitions", "gen_ai.request.tools"))
    if isinstance(given, list):
        return tools_of([unpacked(each) for each in given])
    return tools_of(_fields(attributes, "llm.request.functions"))


def metadata_of(attributes: dict[str, Any], trace: str) -> dict[str, Any]:
    """The metadata of a call: the application's own, the conversation, the session, the trace."""
    metadata = {
        key.removeprefix(_ASSOCIATED): value
        for key, value in attributes.items()
        if key.startswith(_ASSOCIATED) and isinstance(value, str | int | float)
    }
    for name, keys in (("conversation_id", _CONVERSATION), ("session_id", _SESSION)):
        if found_value := named(attributes, *keys):
            metadata[name] = found_value
    return {**metadata, "trace_id": trace} if trace else metadata


def _from(attributes: dict[str, Any], events: Events, name: str) -> Any:
    """An attribute of the span, else of the first of its events that has it."""
    holders = [attributes, *(event["attributes"] for event in events)]
    return next((holder[name] for holder in holders if holder.get(name)), None)


def _all(attributes: dict[str, Any], events: Events) -> list[dict[str, Any]]:
    """The events, and those that are kept in an attribute of the span as a list."""
    kept = mappings(unpacked(first_of(attributes, "events", "all_messages_events")))
    return [*events, *({"name": named(one, "event.name"), "attributes": {}, "body": one} for one in kept)]


def _body(event: dict[str, Any]) -> dict[str, Any]:
    """An event's content: its body, its content as JSON text, or its attributes."""
    if isinstance(event.get("body"), dict):
        return mapping(event["body"])
    content = unpacked(event["attributes"].get("gen_ai.event.content"))
    return content if isinstance(content, dict) else {key: unpacked(one) for key, one in event["attributes"].items()}


def _asked_in_events(events: Events) -> list[dict[str, Any]]:
    messages = []
    for event in events:
        role = event["name"].removeprefix("gen_ai.").removesuffix(".message")
        if role in _ROLES and event["name"] == f"gen_ai.{role}.message":
            body = _body(event)
            if isinstance(body.get("content"), dict | list) and not mappings(body.get("content")):
                body = {**body, "content": None}
            messages += messages_of([{"role": role, "content": None, **body}])
    return messages


def _choice(body: dict[str, Any]) -> Answer | None:
    message = unpacked(body.get("message"))
    reply = mapping(message) or {key: body[key] for key in ("content", "tool_calls") if body.get(key)}
    if isinstance(message, str):
        reply = {"content": message}
    if isinstance(body.get("tool_calls"), list) and "tool_calls" not in reply:
        reply = {**reply, "tool_calls": body["tool_calls"]}
    if not reply.get("content") and not any(_arguments(call) for call in mappings(reply.get("tool_calls"))):
        return None  # of an answer that was not captured its role and its tools' names are left
    answers = answers_of([{"role": "assistant", **reply}])
    return (answers[0][0], finish_of(body.get("finish_reason"))) if answers else None


def _arguments(call: dict[str, Any]) -> bool:
    return "arguments" in (mapping(call.get("function")) or call)


def _numbered(attributes: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Messages whose fields are attributes with numbers: gen_ai.prompt.0.role, gen_ai.prompt.0.tool_calls.0.name."""
    messages = []
    for fields in _fields(attributes, prefix):
        calls: dict[int, dict[str, Any]] = {}
        for key, value in fields.items():
            if match := _CALL.fullmatch(key):
                calls.setdefault(int(match[1]), {})[match[2]] = value
        message = {key: value for key, value in fields.items() if not key.startswith("tool_calls.")}
        message["content"] = _parts(message.get("content"))
        if calls:
            message["tool_calls"] = [calls[index] for index in sorted(calls)]
        messages += messages_of([{"role": "assistant" if prefix.endswith("completion") else "user", **message}])
    return messages


def _parts(content: Any) -> Any:
    """A content that is JSON text of a list of parts, as lists were written; any other as it is."""
    parts = unpacked(content)
    return parts if isinstance(parts, list) and parts and all("type" in part for part in mappings(parts)) else content


def _fields(attributes: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The fields of numbered attributes below a prefix, by their numbers."""
    fields: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        match = _NUMBERED.fullmatch(key)
        if match and match[1] == prefix:
            fields.setdefault(int(match[2]), {})[match[3]] = value
    return [fields[index] for index in sorted(fields)]


def _list(value: Any) -> list[Any]:
    given = unpacked(value)
    return given if isinstance(given, list) else [given] if text(given) else []
