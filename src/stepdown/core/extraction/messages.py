"""The answer in the incumbent's message: a JSON object in its text, or its tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepdown.core.answer_path import load_json, read_path
from stepdown.core.calls import Call
from stepdown.core.extraction.answers import is_sure
from stepdown.core.extraction.form import ARGUMENTS, CALLS, TOOL


def is_confidence(key: str, value: Any) -> bool:
    """Whether a field is a confidence: named so, and a number from 0 to 1, or a percentage.

    A score above 1 is none: it may be a game's or a review's.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_sure(key) and number and 0 <= value <= (1 if key.lower() == "score" else 100)


def confidence_like(old: float, confidence: float) -> float:
    """A confidence in the unit of `old`: a share, or a percentage where that is above 1."""
    return round(confidence, 4) if old <= 1 else round(100 * confidence, 2)


def tool_calls_in(call: Call) -> list[Any]:
    """The tool calls of a response, in the newer or the older form; [] where it has none."""
    message = call.message or {}
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return calls
    older = message.get("function_call")
    return [{"function": older}] if isinstance(older, dict) else []


def raw_answer(call: Call, tools: bool, path: str = "$") -> dict[str, Any] | None:
    """The answer with its nulls and empty values, or None where it cannot be read.

    tools: a reply in words is an answer that calls none, {}. path: where the object sits in a JSON text.
    """
    called = tool_calls_in(call)
    if called:
        read = [_read_call(each) for each in called] if tools else [None]
        if None in read:
            return None
        return read[0] if len(read) == 1 else {CALLS: read}
    content = call.content
    if not content:
        return None
    if tools:
        return {}
    try:
        value = load_json(content) if path == "$" else read_path(content, path)
    except (ValueError, KeyError):
        return None
    return value if isinstance(value, dict) else None


def _read_call(call: Any) -> dict[str, Any] | None:
    """One call, {"tool", "arguments"}. Arguments are a JSON text on the wire; "" is what some send for none."""
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name or not isinstance(function, dict):
        return None
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = load_json(arguments)
        except ValueError:
            return None
    return {TOOL: name, ARGUMENTS: arguments} if isinstance(arguments, dict) else None


def functions_in(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The functions that a message calls, each with name and arguments."""
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions.append(message.get("function_call"))
    return [function for function in functions if isinstance(function, dict) and isinstance(function.get("name"), str)]


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None where it is none."""
    try:
        value = load_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
