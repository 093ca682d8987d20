"""Where a decision sits in an answer: "$" is the whole text, "$.a.b" a field of a JSON answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from stepdown.core.errors import UsageError

MAX_ANSWER_CHARACTERS = 1_000_000


def parse_path(path: str) -> tuple[str, ...]:
    """The keys of a path. Raises UsageError when it is not "$" or "$.key[.key…]"."""
    keys = tuple(path.split("."))
    if keys[0] != "$" or any(not key for key in keys):
        raise UsageError(
            f"{path!r} is not an answer path.",
            'Expected "$", "$.field" or, for the argument of a tool, "tool(argument)".',
            "Correct `answer` in stepdown.toml.",
        )
    return keys[1:]


def load_json(content: str) -> Any:
    """A JSON value in an answer, with or without a Markdown fence round it. Raises ValueError when there is none."""
    text = content[:MAX_ANSWER_CHARACTERS].strip()
    if text.startswith("```"):
        text = text.split("\n", 1)[-1].rsplit("```", 1)[0]
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None


def read_path(content: str, path: str) -> Any:
    """The value at `path` in an answer. Raises ValueError when it is not JSON, KeyError when it has no such field."""
    keys = parse_path(path)
    if not keys:
        return content
    value = load_json(content)
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise KeyError(key)
        value = value[key]
    return value


def write_path(like: str, path: str, value: Any, extra: dict[str, Any] | None = None) -> str:
    """`like` with the value at `path` replaced, and those `extra` top-level fields that it has. Key order is kept."""
    keys = parse_path(path)
    if not keys:
        return str(value)
    whole = load_json(like)
    holder = whole
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    for key, replacement in (extra or {}).items():
        if key in whole and key != keys[0]:
            whole[key] = replacement
    if ": " not in like:
        return msgspec.json.encode(whole).decode()
    return json.dumps(whole, ensure_ascii=False, separators=(", ", ": "))
