"""Canonical JSON and the hashes made of it: the same value has the same bytes on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def canonical_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON with sorted keys and no spaces. Structs, dicts, lists, strings, numbers, booleans, None."""
    return _encoder.encode(value)


def digest(data: bytes) -> str:
    """The sha256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """The sha256 of a value's canonical JSON, in hex."""
    return digest(canonical_json(value))


def without_younger(value: msgspec.Struct, names: Sequence[str]) -> dict[str, Any]:
    """A struct as a table, less those of its fields named that still have their default.

    What is hashed this way keeps its hash when fields are added to its kind: what was written before they were there
    reads as before.
    """
    table: dict[str, Any] = msgspec.to_builtins(value)
    for name, default in _defaults(type(value), tuple(names)):
        if getattr(value, name) == default:
            del table[name]
    return table


@cache
def _defaults(kind: type[msgspec.Struct], names: tuple[str, ...]) -> list[tuple[str, Any]]:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    return [
        (name, one.default_factory() if one.default is msgspec.NODEFAULT else one.default)
        for name in names
        for one in (fields[name],)
    ]
