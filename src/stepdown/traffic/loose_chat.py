"""What was asked and answered as tools that watch calls write it down, brought into chat shape.

Shapes read: texts; messages of the chat and the messages wire; those of OpenTelemetry's conventions for generative AI
(`parts`; semantic-conventions 1.37, gen-ai-input-messages.json and gen-ai-output-messages.json); LangChain's
(langchain-core, messages/base.py and load/serializable.py: `type` "human" or "ai", `kwargs`, `generations`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stepdown.traffic.source import too_deep
from stepdown.wires import anthropic_messages
from stepdown.wires.accounts import FINISH_REASONS
from stepdown.wires.loose import mapping, mappings, text

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "developer": "developer"}
_KNOWN_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_FINISH = {**FINISH_REASONS, "tool_call": "tool_calls", "max_token": "length", "STOP": "stop", "MAX_TOKENS": "length"}
_ANTHROPIC_BLOCKS = frozenset({"tool_use", "tool_result"})
_MESSAGE_KEYS = ("content", "tool_calls", "function_call", "parts", "kwargs", "data", "text")
_decode = msgspec.json.decode

Answer = tuple[dict[str, Any], str]
"""An assistant's message in chat shape, and why it ended ("" where nothing says)."""


def unpacked(value: Any) -> Any:
    """A value that is an object or list as JSON text, decoded; any other as it is."""
    return decoded_text(value) if isinstance(value, str) and value.lstrip()[:1] in {"{", "["} else value


def decoded_text(value: str) -> Any:
    """JSON text decoded; as it is where it is none, or nests deeper than any record may."""
    try:
        return value if too_deep(value.encode()) else _decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value


def messages_of(request: Any) -> list[dict[str, Any]]:
    """Chat messages out of a text, a message, messages, or an object that holds them. ValueError where none are."""
    if isinstance(request, str):
        return [{"role": "user", "content": request}]
    if isinstance(request, list) and len(request) == 1 and isinstance(request[0], list | str):
        return messages_of(request[0])  # a batch of one, as chains log it
    if isinstance(request, list) and request and all(map(_is_message, request)):
        if any(_is_anthropic(item) for item in request):
            return list(anthropic_messages.request({"messages": request})["messages"])
        return [message for item in request for message in _messages(item)]
    if isinstance(request, dict):
        for key in ("messages", "input", "prompt", "prompts", "chat_history"):
            if isinstance(request.get(key), str | list) and request[key]:
                system = request.get("system") or request.get("instructions")
                before = [{"role": "system", "content": system}] if isinstance(system, str) else []
                return [*before, *messages_of(request[key])]
        if _is_message(request):
            return _messages(request)
    raise ValueError("the prompt is neither a text nor a list of messages")


def answers_of(answered: Any) -> list[Answer]:
    """The answers in what came back: one, several choices, or none. Values that are no message are answers in JSON."""
    if answered is None or answered in ("", {}, []):
        return []
    if isinstance(answered, dict):
        choices = answered.get("choices")
        if isinstance(choices, list):
            return [_choice(choice) for choice in mappings(choices)]
        if isinstance(answered.get("generations"), list):
            return [_generation(each) for each in _flat(answered["generations"])]
        if _is_answer(answered):
            return [_answer(answered)]
    if isinstance(answered, list) and all(map(_is_message, answered)) and any(map(_role, answered)):
        return [_answer(item) for item in answered if _role(item) in {"assistant", ""}]
    return [({"role": "assistant", "content": as_text(answered)}, "")]


def completion(answers: Iterable[Answer], model: str, usage: dict[str, Any], answer_id: str = "") -> dict[str, Any]:
    """A chat completion of these answers. usage: {} where nothing is known of tokens."""
    choices = [
        {"index": index, "finish_reason": reason or ("tool_calls" if message.get("tool_calls") else "stop")}
        | {"message": message}
        for index, (message, reason) in enumerate(answers)
    ]
    whole: dict[str, Any] = {"object": "chat.completion", "model": model, "choices": choices}
    if answer_id:
        whole["id"] = answer_id
    return {**whole, "usage": usage} if usage else whole


def usage_of(prompt: Any, completion: Any, cached: Any = None, written: Any = None) -> dict[str, Any]:
    """Token counts in chat terms, the prompt's with those of the cache (`cached`: read from it); {} for none."""
    counts = [_count(each) for each in (prompt, completion)]
    if counts[0] is None and counts[1] is None:
        return {}
    sure = [count or 0 for count in counts]
    whole: dict[str, Any] = {"prompt_tokens": sure[0], "completion_tokens": sure[1], "total_tokens": sum(sure)}
    details = {"cached_tokens": _count(cached), "cache_write_tokens": _count(written)}
    if any(details.values()):
        whole["prompt_tokens_details"] = {key: count or 0 for key, count in details.items()}
    return whole


def has_text(messages: Iterable[dict[str, Any]]) -> bool:
    """Whether somebody says something in these messages: of a call whose text was not captured only roles are left."""
    return any(message.get("content") for message in messages)


def tools_of(tools: Any) -> list[dict[str, Any]]:
    """Definitions of tools in chat shape, from either wire's, or from those of OpenTelemetry."""
    found = []
    for tool in mappings(tools):
        inner = mapping(tool.get("function")) or tool
        if not inner.get("name"):
            found.append(tool)  # a tool that the provider hosts
            continue
        schema = inner.get("parameters", inner.get("input_schema"))
        function = {key: inner[key] for key in ("name", "description", "strict") if inner.get(key) is not None}
        schema = unpacked(schema)
        found.append({"type": "function", "function": {**function, **({"parameters": schema} if schema else {})}})
    return found


def as_text(value: Any) -> str:
    """A text as it is; any other value as JSON, its keys in their order."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def without_nulls(response: dict[str, Any]) -> dict[str, Any]:
    """A completion without the fields that a client's library fills with null: no server sent them."""
    choices = []
    for choice in mappings(response.get("choices")):
        message = mapping(choice.get("message"))
        kept = {key: value for key, value in message.items() if value is not None or key == "content"}
        kept.pop("provider_specific_fields", None)
        choices.append({**choice, "message": kept})
    return {**{key: value for key, value in response.items() if value is not None}, "choices": choices}


def _messages(item: Any) -> list[dict[str, Any]]:
    """The chat messages of one message: results of several tools in one message become messages of their own."""
    if isinstance(item, str):
        return [{"role": "user", "content": item}]
    inner = _inner(item)
    results = [part for part in mappings(inner.get("parts")) if part.get("type") == "tool_call_response"]
    messages = [
        {
            "role": "tool",
            "tool_call_id": text(part.get("id")),
            "content": as_text(part.get("response", part.get("result", ""))),
        }
        for part in results
    ]
    rest = [part for part in mappings(inner.get("parts")) if part.get("type") != "tool_call_response"]
    return messages if messages and not rest else [*messages, _message(item)]


def _message(item: dict[str, Any]) -> dict[str, Any]:
    inner = _inner(item)
    message: dict[str, Any] = {"role": _role(item) or "user", "content": inner.get("content", inner.get("text"))}
    calls = inner.get("tool_calls") or mapping(inner.get("additional_kwargs")).get("tool_calls")
    if isinstance(inner.get("parts"), list):
        message["content"], calls = _of_parts(mappings(inner["parts"]))
    if calls := [_tool_call(call) for call in mappings(calls)]:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    if isinstance(inner.get("tool_call_id"), str):
        message["tool_call_id"] = inner["tool_call_id"]
    elif message["role"] == "tool" and isinstance(inner.get("id"), str):
        message["tool_call_id"] = inner["id"]
    if isinstance(inner.get("name"), str) and message["role"] != "assistant":
        message["name"] = inner["name"]
    if isinstance(inner.get("refusal"), str):
        message["refusal"] = inner["refusal"]
    return message


def _of_parts(parts: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The content and the calls of tools in a message's parts: a text where there is nothing but text."""
    calls = [part for part in parts if part.get("type") == "tool_call"]
    spoken_parts = [part for part in parts if text(part.get("type")) not in {"tool_call", "reasoning", "thinking"}]
    if all(part.get("type") == "text" for part in spoken_parts):
        texts = [as_text(part.get("content", part.get("text", ""))) for part in spoken_parts]
        return ("".join(texts) if texts else None), calls
    return [_content_part(part) for part in spoken_parts], calls


def _content_part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": as_text(part.get("content", part.get("text", "")))}
    if part.get("modality") == "image":
        return {"type": "image_url", "image_url": {"url": text(part.get("uri"))}}
    return part


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool in chat shape: {function: {name, arguments}}, or {name, args} as chains write it."""
    inner = mapping(call.get("function")) or call
    arguments = next((inner[key] for key in ("arguments", "args", "input") if inner.get(key) is not None), "")
    function = {"name": text(inner.get("name")), "arguments": as_text(arguments)}
    return {"id": text(call.get("id")), "type": "function", "function": function}


def _answer(item: dict[str, Any]) -> Answer:
    inner = _inner(item)
    if isinstance(inner.get("content"), list):
        if any(text(block.get("type")) in _ANTHROPIC_BLOCKS for block in mappings(inner["content"])):
            choice = anthropic_messages.response({"content": inner["content"]})["choices"][0]
            return choice["message"], finish_of(item.get("stop_reason"))
        inner = {**inner, "content": "".join(text(part.get("text")) for part in mappings(inner["content"])) or None}
    message = _message({**inner, "role": "assistant"})
    metadata = mapping(inner.get("response_metadata"))
    return message, finish_of(item.get("finish_reason") or item.get("stop_reason") or metadata.get("finish_reason"))


def _choice(choice: dict[str, Any]) -> Answer:
    reply = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    message, reason = _answer(mapping(reply))
    return message, finish_of(choice.get("finish_reason")) or reason


def _generation(each: Any) -> Answer:
    generation = mapping(each)
    if isinstance(generation.get("message"), dict):
        message, reason = _answer(generation["message"])
        return message, reason or finish_of(mapping(generation.get("generation_info")).get("finish_reason"))
    return {"role": "assistant", "content": text(generation.get("text"))}, ""


def finish_of(reason: Any) -> str:
    """Why an answer ended in chat terms, whatever convention says it; "" where nothing does."""
    return _FINISH.get(reason, reason) if isinstance(reason, str) else ""


def _flat(generations: list[Any]) -> list[Any]:
    return [each for inner in generations for each in (inner if isinstance(inner, list) else [inner])]


def _inner(item: dict[str, Any]) -> dict[str, Any]:
    """A message's own fields, out of what a chain's library wraps round them."""
    for key in ("kwargs", "data"):
        if isinstance(item.get(key), dict):
            return mapping(item[key])
    return item


def _role(item: Any) -> str:
    """The role a message has, in chat terms; "" where it says none."""
    if not isinstance(item, dict):
        return ""
    inner = _inner(item)
    named = item.get("id") if item.get("type") == "constructor" else None
    made = (
        str(named[-1]).removesuffix("Chunk").removesuffix("Message").lower()
        if isinstance(named, list) and named
        else ""
    )
    for name in (inner.get("role"), made, item.get("type"), inner.get("type")):
        role = _ROLES.get(name, name) if isinstance(name, str) else ""
        if role in _KNOWN_ROLES:
            return role
    return ""


def _is_message(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and any(key in item for key in _MESSAGE_KEYS))


def _is_answer(answered: dict[str, Any]) -> bool:
    """Whether an object is an assistant's message, and not an answer in JSON that has a `type` or `content` too."""
    shaped = bool({"parts", "tool_calls", "kwargs"} & answered.keys())
    return _is_message(answered) and (bool(_role(answered)) or shaped or answered.keys() in ({"content"}, {"text"}))


def _is_anthropic(item: Any) -> bool:
    content = item.get("content") if isinstance(item, dict) else None
    return any(text(block.get("type")) in _ANTHROPIC_BLOCKS for block in mappings(content))


def _count(value: Any) -> int | None:
    """A number of tokens, also where it is text; None where it is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        return int(value)
    whole = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return int(value) if whole else None
