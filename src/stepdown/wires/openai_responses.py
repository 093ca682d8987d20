"""OpenAI responses, translated to OpenAI chat.completions shape.

Source: the Responses API reference, platform.openai.com/docs/api-reference/responses (input items, output items,
text.format, usage) and its streaming events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PATH = "/responses"
_SAME = ("model", "temperature", "top_p", "stream", "tool_choice", "parallel_tool_calls")


def request(body: dict[str, Any]) -> dict[str, Any]:
    """A Responses request in chat shape. Raises ValueError when it has no input."""
    given = body.get("input")
    if not isinstance(given, str | list):
        raise ValueError("the request has no input")
    out: dict[str, Any] = {key: body[key] for key in _SAME if key in body}
    if isinstance(body.get("max_output_tokens"), int):
        out["max_completion_tokens"] = body["max_output_tokens"]
    instructions = body.get("instructions")
    out["messages"] = [{"role": "system", "content": instructions}] if isinstance(instructions, str) else []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    for item in items:
        if isinstance(item, dict) and (message := _message(item)):
            out["messages"].append(message)
    if isinstance(body.get("tools"), list):
        out["tools"] = [_tool(tool) for tool in body["tools"] if isinstance(tool, dict)]
    shape = (body.get("text") or {}).get("format") if isinstance(body.get("text"), dict) else None
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        inner = {key: value for key, value in shape.items() if key != "type"}
        out["response_format"] = {"type": "json_schema", "json_schema": inner}
    return out


def response(body: dict[str, Any]) -> dict[str, Any]:
    """A Responses response in chat shape. Raises ValueError when it has no list of output items."""
    output = body.get("output")
    if not isinstance(output, list):
        raise ValueError("the response has no list of output items")
    items = [item for item in output if isinstance(item, dict)]
    texts = [text for item in items if item.get("type") == "message" for text in _texts(item.get("content"))]
    calls = [_tool_call(item) for item in items if item.get("type") == "function_call"]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    cut = body.get("status") == "incomplete"
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length" if cut else "tool_calls" if calls else "stop"}
    choice["message"] = message
    if logprobs := _logprobs(items):
        choice["logprobs"] = {"content": logprobs}
    return {
        "id": body.get("id") or "",
        "object": "chat.completion",
        "created": body.get("created_at"),
        "model": body.get("model") or "",
        "choices": [choice],
        "usage": _usage(body.get("usage")),
    }


def joined(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The Responses response (not yet in chat shape) at the end of a stream. Raises ValueError when it has no end."""
    items: dict[int, dict[str, Any]] = {}
    last: dict[str, Any] = {}
    for event in events:
        kind = event.get("type")
        if kind == "error":
            return {"error": event.get("message") or event.get("error")}
        if kind == "response.output_item.done" and isinstance(event.get("item"), dict):
            items[len(items)] = event["item"]
        if isinstance(event.get("response"), dict):
            last = event["response"]
    if last.get("status") not in {"completed", "incomplete", "failed"}:
        raise ValueError("the stream ends before the response does")
    return last if last.get("output") else {**last, "output": list(items.values())}


def _message(item: dict[str, Any]) -> dict[str, Any] | None:
    kind, role = item.get("type", "message"), item.get("role")
    if kind == "function_call":
        return {"role": "assistant", "content": None, "tool_calls": [_tool_call(item)]}
    if kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else "".join(_texts(output))
        return {"role": "tool", "tool_call_id": item.get("call_id") or "", "content": text}
    if kind != "message" or not isinstance(role, str):
        return None  # reasoning and hosted tools' own items say nothing that a chat message could hold
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    if isinstance(content, str) or all(isinstance(part, dict) and "text" in part for part in parts):
        return {"role": role, "content": content if isinstance(content, str) else "".join(_texts(parts))}
    return {"role": role, "content": [_part(part) for part in parts if isinstance(part, dict)]}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url") or ""}}
    return part


def _texts(content: Any) -> list[str]:
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _tool_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name") or "", "arguments": item.get("arguments") or ""}
    return {"id": item.get("call_id") or "", "type": "function", "function": function}


def _logprobs(items: list[dict[str, Any]]) -> list[Any]:
    parts = [part for item in items if isinstance(item.get("content"), list) for part in item["content"]]
    logprobs = [part["logprobs"] for part in parts if isinstance(part, dict) and isinstance(part.get("logprobs"), list)]
    return [entry for entries in logprobs for entry in entries]


def _usage(usage: Any) -> dict[str, Any]:
    if not isinstance(usage, dict) or not isinstance(usage.get("input_tokens"), int):
        return {}
    prompt, completion = usage["input_tokens"], usage.get("output_tokens")
    completion = completion if isinstance(completion, int) else 0
    whole: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    for ours, theirs in (
        ("prompt_tokens_details", "input_tokens_details"),
        ("completion_tokens_details", "output_tokens_details"),
    ):
        if isinstance(usage.get(theirs), dict):
            whole[ours] = usage[theirs]
    return whole
