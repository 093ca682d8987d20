"""Where a request asks for another answer than the recorded ones were: a student's would be a wrong one, and a key that
is for the task alone does not open it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.tasks import SlotValues, Task, input_text
from stepdown.gateway.served import Recorded, ResponseTemplate, ServedTask
from stepdown.gateway.shape import TEXT, answer_shape, choice_of_tools, fits_choice
from stepdown.runtime.cascade import MOST_CHARACTERS

_LEAST_CHARACTERS, _LEAST_TOKENS = 2_000, 4_096
_TIMES = 4
"""A key for one task may send inputs so many times as long as the longest recorded, or of the least, or fewer."""
_COMMON = re.compile(
    "model|messages|system|stream|stream_options|temperature|top_[pk]|seed|stop|stop_sequences|max_tokens"
    "|max_completion_tokens|n|presence_penalty|frequency_penalty|logit_bias|logprobs|top_logprobs|tools|tool_choice"
    "|functions|function_call|parallel_tool_calls|response_format|modalities|user|metadata|safety_identifier|store"
    "|prompt_cache_key"
).fullmatch
"""Fields that ask for no other service than a chat completion is, or that are compared on their own."""

_encode = msgspec.json.Encoder(order="sorted").encode


def incompatibility(chat: dict[str, Any], completion: dict[str, Any], template: ResponseTemplate) -> str:
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
    if limit is not None and limit < tokens and not 0 < template.least_limit <= limit:
        return "max_tokens"
    stops = chat.get("stop")
    for stop in [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else ():
        if isinstance(stop, str) and stop and any(stop in each for each in said):
            return "stop"
    return ""


def recorded_in(task: Task, calls: Iterable[Call]) -> Recorded:
    """What recorded requests of a task asked for."""
    models: set[str] = set()
    shapes, fields, limits, said = set(), set(), set(), [0]
    longest, most_choices = 0, 1
    for call in calls:
        request = call.request
        value = task.template.cut(request) if task.template is not None else None
        if value is None:
            continue
        longest = max(longest, len(input_text(value)))
        models |= {call.model, str(request.get("model") or "")}
        shapes.add(answer_shape(request))
        fields |= {(name, _encode(each)) for name, each in request.items() if not _COMMON(name)}
        limits.add(tokens_allowed(request))
        said.append(call.completion_tokens or 0)
        most_choices = max(most_choices, _choices(request))
    says_most = bool(limits) and None not in limits
    most = max((limit for limit in limits if limit is not None), default=0) or 3 * max(said)
    return Recorded(
        frozenset(models - {""}), frozenset(shapes), frozenset(fields), longest, most, says_most, most_choices
    )


def what_differs(
    body: dict[str, Any], chat: dict[str, Any], value: SlotValues | None, task: ServedTask, models: tuple[str, ...]
) -> str:
    """What in a request is not as the task's recorded requests have it, in words; "" for nothing. body: as the client
    sent it. models: that may be asked for although no recorded request does."""
    recorded, named = task.recorded, str(chat.get("model") or "")
    if value is None:
        return "its prompt: it does not fit the task's template"
    if not named or named not in {*recorded.models, task.task.match.model, task.incumbent, *models}:
        return f"the model {named[:100]!r}"
    if answer_shape(chat) not in (recorded.shapes or {TEXT}):
        return "its tools, response format or modalities"
    longest = max(_TIMES * recorded.longest, _LEAST_CHARACTERS) if recorded.longest else MOST_CHARACTERS
    if len(input_text(value)) > min(longest, MOST_CHARACTERS):
        return f"the length of its input: at most {min(longest, MOST_CHARACTERS):,} characters"
    allowed, most = tokens_allowed(chat), recorded.most_tokens if recorded.says_most else 0
    most = most or max(recorded.most_tokens, _LEAST_TOKENS)
    if allowed is None and recorded.says_most:
        return f"max_tokens: it must say at most {most:,}"
    if allowed is not None and not 0 < allowed <= most:
        return f"max_tokens: at most {most:,}"
    if _choices(chat) > recorded.most_choices:
        return f"n: at most {recorded.most_choices}"
    for name, each in body.items():
        if (
            each is not None
            and not _COMMON(name)
            and (name, _encode(each)) not in recorded.fields
            and not _is_format(name, each)
        ):
            return f"the field {name[:100]!r}"
    return "" if _only_texts(body) else "its messages: texts with their roles and nothing else"


def _choices(request: dict[str, Any]) -> int:
    count = request.get("n")
    return count if isinstance(count, int) else 1


def _is_format(name: str, value: Any) -> bool:
    """Whether a field holds nothing but the response format, as Anthropic's wire has it."""
    return name == "output_config" and isinstance(value, dict) and set(value) <= {"format"}


def _only_texts(body: dict[str, Any]) -> bool:
    """Whether messages hold nothing beside the texts that a template is compared with."""
    contents = [body.get("system")]
    for message in body["messages"]:
        if not set(message) <= {"role", "content"}:
            return False
        contents.append(message.get("content"))
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return all(isinstance(part, dict) and set(part) <= {"type", "text", "cache_control"} for part in parts)


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
