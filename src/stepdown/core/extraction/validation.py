"""Whether a value fits a JSON schema, by the library jsonschema, with what a hostile schema could do taken out.

Nothing is fetched. What cannot be checked safely is not checked: a reference to elsewhere, a regular expression that
could run for ever, what lies too deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from stepdown.core.canonical import digest_of

MAX_DEPTH = 48
MAX_NODES = 20_000
MAX_REFERENCES = 5_000
"""Followed while one value is checked: references to references can double at every step."""
MAX_PATTERN_CHARACTERS = 200
MAX_MATCHED_CHARACTERS = 300
"""Longer texts are not held against a regular expression."""
MAX_UNIQUE = 1_000
_KEPT = 256
TYPES = {"dict": "object", "float": "number", "double": "number", "tuple": "array", "list": "array", "any": ""}
"""Names that tool definitions use where JSON schema has others; "" says nothing of the type."""
JSON_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "object", "array"})
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_PLAIN = frozenset({"enum", "const", "required", "default", "examples", "title", "description", "dependentRequired"})
_DROPPED = frozenset({"$schema", "$dynamicRef", "$recursiveRef", "$vocabulary", "default", "examples", "format"})

Check = Callable[[Any], bool]
_checks: dict[str, Check] = {}


class _Beyond(Exception):
    """More work than a check may take."""


def validator(schema: Any) -> Check:
    """A function that says whether a value fits `schema`. Kept by the schema's content.

    True for whatever cannot be told: a schema that is none, references that lead nowhere or go on for ever.
    """
    try:
        key = digest_of(schema)
    except RecursionError:
        return _anything
    if key not in _checks:
        if len(_checks) >= _KEPT:
            _checks.clear()
        _checks[key] = _check_of(schema)
    return _checks[key]


def _check_of(schema: Any) -> Check:
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    followed = [0]
    original = Draft202012Validator.VALIDATORS["$ref"]

    def reference(judge: Any, ref: Any, instance: Any, schema: Any) -> Iterator[Any]:
        followed[0] += 1
        if followed[0] > MAX_REFERENCES:
            raise _Beyond
        yield from original(judge, ref, instance, schema) or ()

    try:
        safe = tamed(schema)
        Draft202012Validator.check_schema(safe)
    except (SchemaError, _Beyond, RecursionError):
        return _anything
    bounded = {"$ref": reference, "pattern": _pattern, "uniqueItems": _unique}
    kind = validators.extend(Draft202012Validator, bounded)  # type: ignore[no-untyped-call]
    judge = kind(safe, registry=Registry())

    def check(value: Any) -> bool:
        followed[0] = 0
        try:
            return bool(judge.is_valid(value))
        except (_Beyond, Unresolvable, RecursionError, ArithmeticError):
            return True

    return check


def _anything(value: Any) -> bool:
    return True


def _pattern(judge: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and len(instance) <= MAX_MATCHED_CHARACTERS and not re.search(pattern, instance):
        yield ValidationError("does not match")


def _unique(judge: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if wanted and isinstance(instance, list) and len(instance) <= MAX_UNIQUE:
        digests = [digest_of(item) for item in instance]
        if len(set(digests)) < len(digests):
            yield ValidationError("has a value twice")


def kept(schema: Any) -> Any:
    """The schema as it is kept to check answers by: as it is, `tamed` where it is too deep, true where too large."""
    try:
        safe = tamed(schema)
    except (_Beyond, RecursionError):
        return True
    return safe if _is_deep(schema, MAX_DEPTH) else schema


def _is_deep(node: Any, depth: int) -> bool:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return depth <= 0 or any(_is_deep(each, depth - 1) for each in inner if isinstance(each, dict | list))


def tamed(schema: Any) -> Any:
    """The schema as draft 2020-12 without what could not be checked safely. Raises when it is too large."""
    return _tamed(schema, MAX_DEPTH, [MAX_NODES])


def _tamed(node: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise _Beyond
    if isinstance(node, list):
        return [_tamed(item, depth - 1, left) for item in node]
    if not isinstance(node, dict):
        return node
    if depth <= 0:
        return {}
    safe: dict[str, Any] = {}
    for key, value in node.items():
        if key in _PLAIN and key not in _DROPPED:
            safe[key] = value
        elif key in _MAPS and isinstance(value, dict):
            safe[key] = {
                name: _tamed(item, depth - 1, left)
                for name, item in value.items()
                if key != "patternProperties" or is_tame(name)
            }
        elif key not in _DROPPED and _is_safe(key, value):
            safe.update(_keyword(key, value, depth, left))
    return safe


def _is_safe(key: str, value: Any) -> bool:
    if key in ("$ref", "$id"):
        return key == "$id" or (isinstance(value, str) and value.startswith("#"))
    if key in ("exclusiveMinimum", "exclusiveMaximum", "required"):
        return not isinstance(value, bool)
    return key != "pattern" or is_tame(value)


def _keyword(key: str, value: Any, depth: int, left: list[int]) -> dict[str, Any]:
    if key == "type":
        named = [json_type(item) for item in (value if isinstance(value, list) else [value])]
        return {"type": named} if named and all(kind in JSON_TYPES for kind in named) else {}
    if key == "items" and isinstance(value, list):
        return {"prefixItems": _tamed(value, depth, left)} if value else {}
    return {key: _tamed(value, depth - 1, left)}


def json_type(name: Any) -> str:
    """A type's name in JSON schema, for one that a tool definition gives; as it is where it has none."""
    return TYPES.get(name, name) if isinstance(name, str) else ""


def is_tame(pattern: Any) -> bool:
    """Whether a regular expression is short and cannot take long: no group is repeated, and little else is.

    Backtracking takes time in a power of the text that is the number of open repetitions, or doubles with each that
    stands in another.
    """
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_CHARACTERS or re.search(r"\\[1-9]|\(\?[P<]", pattern):
        return False
    bare = re.sub(r"\\.", "x", pattern)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)
    if re.search(r"\)(?:[*+]|\{)", bare):
        return False
    repeats = re.findall(r"[*+?]|\{\d*,?\d*\}", bare.replace("(?:", "(").replace("(?=", "(").replace("(?!", "("))
    open_ended = [repeat for repeat in repeats if repeat in "*+" or _is_wide(repeat)]
    if len(open_ended) > 2 or sum(not re.fullmatch(r"\{\d+\}", repeat) for repeat in repeats) > 6:
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _is_wide(repeat: str) -> bool:
    bounds = re.fullmatch(r"\{(\d*),(\d*)\}", repeat)
    if not bounds:
        return False
    low, high = bounds.groups()
    return not high or int(high) - int(low or 0) > 16
