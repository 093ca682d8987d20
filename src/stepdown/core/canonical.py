"""Canonical JSON and the hashes made of it: the same value has the same bytes on every machine."""

from __future__ import annotations

import hashlib
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
