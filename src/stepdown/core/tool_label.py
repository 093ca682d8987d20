"""A label that is the only argument of the only tool: where it sits, read and written. Its path is "tool(argument)"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stepdown.core.answer_path import load_json
from stepdown.core.calls import Call
from stepdown.core.extraction.answers import split
from stepdown.core.extraction.form import ARGUMENTS, CALLS, TOOL, Form
from stepdown.core.extraction.messages import functions_in, is_confidence, object_in, raw_answer, tool_calls_in
from stepdown.core.extraction.stated import form_of, form_of_tools
from stepdown.core.extraction.wire_text import as_text

LEAST_CALLED = 0.99
"""The share of answers that must call the tool: a reply in words is no label."""
_PATH = re.compile(r"([A-Za-z0-9_-]+)\((.+)\)")


class Spot(NamedTuple):
    """The tool that is called, and its argument."""

    tool: str
    argument: str

    @property
    def path(self) -> str:
        """As `answer` in stepdown.toml has it."""
        return f"{self.tool}({self.argument})"


def spot_of(path: str) -> Spot | None:
    """Where in a call of a tool a path points; None for a path into a text."""
    found = _PATH.fullmatch(path)
    return Spot(found[1], found[2]) if found else None


def locate(calls: Sequence[Call]) -> Spot | None:
    """Where the label sits, where nearly all answers call one tool that has one argument, out of a closed set.

    The set is the enum that requests state; where none states any tool, the values that answers have.
    """
    answered = [call for call in calls if call.message is not None]
    if not answered or not any(map(tool_calls_in, answered)):
        return None
    form = form_of((call.request for call in answered), True)
    spot = _stated(form) if form is not None and form.tools else _shown(answered)
    if spot is None or sum(read(call, spot) is not None for call in answered) < LEAST_CALLED * len(answered):
        return None
    return spot


def _stated(form: Form) -> Spot | None:
    fields = [field for field in form.fields if field.name != TOOL and "number" not in field.types]
    if len(form.tools) != 1 or form.refused or len(fields) != 1:
        return None
    (field,), path = fields, split(fields[0].name)
    closed = len(field.choices) > 1 or field.types == ("boolean",)
    return Spot(form.tools[0], path[1]) if closed and not field.many and len(path) == 2 else None


def _shown(answered: Sequence[Call]) -> Spot | None:
    read = [raw for call in answered if (raw := raw_answer(call, True)) is not None]
    names = {raw.get(TOOL) for raw in read}
    keys = {key for raw in read for key, value in raw.get(ARGUMENTS, {}).items() if not is_confidence(key, value)}
    if len(names) != 1 or len(keys) != 1 or CALLS in {key for raw in read for key in raw}:
        return None
    spot = Spot(str(names.pop()), keys.pop())
    values = Counter(str(raw[ARGUMENTS].get(spot.argument)) for raw in read)
    return spot if len(values) * 2 <= max(4, len(read)) and _PATH.fullmatch(spot.path) else None


def read(call: Call, spot: Spot) -> Any:
    """The argument in a response that calls the tool once and nothing else; None in any other."""
    raw = raw_answer(call, True) or {}
    return raw.get(ARGUMENTS, {}).get(spot.argument) if raw.get(TOOL) == spot.tool else None


def read_gold(value: Any, spot: Spot) -> Any:
    """The label in gold that is the whole call, its arguments, or the label alone."""
    if isinstance(value, dict) and isinstance(value.get(ARGUMENTS), str):
        value = {**value, ARGUMENTS: object_in(value[ARGUMENTS])}
    if isinstance(value, dict) and isinstance(value.get(ARGUMENTS), dict):
        value = value[ARGUMENTS]
    return value.get(spot.argument, value) if isinstance(value, dict) else value


def listed(request: Mapping[str, Any], spot: Spot) -> tuple[Any, ...]:
    """The labels that the request's own tools allow; () where they state none."""
    tools = request.get("tools") or request.get("functions")
    fields = form_of_tools(tools).fields if tools else ()
    return next((field.choices for field in fields if split(field.name) == (ARGUMENTS, spot.argument)), ())


def write(spot: Spot, value: str, sure: Mapping[str, float], like: Mapping[str, Any]) -> dict[str, Any]:
    """The incumbent's message with the label in its place. sure: what stands in fields that say how sure it is."""
    message = {**like, "role": "assistant"}
    if isinstance(message.get("function_call"), dict):
        return {**message, "function_call": _written(message["function_call"], spot, value, sure)}
    calls = [{**each, "function": _written(each["function"], spot, value, sure)} for each in message["tool_calls"][:1]]
    return {**message, "tool_calls": calls}


def _written(function: Mapping[str, Any], spot: Spot, value: str, sure: Mapping[str, float]) -> dict[str, Any]:
    text = str(function.get("arguments") or "{}")
    arguments = load_json(text)
    old = arguments.get(spot.argument)
    arguments[spot.argument] = _typed(value, old)
    for name, share in sure.items():
        if name != spot.argument and is_confidence(name, arguments.get(name)):
            arguments[name] = share
    return {**function, "arguments": as_text(arguments, text)}


def _typed(label: str, like: Any) -> Any:
    """The label in the type that the incumbent gives it."""
    if isinstance(like, bool):
        return label == "true"
    return int(label) if isinstance(like, int) and re.fullmatch(r"-?\d{1,15}", label) else label


def pattern(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first message that calls a tool, with the text beside it where all have the same."""
    first = next(message for message in messages if functions_in(message))
    kept = {name: first[name] for name in ("content", "tool_calls", "function_call") if name in first}
    contents = [message.get("content") for message in messages]
    if any(content != contents[0] for content in contents):
        kept["content"] = None
    return {"role": "assistant", **kept}
