"""What the incumbent's recorded token log-probabilities say about each label."""

from __future__ import annotations

import math
from typing import Any

from stepdown.core.calls import Call


def read_log_probabilities(call: Call, answer: str, labels: tuple[str, ...]) -> dict[str, float] | None:
    """Natural-log probabilities by label, or None where the call recorded none (`logprobs` of the OpenAI shape).

    They are read at the first token of the answer. An alternative token counts for a label only when exactly one label
    begins with it; what several labels share is left out, so the probabilities may sum to less than 1.
    """
    tokens = _tokens(call)
    start = _start_of(answer, call.content or "", tokens)
    if start is None:
        return None
    position, prefix = start
    known = {*labels, answer}
    found: dict[str, float] = {}
    for alternative in (tokens[position], *_alternatives(tokens[position])):
        token, value = alternative.get("token"), alternative.get("logprob")
        if not isinstance(token, str) or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        begins = token[prefix:].strip().strip('"')
        fitting = [label for label in known if begins and label.startswith(begins)]
        if token == tokens[position].get("token"):
            found[answer] = float(value)
        elif len(fitting) == 1 and fitting[0] != answer:
            found[fitting[0]] = max(float(value), found.get(fitting[0], -math.inf))
    return found or None


def _tokens(call: Call) -> list[dict[str, Any]]:
    choices = (call.response or {}).get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    recorded = choice.get("logprobs") if isinstance(choice, dict) else None
    content = recorded.get("content") if isinstance(recorded, dict) else None
    tokens = content if isinstance(content, list) else []
    return [token for token in tokens if isinstance(token, dict) and isinstance(token.get("token"), str)]


def _alternatives(token: dict[str, Any]) -> list[dict[str, Any]]:
    listed = token.get("top_logprobs")
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _start_of(answer: str, content: str, tokens: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Which token holds the answer's first character, and how many characters of that token come before it."""
    at = content.rfind(answer)
    if at < 0:
        return None
    passed = 0
    for position, token in enumerate(tokens):
        length = len(token["token"])
        if passed <= at < passed + length:
            return position, at - passed
        passed += length
    return None
