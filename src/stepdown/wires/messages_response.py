"""A chat completion as an Anthropic message.

Source: the Messages API reference, docs.anthropic.com/en/api/messages (content blocks, stop reasons, usage).
"""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.wires import openai_chat
from stepdown.wires.accounts import messages_usage, stop_reason
from stepdown.wires.loose import mapping, mappings, text


def to_message(completion: dict[str, Any]) -> dict[str, Any]:
    """The first choice of a chat completion as an Anthropic message; usage counts as that wire counts.

    Reasoning text is left out: a thinking block needs a signature that nobody but Anthropic can make. Raises ValueError
    where there is no choice, or where a tool call's arguments are not a JSON object, unless the answer was cut off
    for its length: then the call that was cut has an empty input, and `stop_reason` says max_tokens.
    """
    choices = openai_chat.response(completion)["choices"]
    if not choices or not isinstance(choices[0].get("message"), dict):
        raise ValueError("the response has no choice with a message")
    message, reason = choices[0]["message"], choices[0].get("finish_reason")
    calls = mappings(message.get("tool_calls"))
    texts = [said for key in ("content", "refusal") if (said := text(message.get(key)))]
    identity = text(completion.get("id"))
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": text(completion.get("model")),
        "content": [
            *({"type": "text", "text": said} for said in texts),
            *(_tool_use(call, tool_id(identity, number), reason == "length") for number, call in enumerate(calls)),
        ],
        "stop_reason": stop_reason(reason, bool(calls), bool(text(message.get("refusal")))),
        "stop_sequence": None,
        "usage": messages_usage(completion.get("usage")),
    }


def tool_id(message_id: str, number: int) -> str:
    """An id for a tool call that came without one: the same call always has the same."""
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "-" for letter in message_id
    )
    return f"toolu_{safe}_{number}"


def input_of(arguments: Any) -> dict[str, Any]:
    """A tool call's arguments as a JSON object. Raises ValueError where they are not one; nothing said is {}."""
    if isinstance(arguments, dict):
        return arguments
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        raise ValueError("a tool call's arguments are not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("a tool call's arguments are not a JSON object")
    return value


def _tool_use(call: dict[str, Any], spare_id: str, is_cut: bool) -> dict[str, Any]:
    function = mapping(call.get("function"))
    try:
        inner = input_of(function.get("arguments"))
    except ValueError:
        if not is_cut:
            raise
        inner = {}
    identity = text(call.get("id")) or spare_id
    return {"type": "tool_use", "id": identity, "name": text(function.get("name")), "input": inner}
