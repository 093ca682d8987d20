"""classify: one label out of a closed set, which may have one for "none of these" (out of scope); as a text, a field of
JSON, or the one argument of a tool."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from stepdown.core import tool_label
from stepdown.core.answer_path import load_json, parse_path, read_path, write_path
from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import nearest
from stepdown.core.extraction.messages import confidence_like, is_confidence, tool_calls_in
from stepdown.core.extraction.traits import is_more_than_a_label
from stepdown.core.family import Shape
from stepdown.core.tasks import Task
from stepdown.core.tool_label import spot_of

MAX_LABEL_CHARACTERS = 200
SHOWN_LABELS = 5
_DECISION_WORDS = ("category", "label", "intent", "class", "decision", "verdict", "answer", "topic", "sentiment")
_LEAST_OF_SEVERAL = 0.7
"""What a label is worth where the answers say more than it: it still fits where no other family does better."""
_CONFIDENCE_FIELDS = ("confidence", "score", "probability", "certainty")


LOSS = "error"


def fits(calls: Sequence[Call]) -> float:
    """Near 1 when few distinct short values cover the answers, near 0 when nearly every answer is new. 1 where they are
    the one argument of one tool."""
    if tool_label.locate(calls) is not None:
        return 1.0
    contents = [call.content for call in calls]
    values = _values(contents, locate(contents))
    if not values:
        return 0.0
    distinct = len(set(values))
    repeated = sum(count for count in Counter(values).values() if count > 1) / len(values)
    short = sum(len(value) <= MAX_LABEL_CHARACTERS for value in values) / len(values)
    parsed = len(values) / max(1, len(contents))
    whole = _LEAST_OF_SEVERAL if is_more_than_a_label(calls) else 1.0
    return 0.0 if distinct > max(20, len(values) / 2) else repeated * short * parsed * whole


def read_shape(calls: Sequence[Call], path: str = "") -> Shape:
    """Where the label sits; it has no form."""
    if not path and (spot := tool_label.locate(calls)) is not None:
        return Shape(path=spot.path)
    return Shape(path=path or locate([call.content for call in calls]))


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
    return _read(task, call)[0]


def why_unread(task: Task, call: Call) -> str:
    """Why there is no label in a call's response, "" where there is one."""
    return _read(task, call)[1]


def _read(task: Task, call: Call) -> tuple[str | None, str]:
    message = call.message or {}
    spot = spot_of(task.answer)
    if message.get("tool_calls") and spot is None:
        return None, "tool call instead of an answer"
    if message.get("refusal"):
        return None, "refused by the incumbent"
    if spot is not None and not tool_calls_in(call):
        return None, "no tool call in the response"
    if spot is None and not call.content:
        return None, "no text in the response"
    try:
        label = _label(read_path(call.content or "", task.answer) if spot is None else tool_label.read(call, spot))
    except (ValueError, KeyError):
        label = None
    if label is None:
        return None, "answer cannot be parsed"
    listed = _listed(call.request, task.answer)
    return (None, "answer off the schema") if listed and label not in listed else (label, "")


def _listed(request: dict[str, Any], path: str) -> tuple[Any, ...]:
    """The labels that the request's own JSON schema allows; () where it has none."""
    if (spot := spot_of(path)) is not None:
        return tuple(filter(None, map(_label, tool_label.listed(request, spot))))
    node: Any = request.get("response_format")
    for key in ("json_schema", "schema", *(step for name in parse_path(path) for step in ("properties", name))):
        node = node.get(key) if isinstance(node, dict) else None
    allowed = node.get("enum") if isinstance(node, dict) else None
    return tuple(value for value in allowed if isinstance(value, str)) if isinstance(allowed, list) else ()


def canonical(task: Task, value: Any) -> str | None:
    """A gold value as a label: as it is, or out of the JSON round it; None where it is empty, too long or not one."""
    return _label(value if value in task.labels else _unwrapped(task, value))


def _unwrapped(task: Task, value: Any) -> Any:
    """What JSON text quotes, the value in it at the task's path, or the only one of its object or list; the argument of
    a tool's call. What holds more stays as it is."""
    spot = spot_of(task.answer)
    if not isinstance(value, str) or value.strip()[:1] not in {"{", "[", '"'}:
        return value if spot is None else tool_label.read_gold(value, spot)
    try:
        label = load_json(value)
    except ValueError:
        return value
    if spot is not None:
        label = tool_label.read_gold(label, spot)
    elif isinstance(label, dict) and parse_path(task.answer):
        with suppress(KeyError):
            label = read_path(value, task.answer)
    if isinstance(label, dict | list) and len(label) == 1:
        (label,) = label.values() if isinstance(label, dict) else label
    return value if isinstance(label, dict | list) else label


def _label(value: Any) -> str | None:
    """A label as text without surrounding space; None when it is empty, too long or not a scalar."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str):
        return None
    label = value.strip()
    return label if 0 < len(label) <= MAX_LABEL_CHARACTERS else None


def why_unfit(task: Task, answer: str, request: dict[str, Any]) -> str:
    """Why a label is none of those seen or listed; "" where it is one, or none is known."""
    known = {*task.labels, *_listed(request, task.answer)}
    if not known or answer in known:
        return ""
    close = nearest(answer, known)
    shown = ", ".join(repr(label[:60]) for label in ([close] if close else sorted(known)[:SHOWN_LABELS]))
    return f"It is none of the {len(known)} labels that the task has{', such as' if not close else '; near is'} {shown}"


def write_answer(task: Task, answer: str, confidence: float, like: dict[str, Any]) -> dict[str, Any]:
    """The incumbent's JSON with the label in its place and, where it states one, our calibrated confidence."""
    extra: dict[str, Any] = {name: round(confidence, 4) for name in _CONFIDENCE_FIELDS}
    if (spot := spot_of(task.answer)) is not None:
        return tool_label.write(spot, answer, extra, like)
    content = str(like["content"])
    value: Any = answer
    if parse_path(task.answer):
        extra = _in_its_unit(load_json(content), confidence)
    if task.answer != "$" and isinstance(read_path(content, task.answer), bool):
        value = answer == "true"
    return {"role": "assistant", "content": write_path(content, task.answer, value, extra)}


def _in_its_unit(whole: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    """The fields by which the incumbent says how sure it is, with ours in the unit of its: a share or a percentage."""
    return {
        name: confidence_like(old, confidence) if is_confidence(name, old := whole[name]) else round(confidence, 4)
        for name in _CONFIDENCE_FIELDS
        if name in whole
    }


def _units(content: str) -> tuple[str, ...]:
    """The fields by which an answer says how sure it is as a percentage; some incumbents say it either way."""
    whole = load_json(content)
    return tuple(name for name in _CONFIDENCE_FIELDS if is_confidence(name, value := whole.get(name)) and value > 1)


def like(task: Task, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first message, without what differs between them besides the label: an explanation or a number that belongs
    to another request would be a wrong one. Texts become empty, all else null."""
    if spot_of(task.answer) is not None:
        return tool_label.pattern(messages)
    contents = [str(message["content"]) for message in messages]
    keys = parse_path(task.answer)
    if not keys:
        return {"role": "assistant", "content": contents[0]}
    usual = Counter(map(_units, contents)).most_common(1)[0][0]
    contents.sort(key=lambda content: _units(content) != usual)
    first = {"role": "assistant", "content": contents[0]}
    whole: dict[str, Any] = load_json(contents[0])
    seen: dict[str, set[bytes]] = defaultdict(set)
    for content in contents:
        for name, value in load_json(content).items():
            seen[name].add(canonical_json(value))
    ours = {keys[0], *_CONFIDENCE_FIELDS}
    differing = [name for name in whole if len(seen[name]) > 1 and name not in ours]
    if not differing:
        return first
    whole |= {name: "" if isinstance(whole[name], str) else None for name in differing}
    compact = ": " not in contents[0]
    separators = (",", ":") if compact else (", ", ": ")
    return {**first, "content": json.dumps(whole, ensure_ascii=False, separators=separators)}


def like_key(task: Task, answer: str) -> str:
    """The label, where contents hold more than it: what stands beside it may always be the same for one label."""
    return answer if spot_of(task.answer) is not None or parse_path(task.answer) else ""


def slice_of(answer: str) -> str:
    return answer


def parts(answer: str) -> dict[str, Any]:
    return {answer: ""}


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
