"""A canonical answer as the incumbent would have written it: its keys, their order, its nulls, its spacing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from stepdown.core.extraction.answers import flat, is_nothing, join, split
from stepdown.core.extraction.form import ARGUMENTS, TOOL, Field, Form
from stepdown.core.extraction.messages import CALLS, is_sure, object_in
from stepdown.core.extraction.validation import validator


def written(form: Form, answer: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The object to send. What `like`, an object of the incumbent's, has beside the form's fields is kept.

    Keys stand in the order of `like`, others where the form has them. What is not there is written as in `like`, else
    as the form says: nothing at all, null, or an empty text or list.
    """
    values = flat(answer)
    fields = [field for field in form.fields if not field.tools or answer.get(TOOL) in field.tools]
    whole = _filled(like or {}, (), values, {field.name for field in fields})
    order = [field.name for field in fields]
    for field in fields:
        if field.name in values or field.absent != "omit":
            _put(whole, split(field.name), values.get(field.name, _nothing(field)), order)
    for name, value in values.items():
        _put(whole, split(name), value, order)
    return whole if like else _with_objects(form, whole, order)


def _with_objects(form: Form, whole: dict[str, Any], order: Iterable[str]) -> dict[str, Any]:
    """The object with {} where an object has no field that is there, if it fits its schema only so."""
    above = dict.fromkeys(split(name)[:depth] for name in order for depth in range(1, len(split(name))))
    if not above or _fits(form, whole):
        return whole
    fuller = copy.deepcopy(whole)
    for keys in above:
        _put(fuller, keys, {}, list(order))
    return fuller if _fits(form, fuller) else whole


def _nothing(field: Field) -> Any:
    if field.absent == "null":
        return None
    return [] if field.many else ""


def _filled(
    like: Mapping[str, Any], keys: tuple[str, ...], values: Mapping[str, Any], names: set[str]
) -> dict[str, Any]:
    """`like` with this answer's values, without those of its own."""
    whole: dict[str, Any] = {}
    for key, old in like.items():
        name = join((*keys, key))
        inside = any(each.startswith(name + ".") for each in names)
        if name in values:
            whole[key] = values[name]
        elif inside and isinstance(old, dict):
            whole[key] = _filled(old, (*keys, key), values, names)
        elif inside or name in names:
            if is_nothing(old) and not any(each.startswith(name + ".") for each in values):
                whole[key] = old
        else:
            whole[key] = old
    return whole


def _put(whole: dict[str, Any], keys: tuple[str, ...], value: Any, order: list[str]) -> None:
    """Set what is not there yet, at the place that the form's order gives it."""
    holder = whole
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if key not in holder:
            _insert(holder, keys[:depth], key, value if last else {}, order)
        if not last:
            holder = holder[key]
            if not isinstance(holder, dict):
                return


def _insert(holder: dict[str, Any], above: tuple[str, ...], key: str, value: Any, order: Iterable[str]) -> None:
    siblings = list(dict.fromkeys(split(name)[len(above)] for name in order if split(name)[: len(above)] == above))
    earlier = siblings[: siblings.index(key)] if key in siblings else siblings
    items = list(holder.items())
    at = max((place + 1 for place, (each, _) in enumerate(items) if each in earlier), default=0)
    if not earlier and key not in siblings:
        at = len(items)
    items.insert(at, (key, value))
    holder.clear()
    holder.update(items)


def is_valid(form: Form, answer: Mapping[str, Any], whole: Mapping[str, Any] | None = None) -> bool:
    """Whether an answer, written out, fits the schema that the form has for it: true where it has none.

    whole: the answer as it was written, where it was. An answer of a tool that the form does not know fits nothing.
    """
    return _fits(form, written(form, answer) if whole is None else whole)


def _fits(form: Form, whole: Mapping[str, Any]) -> bool:
    if form.tools:
        calls = whole.get(CALLS, [whole] if TOOL in whole else [])
        return isinstance(calls, list) and all(_call_fits(form, call) for call in calls)
    schema = form.schemas.get("", True)
    if isinstance(schema, dict) and isinstance(schema.get("required"), list):
        # How sure an answer is stands beside it; whoever writes it fills that in.
        known = {field.name for field in form.fields}
        whole = {key: 1.0 for key in schema["required"] if is_sure(str(key)) and key not in known} | dict(whole)
    return validator(schema)(whole)


def _call_fits(form: Form, call: Any) -> bool:
    tool = call.get(TOOL) if isinstance(call, Mapping) else None
    if tool not in form.tools:
        return False
    return tool not in form.schemas or validator(form.schemas[tool])(call.get(ARGUMENTS, {}))


def as_text(whole: Any, like: str) -> str:
    """An object as JSON text, spaced as `like` is."""
    lines = like.strip().split("\n")
    if len(lines) > 1 and lines[0].strip() in "{[":
        indent = len(lines[1]) - len(lines[1].lstrip())
        return json.dumps(whole, ensure_ascii=False, indent=indent or None)
    separators = (", ", ": ") if ": " in like else (",", ":")
    return json.dumps(whole, ensure_ascii=False, separators=separators)


def function_of(form: Form, call: Mapping[str, Any], pattern: str) -> dict[str, Any]:
    """A call as the wire has it: the tool's name, its arguments as JSON text, spaced and filled as in `pattern`."""
    old = object_in(pattern)
    like = {ARGUMENTS: old} if old is not None else {}
    arguments = written(form, call, like).get(ARGUMENTS, {})
    return {"name": call[TOOL], "arguments": as_text(arguments, pattern)}
