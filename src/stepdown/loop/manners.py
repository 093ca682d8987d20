"""How the incumbent answers a task, from its recorded calls, so that a student can answer in its shape."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from stepdown.core.answer_path import load_json, parse_path
from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.family import families
from stepdown.core.record import BuildRecord
from stepdown.core.tasks import Task
from stepdown.gateway.departures import tokens_allowed
from stepdown.gateway.routing import answer_shape
from stepdown.gateway.served import Manners

_OURS = frozenset({"confidence", "score", "probability", "certainty"})
"""Fields that a student fills in itself."""


def manners_of(task: Task, calls: Iterable[Call], record: BuildRecord) -> Manners | None:
    """How the incumbent answers, from recorded calls; None where none of them can be read."""
    family = families().load(task.family)
    by_answer: dict[str, list[str]] = defaultdict(list)
    model, models, shapes, limits = "", set(), set(), set()
    prompt = completion = prompt_characters = completion_characters = 0
    for call in calls:
        answer = None if call.rung else family.read_answer(task, call)
        if answer is None or call.content is None:
            continue
        by_answer[str(answer)].append(call.content)
        model = call.model
        models |= {call.model, str(call.request.get("model") or "")}
        shapes.add(answer_shape(call.request))
        limits.add(tokens_allowed(call.request) or 0)
        if call.prompt_tokens and call.completion_tokens and call.content:
            prompt, completion = prompt + call.prompt_tokens, completion + call.completion_tokens
            completion_characters += len(call.content)
            prompt_characters += sum(len(str(message.get("content") or "")) for message in call.request["messages"])
    if not by_answer:
        return None
    likes = _likes(task.answer, by_answer)
    cost = record.incumbent.cost_per_1k
    return Manners(
        like=_blanked([content for contents in by_answer.values() for content in contents], task.answer),
        likes=likes,
        model=model,
        models=frozenset(models),
        prompt_tokens_per_character=prompt / prompt_characters if prompt_characters else 0.25,
        completion_tokens_per_character=completion / completion_characters if completion_characters else 0.25,
        cost_usd=cost.value / 1000.0 if cost else 0.0,
        shapes=frozenset(shapes),
        least_limit=min(limits - {0}, default=0),
    )


def _likes(path: str, by_answer: Mapping[str, list[str]]) -> dict[str, str]:
    """For each answer seen several times, one of its contents; empty where contents hold nothing but the answer."""
    if not parse_path(path):
        return {}
    return {answer: _blanked(contents, path) for answer, contents in by_answer.items() if len(contents) > 1}


def _blanked(contents: list[str], path: str) -> str:
    """The first content, without what differs between them besides the answer: an explanation or a number that belongs
    to another request would be a wrong one. Texts become empty, all else null."""
    first = contents[0]
    keys = parse_path(path)
    if not keys:
        return first
    whole: dict[str, Any] = load_json(first)
    seen: dict[str, set[bytes]] = defaultdict(set)
    for content in contents:
        for name, value in load_json(content).items():
            seen[name].add(canonical_json(value))
    differing = [name for name in whole if len(seen[name]) > 1 and name != keys[0] and name not in _OURS]
    if not differing:
        return first
    whole |= {name: "" if isinstance(whole[name], str) else None for name in differing}
    compact = ": " not in first
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":") if compact else (", ", ": "))
