"""Values of OTLP in JSON: AnyValue of opentelemetry-proto's common.proto, in the OTLP specification's JSON encoding."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from stepdown.traffic.source import MAX_DEPTH
from stepdown.wires.loose import mapping, mappings, text

_HEX = re.compile(r"(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})")


def plain(value: Any, depth: int = 0) -> Any:
    """An AnyValue as JSON has it; None for what is none."""
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return None
    for key in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        if key in value:
            return value[key]
    if "intValue" in value:
        number = value["intValue"]
        return int(number) if isinstance(number, str) and re.fullmatch(r"-?\d{1,19}", number) else number
    if "arrayValue" in value:
        return [plain(each, depth + 1) for each in mappings(mapping(value["arrayValue"]).get("values"))]
    if "kvlistValue" in value:
        return _pairs(mapping(value["kvlistValue"]).get("values"), depth + 1)
    return None


def attributes_of(item: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span, an event or a log record by name."""
    return _pairs(item.get("attributes"), 0)


def hex_id(value: Any) -> str:
    """An id in hexadecimal; in base64, as generic writers of protobuf have it, it is brought into that."""
    given = text(value)
    if not given or _HEX.fullmatch(given):
        return given.lower()
    try:
        return base64.b64decode(given, validate=True).hex()
    except (binascii.Error, ValueError):
        return given


def nanoseconds(value: Any) -> float:
    """Seconds since the epoch from nanoseconds, which JSON has as text; 0 for no time."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 21:
        value = int(value)
    return value / 1e9 if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1e20 else 0.0


def named_event(name: str, attributes: dict[str, Any], body: Any) -> dict[str, Any]:
    """An event of a span or a log record, with its body where it has one."""
    return {"name": name, "attributes": attributes, "body": body}


def _pairs(pairs: Any, depth: int) -> dict[str, Any]:
    return {text(pair.get("key")): plain(pair.get("value"), depth) for pair in mappings(pairs)}
