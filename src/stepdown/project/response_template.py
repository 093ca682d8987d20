"""How the incumbent answers a task, from its recorded calls, so that a student can answer in its shape."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import TamperedError
from stepdown.core.family import families
from stepdown.core.record import BuildRecord
from stepdown.core.store import Store
from stepdown.core.tasks import Task
from stepdown.gateway.envelope import learn
from stepdown.gateway.request_compatibility import said_characters, tokens_allowed
from stepdown.gateway.served import ResponseTemplate
from stepdown.gateway.shape import answer_shape, choice_of_tools
from stepdown.project.discovery import calls_of

SAMPLE = 300
"""How many of a task's calls, the oldest, its template are read from."""


def freeze(task: Task, store: Store, record: BuildRecord) -> bytes:
    """How the incumbent answers, as a file of the build: what is served follows from it, and no more from calls that
    may be forgotten or changed. JSON; null where no recorded answer can be read."""
    return canonical_json(template_from_calls(task, store, record)) + b"\n"


def thaw(data: bytes) -> ResponseTemplate | None:
    """What `freeze` wrote. Raises TamperedError."""
    try:
        return msgspec.json.decode(data, type=ResponseTemplate | None)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TamperedError(f"The response template cannot be read ({error}).", "", "Build the task again.") from None


def template_from_calls(task: Task, store: Store, record: BuildRecord) -> ResponseTemplate | None:
    """`template_of` the first recorded calls of a task."""
    return template_of(task, itertools.islice(calls_of(store, task), SAMPLE), record)


def template_of(task: Task, calls: Iterable[Call], record: BuildRecord) -> ResponseTemplate | None:
    """How the incumbent answers, from recorded calls; None where none of them can be read."""
    family = families().load(task.family)
    by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
    model = ""
    models, shapes, choices, limits = set(), set(), set(), set()
    responses: list[tuple[dict[str, Any], bool]] = []
    finish: dict[str, Counter[str]] = defaultdict(Counter)
    prompt = completion = prompt_characters = completion_characters = 0
    for call in calls:
        answer = None if call.rung else family.read_answer(task, call)
        if answer is None or call.message is None:
            continue
        by_key[family.like_key(task, answer)].append(call.message)
        model = call.model
        models |= {call.model, str(call.request.get("model") or "")}
        shapes.add(answer_shape(call.request))
        choices.add(choice_of_tools(call.request))
        limits.add(tokens_allowed(call.request) or 0)
        if call.response is not None and not call.is_cached:
            responses.append((call.response, call.request.get("stream") is True))
        if call.message.get("tool_calls") or call.message.get("function_call"):
            finish[choice_of_tools(call.request)][_finish_reason(call)] += 1
        if call.prompt_tokens and call.completion_tokens and said_characters(call.message):
            prompt, completion = prompt + call.prompt_tokens, completion + call.completion_tokens
            completion_characters += said_characters(call.message)
            prompt_characters += sum(len(str(message.get("content") or "")) for message in call.request["messages"])
    if not by_key:
        return None
    cost = record.incumbent.cost_per_1k
    return ResponseTemplate(
        like=family.like(task, [message for messages in by_key.values() for message in messages]),
        likes={key: family.like(task, messages) for key, messages in by_key.items() if key and len(messages) > 1},
        model=model,
        models=frozenset(models),
        prompt_tokens_per_character=prompt / prompt_characters if prompt_characters else 0.25,
        completion_tokens_per_character=completion / completion_characters if completion_characters else 0.25,
        cost_usd=cost.value / 1000.0 if cost else 0.0,
        shapes=frozenset(shapes),
        choices=frozenset(choices),
        least_limit=min(limits - {0}, default=0),
        envelope=learn(responses),
        finish={choice: said for choice, counts in finish.items() if (said := counts.most_common(1)[0][0])},
    )


def _finish_reason(call: Call) -> str:
    choices = (call.response or {}).get("choices") or [{}]
    return str(choices[0].get("finish_reason") or "")
