"""Chat.completions requests and responses as Anthropic Messages requests and messages.

Sources: docs.anthropic.com/en/api/messages (turns, tool results first in their turn, tool choice, output_config) and
platform.openai.com/docs/api-reference/chat/create.

What an Anthropic model cannot be asked for, and would change the answer's shape, is refused with the field's name: n
above 1, logprobs, response_format json_object, custom tools, `functions`, audio, hosted web search, moderation. A JSON
schema becomes `output_config.format`; no instruction is ever invented. Hints without a counterpart (seed, the
penalties, logit_bias, store, metadata, service_tier, prompt_cache_*, verbosity, prediction) are left out.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.wires import openai_chat
from stepdown.wires.accounts import messages_usage, stop_reason
from stepdown.wires.loose import mapping, mappings, text
from stepdown.wires.messages_content import blocks_of

DEFAULT_MAX_TOKENS = 4096
_SAME = ("model", "top_p", "top_k", "stream", "thinking")
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_REFUSED = ("functions", "function_call", "audio", "web_search_options", "logprobs", "top_logprobs", "moderation")


def from_chat(request: dict[str, Any]) -> dict[str, Any]:
    """A Messages request that asks what a chat request asks. Temperatures above 1, this wire's highest, become 1.

    `max_tokens` is 4,096 where the request names no bound, because this wire needs one. Raises ValueError, naming the
    field, for what has no counterpart and cannot be left out without changing the answer's shape.
    """
    openai_chat.request(request)
    _refuse(request)
    out = {key: request[key] for key in _SAME if request.get(key) is not None}
    bound = request.get("max_completion_tokens") or request.get("max_tokens")
    out["max_tokens"] = bound or DEFAULT_MAX_TOKENS
    system, out["messages"] = _turns(request["messages"])
    if system:
        out["system"] = system[0]["text"] if len(system) == 1 and len(system[0]) == 2 else system
    if (temperature := request.get("temperature")) is not None:
        out["temperature"] = min(temperature, 1) if isinstance(temperature, int | float) else temperature
    if stop := request.get("stop"):
        out["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if user := request.get("user") or request.get("safety_identifier"):
        out["metadata"] = {"user_id": user}
    if config := _output_config(request):
        out["output_config"] = config
    return out | _tools(request)


def _refuse(request: dict[str, Any]) -> None:
    wanted = [name for name in _REFUSED if request.get(name)]
    if (request.get("n") or 1) != 1:
        wanted.append("n")
    if (request.get("modalities") or ["text"]) != ["text"]:
        wanted.append("modalities")
    if wanted:
        raise ValueError(f"{', '.join(wanted)}: an Anthropic model cannot be asked for this; leave it out")


def _output_config(request: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    shape = mapping(request.get("response_format"))
    kind = shape.get("type")
    if kind not in (None, "text"):
        schema = mapping(shape.get("json_schema")).get("schema")
        if kind != "json_schema" or not isinstance(schema, dict):
            raise ValueError(f"response_format: an Anthropic model takes a json_schema with its schema, not {kind!r}")
        config["format"] = {"type": "json_schema", "schema": schema}
    if text(request.get("reasoning_effort")) in _EFFORTS:
        config["effort"] = request["reasoning_effort"]
    return config


def _tools(request: dict[str, Any]) -> dict[str, Any]:
    """The tools and how to choose among them; a choice without tools is an error on this wire and is left out."""
    given = _list(request.get("tools"), "tools")
    if not given:
        return {}
    tools = [_tool(tool, number) for number, tool in enumerate(given)]
    choice = _tool_choice(request.get("tool_choice"))
    if request.get("parallel_tool_calls") is False and choice.get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": tools, **({"tool_choice": choice} if choice else {})}


def _tool(tool: Any, number: int) -> dict[str, Any]:
    function = mapping(tool).get("function") if mapping(tool).get("type", "function") == "function" else None
    if not isinstance(function, dict):
        raise ValueError(f"tools[{number}]: an Anthropic model takes tools of type function only")
    out = {"name": function.get("name") or ""}
    if function.get("description"):
        out["description"] = function["description"]
    out["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    return {**out, "strict": True} if function.get("strict") is True else out


def _tool_choice(choice: Any) -> dict[str, Any]:
    """The choice on this wire, empty where none was made. Raises ValueError for one among some of the tools."""
    if isinstance(choice, dict):
        function = choice.get("function")
        if choice.get("type") != "function" or not isinstance(function, dict):
            raise ValueError(f"tool_choice: {choice.get('type')!r} has no counterpart on the Anthropic wire")
        return {"type": "tool", "name": function.get("name") or ""}
    kind = {"auto": "auto", "required": "any", "none": "none"}.get(text(choice))
    return {"type": kind} if kind else {}


def _list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{where}: this is a list, not {type(value).__name__}")
    return value or []


def _turns(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """System blocks, and turns that alternate: neighbours of one role become one turn, its tool results first."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role, blocks = _blocks(message, where)
        if role == "system":
            system.extend(blocks)
        elif turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks or role == "user":
            turns.append({"role": role, "content": blocks})
    return system, [_tidied(turn) for turn in turns]


def _blocks(message: dict[str, Any], where: str) -> tuple[str, list[dict[str, Any]]]:
    role = message.get("role")
    blocks = blocks_of(message.get("content"), f"{where}.content")
    if role in ("system", "developer"):
        return "system", blocks
    if role == "user":
        return "user", blocks
    if role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id") or ""}
        return "user", [{**result, "content": blocks} if blocks else result]
    if role == "assistant":
        if text(message.get("refusal")):
            blocks.append({"type": "text", "text": message["refusal"]})
        calls = _list(message.get("tool_calls"), f"{where}.tool_calls")
        return role, [*blocks, *(_call(call, f"{where}.tool_calls[{at}]") for at, call in enumerate(calls))]
    raise ValueError(f"{where}.role: {role!r} has no counterpart on the Anthropic wire")


def _call(call: Any, where: str) -> dict[str, Any]:
    function = mapping(call).get("function")
    if not isinstance(function, dict):
        raise ValueError(f"{where}: a tool call needs a function")
    try:
        given = input_of(function.get("arguments"))
    except ValueError as problem:
        raise ValueError(f"{where}.function.arguments: {problem}") from None
    return {"type": "tool_use", "id": call.get("id") or "", "name": function.get("name") or "", "input": given}


def _tidied(turn: dict[str, Any]) -> dict[str, Any]:
    blocks = sorted(turn["content"], key=lambda block: bool(block["type"] != "tool_result"))
    only = blocks[0] if len(blocks) == 1 else {}
    if not blocks or (only.get("type") == "text" and len(only) == 2):
        return {"role": turn["role"], "content": only.get("text", "")}
    return {"role": turn["role"], "content": blocks}


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
    texts = [piece for key in ("content", "refusal") if (piece := text(message.get(key)))]
    identity = text(completion.get("id"))
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": text(completion.get("model")),
        "content": [
            *({"type": "text", "text": piece} for piece in texts),
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
