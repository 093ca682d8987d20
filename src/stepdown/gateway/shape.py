"""What kind of answer a request asks for, so that a student answers only requests that ask as the recorded ones did."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from stepdown.core.canonical import digest

FREE = "auto"
"""The choice of tools that leaves it to the model."""
_FORCED = "function:"
_LONGEST_KEPT = 64 << 10
TEXT: tuple[Any, ...] = ("text", "", ())

_encode: Callable[[Any], bytes] = msgspec.json.Encoder(order="sorted").encode


def answer_shape(chat: dict[str, Any]) -> tuple[Any, ...]:
    """Equal for requests that ask for the same kind of answer: the response format's type, name and schema, every
    tool's name, description and parameters, the modalities.

    A tool's description is part of it: it is an instruction as much as the prompt is.
    """
    shape, tools, modalities = chat.get("response_format"), chat.get("tools"), chat.get("modalities")
    if shape is None and not tools and not chat.get("functions") and modalities is None:
        return TEXT
    stated = [shape, tools, chat.get("functions"), modalities]
    encoded = _encode(stated)
    return _kept(encoded) if len(encoded) <= _LONGEST_KEPT else _shape(*stated)


@functools.lru_cache(1024)
def _kept(encoded: bytes) -> tuple[Any, ...]:
    return _shape(*msgspec.json.decode(encoded))


def _shape(shape: Any, tools: Any, functions: Any, modalities: Any) -> tuple[Any, ...]:
    inner = shape.get("json_schema") if isinstance(shape, dict) else None
    name, schema = (str(inner.get("name")), inner.get("schema")) if isinstance(inner, dict) else ("", None)
    kind = str(shape.get("type")) if isinstance(shape, dict) else "text"
    other = [str(each) for each in modalities if each != "text"] if isinstance(modalities, list) else []
    called = [*_functions(tools), *((str(each.get("name")), each) for each in _dicts(functions))]
    asked = tuple(other + [name for name, _ in called])
    if schema is None and not called:
        return kind, name, asked
    defined = [[name, one.get("description") or "", one.get("parameters")] for name, one in called]
    return kind, name, asked, digest(_encode([schema, defined]))


def _functions(tools: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and definitions of tools. One that is no function is its own definition."""
    for tool in _dicts(tools):
        function = tool.get("function")
        if isinstance(function, dict):
            yield str(function.get("name")), function
        else:
            yield "", {"parameters": tool}


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def choice_of_tools(chat: dict[str, Any]) -> str:
    """Which tool a request wants called: "auto", "none", "required", "function:NAME", or what else it says as JSON."""
    if chat.get("tools"):
        said = chat.get("tool_choice")
    elif chat.get("functions"):
        said = chat.get("function_call")
    else:
        return FREE
    if said is None or isinstance(said, str):
        return said or FREE
    function = said.get("function", said) if isinstance(said, dict) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return f"{_FORCED}{function['name']}"
    return _encode(said).decode()


def may_choose(choice: str, recorded: frozenset[str]) -> bool:
    """Whether what recorded requests chose says what the incumbent would answer to this choice.

    Where it was free, it did what a narrower choice allows or not, answer by answer (`fits_choice`).
    """
    known = choice in {FREE, "none", "required"} or choice.startswith(_FORCED)
    return choice in recorded or (known and FREE in recorded)


def fits_choice(choice: str, called: list[str]) -> bool:
    """Whether an answer that calls these tools is one that the choice allows."""
    if choice == "none":
        return not called
    if choice == "required":
        return bool(called)
    return not choice.startswith(_FORCED) or set(called) == {choice.removeprefix(_FORCED)}
