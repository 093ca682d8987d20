"""A student's decision as an answer in the incumbent's exact shape, whole or streamed."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.gateway.envelope import enclosed, id_on_wire
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import EVENT_STREAM, JSON, Response
from stepdown.gateway.request_compatibility import said_characters
from stepdown.gateway.served import ResponseTemplate, ServedTask
from stepdown.gateway.shape import choice_of_tools
from stepdown.runtime.cascade import Decision

NO_CACHE = (b"cache-control", b"no-cache")
MAX_CHOICES = 128

_encode = msgspec.json.Encoder().encode


def choices_asked(chat: dict[str, Any]) -> int:
    """How many choices a request wants; 0 for a number that no answer can have."""
    asked = chat.get("n", 1)
    if asked is None:
        return 1
    whole = isinstance(asked, int) and not isinstance(asked, bool)
    return asked if whole and 1 <= asked <= MAX_CHOICES else 0


def chat_completion(exchange: Exchange, task: ServedTask, decision: Decision) -> dict[str, Any]:
    """The chat completion that the incumbent could have given. Its usage is an estimate from recorded calls."""
    template = task.template or ResponseTemplate(like={})
    assert task.family is not None
    like = template.likes.get(task.family.like_key(task.task, decision.answer), template.like)
    message = task.family.write_answer(task.task, decision.answer, decision.confidence, like)
    count = choices_asked(exchange.chat) or 1
    prompt = max(1, round(_characters(exchange.chat) * template.prompt_tokens_per_character))
    completion = max(1, round(said_characters(message) * template.completion_tokens_per_character)) * count
    ended = next((key for key in ("tool_calls", "function_call") if message.get(key)), "stop")
    if ended != "stop":  # Under a forced tool some incumbents say "stop".
        ended = template.finish.get(choice_of_tools(exchange.chat), ended)
    completion_of = {
        "id": id_on_wire(template.envelope, exchange.wire.NAME, exchange.id),
        "object": "chat.completion",
        "created": int(exchange.at),
        "model": template.model or str(exchange.chat.get("model") or task.name),
        "choices": [
            {"index": index, "message": _named(message, exchange, index), "finish_reason": ended}
            for index in range(count)
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "system_fingerprint": f"stepdown-{task.certificate[:12]}",
    }
    return enclosed(template.envelope, completion_of)


def _named(message: dict[str, Any], exchange: Exchange, choice: int) -> dict[str, Any]:
    """The message with an id of its own for every tool call, by which the client will say what the tool gave."""
    if not message.get("tool_calls"):
        return message
    kind = "toolu" if exchange.wire.NAME == "anthropic" else "call"
    mark = f"{kind}_{exchange.id.removeprefix('call-').replace('-', '_')}_{choice}"
    calls = [{**call, "id": f"{mark}_{number}"} for number, call in enumerate(message["tool_calls"])]
    return {**message, "tool_calls": calls}


def wire_response(exchange: Exchange, body: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> Response:
    """A whole answer on the client's wire, streamed where that was asked; it is kept on the exchange."""
    exchange.reply = _encode(body)
    if not exchange.wants_stream:
        return Response(200, [JSON, *headers], exchange.reply)
    events = b"".join(exchange.wire.stream_of(body, exchange.wants_usage))
    return Response(200, [EVENT_STREAM, NO_CACHE, *headers], events)


def student_headers(exchange: Exchange, task: ServedTask) -> list[tuple[bytes, bytes]]:
    """Who answered, how sure, and under which certificate: none, and why, where the client insisted on an answer that
    the cascade would not have given."""
    standing = (
        (b"x-stepdown-reason", header_text(exchange.reason))
        if exchange.reason
        else (b"x-stepdown-certificate", task.certificate[:16].encode())
    )
    return [
        (b"x-stepdown-id", exchange.id.encode()),
        (b"x-stepdown-task", header_text(task.name)),
        (b"x-stepdown-rung", exchange.rung.encode()),
        (b"x-stepdown-confidence", b"%.4f" % (exchange.confidence or 0.0)),
        standing,
    ]


def header_text(text: str) -> bytes:
    """A name as a header may hold it: visible ASCII; all else becomes "?"."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return bytes(byte if 32 <= byte < 127 else 63 for byte in text.encode("ascii", "replace"))


def _characters(chat: dict[str, Any]) -> int:
    total = 0
    for message in chat["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list):
            total += sum(len(str(part.get("text", ""))) for part in content if isinstance(part, dict))
    return total
