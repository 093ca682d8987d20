"""classify: one label out of a closed set, which may have one for "none of these" (out of scope)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stepdown.core.answer_path import load_json, read_path, write_path
from stepdown.core.calls import Call
from stepdown.core.tasks import Task

PRIMARY_LOSS = "error"
MAX_LABEL_CHARACTERS = 200
_DECISION_WORDS = ("category", "label", "intent", "class", "decision", "verdict", "answer", "topic", "sentiment")
_CONFIDENCE_FIELDS = ("confidence", "score", "probability", "certainty")


def fits(contents: Sequence[str | None]) -> float:
    """Near 1 when few distinct short values cover the answers, near 0 when nearly every answer is new."""
    values = _values(contents, locate(contents))
    if not values:
        return 0.0
    distinct = len(set(values))
    repeated = sum(count for count in Counter(values).values() if count > 1) / len(values)
    short = sum(len(value) <= MAX_LABEL_CHARACTERS for value in values) / len(values)
    parsed = len(values) / max(1, len(contents))
    return 0.0 if distinct > max(20, len(values) / 2) else repeated * short * parsed


def locate(contents: Sequence[str | None]) -> str:
    """The top-level field that looks like the decision; "$" for plain text.

    Named as decisions are (category, label, intent …) before others, a closed set before open text, texts and booleans
    before whole numbers, then the fewest distinct values.
    """
    objects = []
    for content in contents:
        try:
            value = load_json(content) if content else None
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
    if len(objects) * 2 < sum(content is not None for content in contents) or not objects:
        return "$"
    seen: dict[str, list[Any]] = {}
    for value in objects:
        for key, field in value.items():
            if isinstance(field, str | bool | int) and "." not in key and key.lower() not in _CONFIDENCE_FIELDS:
                seen.setdefault(key, []).append(field)
    common = {key: fields for key, fields in seen.items() if len(fields) * 2 >= len(objects)}
    if not common:
        return "$"
    # A constant field decides nothing, and one that is nearly always new (a reason, a quotation) is no label.
    deciding = {key: fields for key, fields in common.items() if len(set(fields)) > 1} or common
    closed = {key: fields for key, fields in deciding.items() if len(set(fields)) * 2 <= max(4, len(fields))}
    fields = closed or deciding
    return "$." + min(fields, key=lambda key: (*_rank(key, fields[key]), -len(fields[key])))


def _rank(key: str, fields: Sequence[Any]) -> tuple[int, int, int]:
    """How likely a field is the decision, lowest first: by its name, then texts before numbers, then fewest values."""
    named = any(word in key.lower() for word in _DECISION_WORDS)
    plain = sum(isinstance(field, str | bool) for field in fields) * 2 >= len(fields)
    return int(not named), int(not plain), len(set(fields))


def read_answer(task: Task, call: Call) -> str | None:
    """The label in a call's response; None for tool calls, errors, unparsable or off-schema answers."""
    content = call.content
    if content is None:
        return None
    try:
        value = read_path(content, task.answer)
    except (ValueError, KeyError):
        return None
    return canonical(task, value)


def canonical(task: Task, value: Any) -> str | None:
    """A label as text without surrounding space; None when it is empty, too long or not a scalar."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str):
        return None
    label = value.strip()
    return label if 0 < len(label) <= MAX_LABEL_CHARACTERS else None


def write_answer(task: Task, answer: str, confidence: float, like: str) -> str:
    """The incumbent's JSON with the label in its place and, where it states one, our calibrated confidence."""
    extra: dict[str, Any] = {name: round(confidence, 4) for name in _CONFIDENCE_FIELDS}
    value: Any = answer
    if task.answer != "$" and isinstance(read_path(like, task.answer), bool):
        value = answer == "true"
    return write_path(like, task.answer, value, extra)


def loss(answer: str | None, reference: str) -> float:
    """0/1 loss."""
    return float(answer != reference)


def slice_of(answer: str) -> str:
    return answer


def _values(contents: Sequence[str | None], path: str) -> list[str]:
    values = []
    for content in contents:
        try:
            value = read_path(content, path) if content else None
        except (ValueError, KeyError):
            continue
        if isinstance(value, str | bool | int | float):
            values.append(str(value).strip())
    return values
