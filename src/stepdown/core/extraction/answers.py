"""Canonical answers of `extract`: objects without null and empty values, whole or as flat fields."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

MAX_DEPTH = 24
MAX_VALUES = 20_000
"""Objects, lists and scalars in one answer."""
MAX_INTEGER = 10**40
_SURE = frozenset({"confidence", "score", "probability", "certainty"})
"""Fields by which an incumbent says how sure it is; a student fills in its own calibrated confidence."""
_ESCAPE = str.maketrans({"\\": "\\\\", ".": "\\."})


class _Unusable(Exception):
    """Raised for a value that cannot be an answer: too deep, too large, or not JSON."""


def canonical_object(value: Any) -> dict[str, Any] | None:
    """A JSON object without null, "", [] and {} at any depth; texts stripped, whole floats as integers.

    None when it is no object, too deep or too large, or holds what JSON cannot (NaN).
    """
    if not isinstance(value, dict):
        return None
    try:
        pruned = _pruned(value, MAX_DEPTH, [MAX_VALUES])
    except _Unusable:
        return None
    return pruned if isinstance(pruned, dict) else None


def _pruned(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth <= 0 or left[0] < 0:
        raise _Unusable
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise _Unusable
        pruned = {_text(key): _pruned(item, depth - 1, left) for key, item in value.items()}
        return {key: each for key, each in pruned.items() if not is_nothing(each)}
    if isinstance(value, list | tuple):
        items = [_pruned(item, depth - 1, left) for item in value]
        return [each for each in items if not is_nothing(each)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value).strip()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, int) and abs(value) < MAX_INTEGER:
        return value
    raise _Unusable


def _text(value: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, replaced by U+FFFD."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def is_nothing(value: Any) -> bool:
    """Whether a JSON value is empty: null, "", [] or {}."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def is_sure(key: str) -> bool:
    """Whether a field's name is one of those for the incumbent's confidence."""
    return key.lower() in _SURE


def flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Every value by its field's name, in the object's order. Lists stay whole, of objects too."""
    fields: dict[str, Any] = {}
    _flatten(answer, "", fields)
    return fields


def _flatten(value: Mapping[str, Any], prefix: str, fields: dict[str, Any]) -> None:
    for key, item in value.items():
        name = prefix + key.translate(_ESCAPE)
        if isinstance(item, dict):
            _flatten(item, name + ".", fields)
        else:
            fields[name] = item


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The object that has these flat fields: `nested(flat(answer)) == answer` for a canonical answer.

    Where one name is the beginning of another ("a" and "a.b", which no object has), the earlier one stays.
    """
    whole: dict[str, Any] = {}
    for name, value in fields.items():
        *path, last = split(name)
        holder: Any = whole
        for key in path:
            holder = holder.setdefault(key, {})
            if not isinstance(holder, dict):
                break
        else:
            holder.setdefault(last, value)
    return whole


def join(keys: Iterable[str]) -> str:
    """The field's name for a path of keys."""
    return ".".join(key.translate(_ESCAPE) for key in keys)


def split(name: str) -> tuple[str, ...]:
    """The path of keys of a field's name: `split(join(keys)) == keys`."""
    if "\\" not in name:
        return tuple(name.split("."))
    keys, key, escaped = [], "", False
    for character in name:
        if escaped or character not in "\\.":
            key += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            keys.append(key)
            key = ""
    return (*keys, key)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal as JSON: true is not 1, in lists and objects neither."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)
