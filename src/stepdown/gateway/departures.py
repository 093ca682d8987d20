"""Where a request asks for another answer than the recorded ones were, so that a student's would be a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepdown.gateway.served import Manners
from stepdown.gateway.shape import choice_of_tools, fits_choice


def why_not_as_asked(chat: dict[str, Any], completion: dict[str, Any], manners: Manners) -> str:
    """Why an answer is not what was asked for: there is nothing in it, the tool is another, or a limit in the request
    would have ended the incumbent's early; "" where it is.

    A number of tokens that recorded requests allowed too is known to be enough.
    """
    message = completion["choices"][0]["message"]
    said = list(said_texts(message))
    if not any(said):
        return "reply in words"
    if not fits_choice(choice_of_tools(chat), [name for name, _ in _called(message)]):
        return "tool_choice"
    tokens = completion["usage"]["completion_tokens"] // len(completion["choices"])
    limit = tokens_allowed(chat)
    if limit is not None and limit < tokens and not 0 < manners.least_limit <= limit:
        return "max_tokens"
    stops = chat.get("stop")
    for stop in [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else ():
        if isinstance(stop, str) and stop and any(stop in each for each in said):
            return "stop"
    return ""


def tokens_allowed(chat: dict[str, Any]) -> int | None:
    """How long an answer a request allows; None where it says nothing."""
    limits = [chat.get("max_completion_tokens"), chat.get("max_tokens")]
    said = [limit for limit in limits if isinstance(limit, int) and not isinstance(limit, bool)]
    return min(said, default=None)


def said_texts(message: dict[str, Any]) -> Iterator[str]:
    """What a message says: its text, and the names and arguments of the tools that it calls."""
    if isinstance(content := message.get("content"), str):
        yield content
    for call in _called(message):
        yield from call


def said_characters(message: dict[str, Any]) -> int:
    """How much a message says."""
    return sum(map(len, said_texts(message)))


def _called(message: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and arguments of the tools that a message calls."""
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions.append(message.get("function_call"))  # the field that came before `tool_calls`
    return [
        (str(function.get("name") or ""), _text(function.get("arguments")))
        for function in functions
        if isinstance(function, dict)
    ]


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else ""
