"""OpenAI chat.completions, the shape of recorded calls: streams joined, deviations of compatible servers normalised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepdown.wires.chat_stream import stream_of
from stepdown.wires.wire_errors import chat_error as error_body

__all__ = [
    "NAME",
    "PATH",
    "error_body",
    "from_chat",
    "from_completion",
    "joined",
    "request",
    "response",
    "stream_of",
    "to_chat",
]

NAME = "openai"
PATH = "/chat/completions"
_MAY_BE_NULL = ("system_fingerprint", "service_tier")
_OF_THE_WHOLE = ("id", "created", "model", "system_fingerprint", "service_tier", "usage")


def request(body: dict[str, Any]) -> dict[str, Any]:
    """A request body as it is. Raises ValueError when it has no list of messages."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("the request has no list of messages")
    return body


def response(body: dict[str, Any]) -> dict[str, Any]:
    """A response body as it is, thinking parts taken out of its text. Raises ValueError when it has no choices."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError("the response has no list of choices")
    if not any(isinstance((choice.get("message") or {}).get("content"), list) for choice in choices if _said(choice)):
        return body
    straight = [
        {**choice, "message": _straightened(choice["message"])} if _said(choice) else choice for choice in choices
    ]
    return {**body, "choices": straight}


def joined(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The response that a stream of chunks amounts to. Raises ValueError when no chunk has choices."""
    whole: dict[str, Any] = {"object": "chat.completion"}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        if isinstance(chunk.get("error"), dict | str):
            return {"error": chunk["error"]}
        whole |= {key: chunk[key] for key in _OF_THE_WHOLE if chunk.get(key) is not None}
        whole |= {key: None for key in _MAY_BE_NULL if key in chunk and key not in whole}
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict):
                _add(choices, choice)
    if not choices:
        raise ValueError("the stream has no choices")
    return response({**whole, "choices": [_finished(choices[index]) for index in sorted(choices)]})


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """A live request as it is. Raises ValueError when it has no list of messages."""
    return request(body)


def from_chat(request: dict[str, Any]) -> dict[str, Any]:
    """A chat request as this wire has it: as it is."""
    return request


def from_completion(completion: dict[str, Any], created: int = 0) -> dict[str, Any]:
    """A chat completion with the fields that clients count on and other wires do not know.

    `created`, in whole seconds since the epoch, is for one that does not say when it was made.
    """
    out = {**completion, "object": "chat.completion", "created": completion.get("created") or created}
    out["choices"] = [
        {**choice, "logprobs": choice.get("logprobs"), "message": {"refusal": None, **choice["message"]}}
        if _said(choice)
        else choice
        for choice in completion.get("choices") or ()
    ]
    if not out.get("usage"):
        out.pop("usage", None)
    return out


def _said(choice: dict[str, Any]) -> bool:
    return isinstance(choice.get("message"), dict)


def _straightened(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is a list of parts, as some servers send it, with its text as one string."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    thought = "".join(_thought(part) for part in content)
    plain = {**message, "content": "".join(_text(part) for part in content) or None}
    return {**plain, "reasoning_content": thought} if thought else plain


def _text(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
    return text if isinstance(text, str) else ""


def _thought(part: Any) -> str:
    inner = part.get("thinking") if isinstance(part, dict) else None
    if isinstance(inner, list):
        return "".join(_text(piece) for piece in inner)
    return inner if isinstance(inner, str) else ""


def _add(choices: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    index = _index(choice, 0)
    so_far = choices.setdefault(
        index, {"index": index, "finish_reason": None, "parts": [], "calls": {}, "logprobs": []}
    )
    so_far["has_logprobs"] = so_far.get("has_logprobs", False) or "logprobs" in choice
    so_far["finish_reason"] = choice.get("finish_reason") or so_far["finish_reason"]
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
        so_far["logprobs"].extend(logprobs["content"])
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    content = delta.get("content")
    so_far["parts"].extend(content if isinstance(content, list) else [content] if isinstance(content, str) else [])
    if "refusal" in delta:
        so_far.setdefault("refusal", None)
    for key in ("reasoning", "reasoning_content", "refusal"):
        if isinstance(delta.get(key), str):
            so_far[key] = (so_far.get(key) or "") + delta[key]
    for position, call in enumerate(delta.get("tool_calls") or ()):
        if isinstance(call, dict):
            _add_tool_call(so_far["calls"], call, position)
    if isinstance(delta.get("function_call"), dict):
        _add_function(so_far.setdefault("function_call", {"name": "", "arguments": ""}), delta["function_call"])


def _add_tool_call(calls: dict[int, dict[str, Any]], delta: dict[str, Any], position: int) -> None:
    call = calls.setdefault(
        _index(delta, position), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    )
    given = delta.get("function")
    function: dict[str, Any] = given if isinstance(given, dict) else {}
    call["id"] = delta.get("id") or call["id"]
    _add_function(call["function"], function)


def _add_function(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    whole["name"] = delta.get("name") or whole["name"]
    whole["arguments"] += delta.get("arguments") or ""


def _index(delta: dict[str, Any], position: int) -> int:
    index = delta.get("index")
    return index if isinstance(index, int) else position


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice["parts"]}
    if all(isinstance(part, str) for part in choice["parts"]):
        message["content"] = "".join(choice["parts"]) or None
    known = ("reasoning", "reasoning_content", "refusal", "function_call")
    message |= {key: choice[key] for key in known if key in choice}
    if choice["calls"]:
        message["tool_calls"] = [choice["calls"][index] for index in sorted(choice["calls"])]
    whole = {"index": choice["index"], "finish_reason": choice["finish_reason"], "message": message}
    if choice["logprobs"]:
        return {**whole, "logprobs": {"content": choice["logprobs"]}}
    return {**whole, "logprobs": None} if choice["has_logprobs"] else whole
