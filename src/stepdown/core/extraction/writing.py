"""A canonical answer as the incumbent would have written it: its keys, their order, its nulls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stepdown.core.extraction.answers import flat, is_nothing, is_sure, join, nested, split
from stepdown.core.extraction.form import ARGUMENTS, CALLS, TOOL, Field, Form
from stepdown.core.extraction.validation import Check, validator


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
    above = _objects_above(order)
    if not above or _fits(form, whole):
        return whole
    fuller = copy.deepcopy(whole)
    for keys in above:
        _put(fuller, keys, {}, list(order))
    return fuller if _fits(form, fuller) else whole


def _objects_above(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Where the objects lie that hold these fields, the outermost first."""
    return list(dict.fromkeys(split(name)[:depth] for name in names for depth in range(1, len(split(name)))))


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
            if is_nothing(old) and not any(value.startswith(name + ".") for value in values):
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
    return fitting(form)(answer) if whole is None else _fits(form, whole)


def fitting(form: Form) -> Callable[[Mapping[str, Any]], bool]:
    """`is_valid` for many answers of one form: what does not depend on the answer is worked out once."""
    tools = ("", *form.tools)
    fields = {tool: [field for field in form.fields if not field.tools or tool in field.tools] for tool in tools}
    absent = {
        tool: {field.name: _nothing(field) for field in own if field.absent != "omit"} for tool, own in fields.items()
    }
    above = {tool: _objects_above(field.name for field in own) for tool, own in fields.items()}
    judged = _judge(form)

    def fits(answer: Mapping[str, Any]) -> bool:
        called = answer.get(TOOL)
        tool = called if called in form.tools else ""
        whole = nested({**absent[tool], **flat(answer)})
        if judged(whole):
            return True
        # An object without a field that is there is no part of a canonical answer, and may have to be there.
        missing = [keys for keys in above[tool] if _holder(whole, keys) is None]
        for keys in missing:
            holder = _holder(whole, keys[:-1])
            if isinstance(holder, dict):
                holder.setdefault(keys[-1], {})
        return bool(missing) and judged(whole)

    return fits


def _holder(whole: dict[str, Any], keys: Iterable[str]) -> Any:
    """What lies at a path, None where nothing does."""
    node: Any = whole
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _fits(form: Form, whole: Mapping[str, Any]) -> bool:
    return _judge(form)(whole)


def _judge(form: Form) -> Callable[[Mapping[str, Any]], bool]:
    """A function that says whether an answer as it was written fits the form's schemas."""
    checks = {name: validator(schema) for name, schema in form.schemas.items()}
    if form.tools:
        return lambda whole: _calls_fit(form, checks, whole)
    check = checks.get("")
    if check is None:
        return lambda whole: True
    schema = form.schemas[""]
    required = schema.get("required") if isinstance(schema, dict) else None
    known = {field.name for field in form.fields}
    # How sure an answer is stands beside it; whoever writes it fills that in.
    sure = {str(key): 1.0 for key in required or () if is_sure(str(key)) and key not in known}
    return lambda whole: check(sure | dict(whole) if sure else whole)


def _calls_fit(form: Form, checks: Mapping[str, Check], whole: Mapping[str, Any]) -> bool:
    calls = whole.get(CALLS, [whole] if TOOL in whole else [])
    return isinstance(calls, list) and all(_call_fits(form, checks, call) for call in calls)


def _call_fits(form: Form, checks: Mapping[str, Check], call: Any) -> bool:
    tool = call.get(TOOL) if isinstance(call, Mapping) else None
    if tool not in form.tools:
        return False
    return tool not in checks or checks[tool](call.get(ARGUMENTS, {}))
