"""Reads the fields that a JSON schema states, and the reasons for fields that no student can fill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepdown.core.extraction.answers import join
from stepdown.core.extraction.form import WHOLE, Absent, Field
from stepdown.core.extraction.validation import JSON_TYPES, json_type

MAX_DEPTH = 10
MAX_FIELDS = 400
MAX_CHOICES = 2_000
SCALARS = ("string", "integer", "number", "boolean")


class SchemaReader:
    """Reads one schema into `fields` and `refused`, by name.

    keys: where the schema sits in an answer. tools: the tool whose arguments it is of.
    """

    def __init__(self, schema: Any, keys: tuple[str, ...] = (), tools: tuple[str, ...] = ()) -> None:
        self._root = schema
        self._keys = keys
        self._tools = tools
        self.fields: dict[str, Field] = {}
        self.refused: dict[str, str] = {}
        node, problem = self._resolved(schema, ())
        if problem:
            self._refuse(keys, problem)
        elif "object" not in _types(node):
            self._refuse(keys, "it is no object but " + (" or ".join(_types(node)) or "anything"))
        else:
            self._object(node, keys, True, ())

    def _refuse(self, keys: tuple[str, ...], reason: str) -> None:
        if len(self.refused) < MAX_FIELDS:
            self.refused[join(keys) if keys else WHOLE] = reason

    def _object(self, node: dict[str, Any], keys: tuple[str, ...], required: bool, refs: tuple[str, ...]) -> None:
        properties = node.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        free = node.get("additionalProperties", keys != self._keys) is not False
        if node.get("patternProperties") or (not properties and free):
            self._refuse(keys, "its keys are not stated")
        needed = node.get("required")
        needed = needed if isinstance(needed, list) else []
        for key, property_ in properties.items():
            self._field(property_, (*keys, str(key)), required and key in needed, refs)

    def _field(self, schema: Any, keys: tuple[str, ...], required: bool, refs: tuple[str, ...]) -> None:
        if len(keys) > MAX_DEPTH + len(self._keys):
            return self._refuse(keys, f"it lies deeper than {MAX_DEPTH} objects")
        if len(self.fields) >= MAX_FIELDS:
            return self._refuse(keys, f"there are more than {MAX_FIELDS} fields")
        node, problem = self._resolved(schema, refs)
        if problem:
            return self._refuse(keys, problem)
        refs = (*refs, *node.get("$refs", ()))
        types = [type_name for type_name in _types(node) if type_name != "null"]
        unknown = [type_name for type_name in types if type_name not in JSON_TYPES]
        if unknown:
            return self._refuse(keys, f"its type {unknown[0]!r} is none of JSON's")
        if len(types) > 1 and {"object", "array"} & set(types):
            return self._refuse(keys, "it may be " + " or ".join(_words(type_name) for type_name in types))
        absent: Absent = "null" if required and "null" in _types(node) else "omit"
        if types == ["object"]:
            return self._object(node, keys, required and absent == "omit", refs)
        many = types == ["array"]
        if many:
            node, problem = self._items(node, refs)
        if problem:
            return self._refuse(keys, problem)
        choices, problem = _choices(node)
        if problem:
            return self._refuse(keys, problem)
        scalars = tuple(type_name for type_name in _types(node) if type_name in SCALARS)
        if choices and not scalars:
            scalars = tuple(dict.fromkeys(type_of(choice) for choice in choices))
        name = join(keys)
        self.fields[name] = Field(
            name=name,
            types=scalars or SCALARS,
            many=many,
            choices=choices,
            tools=self._tools,
            required=required and absent == "omit",
            absent=absent,
        )
        return None

    def _items(self, node: dict[str, Any], refs: tuple[str, ...]) -> tuple[dict[str, Any], str]:
        """The schema of a list's values, or why they cannot be filled."""
        items = node.get("items", True)
        if isinstance(items, list) or node.get("prefixItems"):
            return {}, "it is a list with a place for each value"
        if items is True:
            return {}, ""
        inner, problem = self._resolved(items, refs)
        if problem:
            return {}, problem
        types = _types(inner)
        if "object" in types or "array" in types:
            return {}, "it is a list of objects" if "object" in types else "it is a list of lists"
        unknown = [type_name for type_name in types if type_name not in JSON_TYPES]
        return inner, f"its values' type {unknown[0]!r} is none of JSON's" if unknown else ""

    def _resolved(self, schema: Any, refs: tuple[str, ...], depth: int = 0) -> tuple[dict[str, Any], str]:
        """A schema with its references followed and its alternatives joined, or why that cannot be.

        "$refs" lists the references followed on the way, so that one that comes again inside is seen.
        """
        if schema is True:
            return {}, ""
        if not isinstance(schema, dict):
            return {}, "its schema is none"
        if depth > MAX_DEPTH:
            return {}, "its schema refers to others too often"
        node = dict(schema)
        if "$ref" in node:
            return self._followed(node, refs, depth)
        for key in ("allOf", "anyOf", "oneOf"):
            branches = node.pop(key, None)
            if not isinstance(branches, list) or not branches:
                continue
            resolved = [self._resolved(branch, refs, depth + 1) for branch in branches]
            problem = next((why for _, why in resolved if why), "")
            if problem:
                return {}, problem
            nodes = [each for each, _ in resolved]
            node, problem = (_all_of(node, nodes), "") if key == "allOf" else _one_of(node, nodes)
            if problem:
                return {}, problem
        return node, ""

    def _followed(self, node: dict[str, Any], refs: tuple[str, ...], depth: int) -> tuple[dict[str, Any], str]:
        ref = node.pop("$ref")
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            return {}, "its schema is elsewhere and is not fetched"
        if ref in refs or ref == "#":
            return {}, "it holds itself again"
        target = _pointed(self._root, ref)
        if target is None:
            return {}, f"its schema {ref!r} is missing"
        resolved, problem = self._resolved(target, (*refs, ref), depth + 1)
        if problem:
            return {}, problem
        return _all_of(node, [{**resolved, "$refs": (*resolved.get("$refs", ()), ref)}]), ""


def _pointed(root: Any, ref: str) -> Any:
    """What a JSON pointer (RFC 6901) in a fragment points at; None where nothing is."""
    node = root
    for part in ref.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return None
    return node


def _types(node: Mapping[str, Any]) -> list[str]:
    """The JSON types a node allows, [] where it says nothing."""
    stated = node.get("type")
    named = [json_type(each) for each in (stated if isinstance(stated, list) else [stated]) if each]
    if node.get("nullable") is True and named:
        named.append("null")
    if not named and isinstance(node.get("properties"), dict):
        named = ["object"]
    if not named and ("items" in node or "prefixItems" in node):
        named = ["array"]
    if not named and ("enum" in node or "const" in node):
        named = [kind for each in _listed(node) if (kind := type_of(each)) not in ("object", "array")]
    return list(dict.fromkeys(kind for kind in named if kind))


def _listed(node: Mapping[str, Any]) -> list[Any]:
    allowed = [node["const"]] if "const" in node else node.get("enum")
    return allowed if isinstance(allowed, list) else []


def _choices(node: Mapping[str, Any]) -> tuple[tuple[Any, ...], str]:
    """What a field's enum or const allows, without null and texts of nothing; or why that cannot be chosen from."""
    listed = _listed(node)
    if any(isinstance(choice, dict | list) for choice in listed):
        return (), "it is chosen among lists or objects"
    if len(listed) > MAX_CHOICES:
        return (), f"it has more than {MAX_CHOICES} choices"
    stripped = [choice.strip() if isinstance(choice, str) else choice for choice in listed]
    return tuple(each for each in stripped if each is not None and each != ""), ""


def _all_of(node: dict[str, Any], others: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One schema that says what all of them say, as far as fields go; of two that contradict the first is believed."""
    whole = dict(node)
    for other in others:
        for key, value in other.items():
            if key == "properties" and isinstance(whole.get(key), dict) and isinstance(value, dict):
                whole[key] = {**value, **whole[key]}
            elif key == "required" and isinstance(whole.get(key), list) and isinstance(value, list):
                whole[key] = [*whole[key], *value]
            elif key == "$refs":
                whole[key] = (*whole.get(key, ()), *value)
            else:
                whole.setdefault(key, value)
    return whole


def _one_of(node: dict[str, Any], branches: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """One schema for several alternatives: scalars joined, null as one more type; or why they cannot be."""
    real = [branch for branch in branches if _types(branch) != ["null"]]
    types = list(dict.fromkeys(kind for branch in branches for kind in _types(branch)))
    if len(real) == 1:
        whole = _all_of(node, real)
        return ({**whole, "type": [*_types(whole), "null"]} if "null" in types and _types(whole) else whole), ""
    if {"object", "array"} & set(types):
        kinds = list(dict.fromkeys(_words(kind) for kind in types if kind != "null"))
        return {}, "it may be " + (" or ".join(kinds) if len(kinds) > 1 else f"one of several {kinds[0]}s")
    whole = {**node, "type": types} if types and all(_types(branch) for branch in real) else dict(node)
    if real and all(_listed(branch) for branch in real):
        whole["enum"] = [value for branch in real for value in _listed(branch)]
    return whole, ""


def _words(kind: str) -> str:
    return {"array": "list"}.get(kind, kind)


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    names = ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"), (list, "array"), (dict, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")
