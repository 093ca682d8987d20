"""Anthropic messages, translated to OpenAI chat.completions shape and back.

Source: the Messages API reference, docs.anthropic.com/en/api/messages (system, tools, tool_use, tool_result, usage,
stop reasons) and its streaming events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepdown.core.canonical import canonical_json
from stepdown.wires.accounts import chat_usage, finish_reason_of
from stepdown.wires.loose import mapping
from stepdown.wires.messages_content import parts_of
from stepdown.wires.messages_from_chat import from_chat, to_message
from stepdown.wires.messages_stream import stream_of
from stepdown.wires.wire_errors import messages_error as error_body

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
    "to_message",
]

NAME = "anthropic"
PATH = "/messages"
_SAME = ("model", "temperature", "top_p", "max_tokens", "stream")
_REFUSED = ("mcp_servers", "container")


def request(body: dict[str, Any]) -> dict[str, Any]:
    """A Messages request in chat shape, as it is recorded. Raises ValueError when it has no list of messages."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("the request has no list of messages")
    out: dict[str, Any] = {key: body[key] for key in _SAME if key in body}
    system = _text_of(body.get("system"))
    out["messages"] = [{"role": "system", "content": system}] if system else []
    for message in messages:
        out["messages"].extend(_messages(message))
    if isinstance(body.get("tools"), list):
        out["tools"] = [_tool(tool) for tool in body["tools"] if isinstance(tool, dict)]
    if isinstance(body.get("tool_choice"), dict):
        out["tool_choice"] = _tool_choice(body["tool_choice"])
    if isinstance(body.get("stop_sequences"), list):
        out["stop"] = body["stop_sequences"]
    shape = mapping(body.get("output_config")).get("format")
    if isinstance(shape, dict):
        inner = {"name": "answer", "schema": shape.get("schema") or {}, "strict": True}
        out["response_format"] = {"type": "json_schema", "json_schema": inner}
    return out


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """A chat request that asks a live upstream what a Messages request asks; a stream is asked for with its usage.

    Left out, having no counterpart: thinking, top_k, cache_control, and whether a tool's result was an error.
    Raises ValueError, naming the field, for what would change the answer: tools that Anthropic hosts, MCP servers,
    containers, blocks that are neither text, image, PDF nor tool use.
    """
    _refuse(body)
    out = request(body)
    for message in out["messages"]:
        message["content"] = parts_of(message.get("content"))
    if out.get("stream"):
        out["stream_options"] = {"include_usage": True}
    choice, metadata, config = (mapping(body.get(key)) for key in ("tool_choice", "metadata", "output_config"))
    if choice.get("disable_parallel_tool_use"):
        out["parallel_tool_calls"] = False
    if metadata.get("user_id"):
        out["user"] = metadata["user_id"]
    if config.get("effort"):
        out["reasoning_effort"] = config["effort"]
    return out


def from_completion(completion: dict[str, Any], created: int = 0) -> dict[str, Any]:
    """A chat completion as a message of this wire, which says no time. Raises ValueError as `to_message` does."""
    del created
    return to_message(completion)


def response(body: dict[str, Any]) -> dict[str, Any]:
    """A Messages response in chat shape. Raises ValueError when it has no list of content blocks."""
    blocks = body.get("content")
    if not isinstance(blocks, list):
        raise ValueError("the response has no list of content blocks")
    message: dict[str, Any] = {"role": "assistant", **_spoken(blocks)}
    return {
        "id": body.get("id") or "",
        "object": "chat.completion",
        "model": body.get("model") or "",
        "choices": [{"index": 0, "finish_reason": finish_reason_of(body.get("stop_reason")), "message": message}],
        "usage": chat_usage(body.get("usage")),
    }


def joined(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The Messages response, not yet in chat shape, that a stream amounts to. ValueError when it never begins."""
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, index = event.get("type"), event.get("index")
        if kind == "error":
            return {"error": event.get("error")}
        if kind == "message_start" and isinstance(event.get("message"), dict):
            whole = dict(event["message"])
        elif kind == "content_block_start" and isinstance(index, int) and isinstance(event.get("content_block"), dict):
            blocks[index] = dict(event["content_block"])
        elif kind == "content_block_delta" and index in blocks and isinstance(event.get("delta"), dict):
            _add_delta(blocks[index], event["delta"])
        elif kind == "message_delta":
            whole |= {key: value for key, value in (event.get("delta") or {}).items() if value is not None}
            usage = {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
            whole["usage"] = {**(whole.get("usage") or {}), **usage}
    if not whole:
        raise ValueError("the stream has no message_start event")
    return {**whole, "content": [blocks[index] for index in sorted(blocks)]}


def _add_delta(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for key in ("text", "thinking"):
        if isinstance(delta.get(key), str):
            block[key] = str(block.get(key) or "") + delta[key]
    if isinstance(delta.get("partial_json"), str):
        so_far = block.get("input")
        block["input"] = (so_far if isinstance(so_far, str) else "") + delta["partial_json"]


def _refuse(body: dict[str, Any]) -> None:
    for name in _REFUSED:
        if body.get(name):
            raise ValueError(f"{name}: has no counterpart on the chat wire; leave it out")
    tools = body.get("tools")
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if mapping(tool).get("type") not in (None, "custom"):
            raise ValueError(f"tools[{number}]: {tool['type']!r} is hosted by Anthropic and has no chat counterpart")


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
    return "\n".join(part for part in parts if isinstance(part, str))


def _messages(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The chat messages of one Anthropic message: tool results become messages of their own."""
    role, content = message.get("role"), message.get("content")
    if isinstance(content, str) or not isinstance(content, list):
        return [{"role": role, "content": content if isinstance(content, str) else ""}]
    blocks = [block for block in content if isinstance(block, dict)]
    if role == "assistant":
        return [{"role": role, **_spoken(blocks)}]
    results = [_tool_result(block) for block in blocks if block.get("type") == "tool_result"]
    # A chat tool message holds text alone, so a result's images follow as the user's.
    shown = [part for block in blocks if block.get("type") == "tool_result" for part in _images(block.get("content"))]
    others = shown + [_part(block) for block in blocks if block.get("type") != "tool_result"]
    if all(part["type"] == "text" for part in others):
        text = "\n".join(part["text"] for part in others)
        return results + ([{"role": role, "content": text}] if others or not results else [])
    return [*results, {"role": role, "content": others}]


def _spoken(blocks: list[Any]) -> dict[str, Any]:
    """Content and tool calls of an assistant's blocks. Text of one answer comes in pieces that belong together."""
    own_blocks = [block for block in blocks if isinstance(block, dict)]
    texts = [
        block["text"] for block in own_blocks if block.get("type") == "text" and isinstance(block.get("text"), str)
    ]
    calls = [
        {
            "id": block.get("id") or "",
            "type": "function",
            "function": {"name": block.get("name") or "", "arguments": _arguments(block.get("input"))},
        }
        for block in own_blocks
        if block.get("type") == "tool_use"
    ]
    return {"content": "".join(texts) if texts else None, **({"tool_calls": calls} if calls else {})}


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) and value else canonical_json(value or {}).decode()


def _tool_result(block: dict[str, Any]) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": block.get("tool_use_id") or "", "content": _text_of(block.get("content"))}


def _images(content: Any) -> list[dict[str, Any]]:
    parts = content if isinstance(content, list) else []
    return [_part(part) for part in parts if isinstance(part, dict) and part.get("type") == "image"]


def _part(block: dict[str, Any]) -> dict[str, Any]:
    if block.get("type") == "text":
        return {"type": "text", "text": str(block.get("text") or "")}
    source = block.get("source")
    if block.get("type") == "image" and isinstance(source, dict) and (source.get("url") or source.get("data")):
        url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": str(block.get("type") or "unknown"), "block": block}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool.get("name") or "", "parameters": tool.get("input_schema") or {}}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _tool_choice(choice: dict[str, Any]) -> Any:
    kind = choice.get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name") or ""}}
    return {"any": "required", "none": "none"}.get(str(kind), "auto")
