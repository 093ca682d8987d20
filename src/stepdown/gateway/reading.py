"""A request's body, read and checked: what is not a model call on its wire is refused in plain words."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.gateway.errors import Refused
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request

ROUTE_HEADER = b"x-stepdown-route"
ROUTES = ("incumbent", "students")

MOST_VALUES = 250_000
"""Of one request: reading as many takes a tenth of a second, in which nobody else is answered."""

MOST_SIFTED = 4 << 20
"""Bytes of a body whose texts are told from the rest to count its values."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def read_request(exchange: Exchange) -> None:
    """Fill in body, chat shape and the route asked for. Raises Refused."""
    request = exchange.request
    check_json(request)
    data = request.body
    if _has_too_many_values(data):
        raise Refused(413, f"The body has more than {MOST_VALUES:,} values.", "too_many_values")
    exchange.body = decode_body(data)
    if _has_field_twice(data, exchange.body):
        raise Refused(400, "The body has an object with the same field twice.", "invalid_json")
    try:
        exchange.chat = exchange.wire.request(exchange.body)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        said = str(error) if isinstance(error, ValueError) else "a field has a wrong type"
        raise Refused(400, f"The request is not one of this wire: {said}.", "invalid_request") from None
    route = request.headers.pop(ROUTE_HEADER, b"").decode("ascii", "replace").strip().lower()
    if route and route not in ROUTES:
        raise Refused(400, f"x-stepdown-route is {route[:50]!r}; expected incumbent or students.", "unknown_route")
    exchange.route = route


def check_json(request: Request) -> None:
    """Raises Refused where a body does not call itself JSON. A web page that another site shows cannot send such a
    request to a server on this machine without asking first, and is never answered that it may."""
    kind = request.headers.get(b"content-type", b"")
    if b"json" not in kind.lower():
        said = kind[:100].decode("utf-8", "replace")
        raise Refused(415, f"The content type is {said!r}; expected application/json.", "wrong_content_type")


def decode_body(body: bytes) -> dict[str, Any]:
    """A body's JSON object. Raises Refused."""
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        said = "has a number out of range" if "range" in str(error) else "is JSON but not an object"
        raise Refused(400, f"The body {said}.", "invalid_json") from None
    except msgspec.DecodeError as error:
        raise Refused(400, f"The body is not JSON: {error}.", "invalid_json") from None
    except UnicodeDecodeError:
        raise Refused(400, "The body is not UTF-8.", "invalid_json") from None
    except RecursionError:
        raise Refused(400, "The body is nested too deeply.", "invalid_json") from None


def _has_too_many_values(data: bytes) -> bool:
    """Texts have commas too; which those are is too dear to tell of a large body."""
    if len(data) <= MOST_VALUES or _values(data) <= MOST_VALUES:
        return False
    return len(data) > MOST_SIFTED or _values(_without_texts(data)) > MOST_VALUES


def _values(data: bytes) -> int:
    """At least as many as there are values in JSON, less one."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _has_field_twice(data: bytes, body: dict[str, Any]) -> bool:
    """Whether an object of valid JSON has a field that stands there again; body: what was read of it, where each field
    is once. Readers differ in which they take.

    Written anew, the body has as many quotes as before: a field less is two quotes less, and only an escape as \\u0022
    makes one more. Where that tells nothing the fields are counted: each has one colon outside of texts.
    """
    if b"\\u0022" not in data:
        try:
            if _encode(body).count(b'"') == data.count(b'"'):
                return False
        except (ValueError, OverflowError, RecursionError):
            pass  # Numbers beyond 64 bits, halves of characters: read and not written.
    return _without_texts(data).count(b":") != _fields(body)


def _without_texts(data: bytes) -> bytes:
    """JSON without what stands between quotes; data: any bytes, and what is said holds for valid JSON."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(data.split(b'"')[::2])


def _fields(body: dict[str, Any]) -> int:
    """How many fields all objects in a body have."""
    count = 0
    waiting: list[Any] = [body]
    for each in waiting:
        inner = each
        if each.__class__ is dict:
            count += len(each)
            inner = each.values()
        for one in inner:
            kind = one.__class__
            if kind is dict or kind is list:
                waiting.append(one)
    return count
