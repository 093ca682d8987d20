"""A finished exchange as its record in a segment holds it, and back again."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import msgspec

from stepdown.core.calls import Call, Selection
from stepdown.core.contract import Privacy
from stepdown.core.keys import Key
from stepdown.core.store import Served
from stepdown.core.tasks import Match, Task
from stepdown.core.wires.wire import wire_named
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.outcome import Outcome
from stepdown.gateway.reading import decode_body
from stepdown.gateway.served import Manners, ServedTask

_TRACE_HEADERS = (b"traceparent", b"tracestate")


class _TaskFacts(msgspec.Struct, frozen=True, array_like=True):
    """What reading an exchange needs of its task. Costs in USD of one call."""

    name: str
    privacy: Privacy
    certificate: str
    cost_usd: float
    student_cost_usd: float
    prompt_tokens_per_character: float
    completion_tokens_per_character: float


class _Finished(msgspec.Struct, array_like=True, tag=0):
    """An exchange. outcome: None where its bodies are still to be read; else they are not there."""

    id: str
    at: float
    workload: str
    rung: str
    reason: str
    confidence: float | None
    upstream: str
    status: int
    streamed: bool
    error: str
    first_byte_s: float | None
    latency_s: float
    upstream_s: float | None
    selection: Selection
    selection_probability: float
    wire: str
    request: bytes
    reply: bytes
    key: tuple[str, str] | None
    task: _TaskFacts | None
    outcome: Outcome | None = None
    client: str = ""
    trace: dict[str, bytes] = {}


class _Totals(msgspec.Struct, array_like=True, tag=1):
    """Sums of exchanges that have no record of their own, for want of room."""

    rows: list[Served]


_FIELDS = _Finished.__struct_fields__
_SAME = _FIELDS[: _FIELDS.index("wire")]
_same: Callable[[Exchange], tuple[Any, ...]] = operator.attrgetter(*_SAME)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Finished | _Totals).decode


def pack(exchange: Exchange, outcome: Outcome | None = None, traced: bool = False) -> bytes:
    """A record. Without an outcome the bodies are in it as they came. traced: with where it came from, for logs and
    spans. On the event loop: a few microseconds, most of them for copying the bodies."""
    reply, key, task = exchange.reply, exchange.key, exchange.task
    values = (
        *_same(exchange),
        exchange.wire.NAME,
        exchange.request.body if outcome is None else b"",
        b"" if outcome is not None else reply if isinstance(reply, bytes) else b"".join(reply),
        (key.id, key.name) if key is not None else None,
        _facts(task) if task is not None else None,
        outcome,
    )
    made = _Finished(*values)
    if traced:
        headers, made.client = exchange.request.headers, exchange.request.client
        made.trace = {name.decode(): headers[name] for name in _TRACE_HEADERS if name in headers}
    try:
        return _encode(made)
    except OverflowError:  # msgpack has no whole number beyond 64 bits.
        if outcome is None or outcome.call is None:
            raise
        return pack(exchange, msgspec.structs.replace(outcome, call=fitting(outcome.call)), traced)


def pack_totals(rows: list[Served]) -> bytes:
    return _encode(_Totals(rows))


def unpack(record: bytes) -> tuple[Exchange, Outcome | None] | list[Served]:
    """What a record holds: an exchange, with its outcome where that is known; or sums. Raises msgspec.DecodeError."""
    found = _decode(record)
    if isinstance(found, _Totals):
        return found.rows
    headers = {name.encode(): value for name, value in found.trace.items()}
    request = Request("POST", "", "", headers, found.request)
    request.client = found.client
    exchange = Exchange(request, wire_named(found.wire), found.at, 0.0, found.id)  # type: ignore[arg-type]
    for name in _SAME:
        setattr(exchange, name, getattr(found, name))
    exchange.reply = found.reply
    if found.key is not None:
        exchange.key = Key(id=found.key[0], name=found.key[1], digest="", prefix="", created_at=0)
    exchange.task = None if found.task is None else _served(found.task)
    if found.outcome is not None and found.outcome.call is not None:
        exchange.chat = found.outcome.call.request
    return exchange, found.outcome


def fill_in(exchange: Exchange) -> None:
    """Decode the request of an exchange that came without an outcome."""
    exchange.body = decode_body(exchange.request.body)
    exchange.chat = exchange.wire.request(exchange.body)


def fitting(call: Call) -> Call:
    """The call with whole numbers beyond 64 bits, which no store can hold, as text."""
    return msgspec.structs.replace(call, request=_fitting(call.request), response=_fitting(call.response))


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fitting(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_fitting(each) for each in value]
    return value if not isinstance(value, int) or -(1 << 63) <= value < 1 << 64 else str(value)


def _facts(task: ServedTask) -> _TaskFacts:
    manners = task.manners or Manners(like={})
    return _TaskFacts(
        task.name,
        task.privacy,
        task.certificate,
        manners.cost_usd,
        task.student_cost_usd,
        manners.prompt_tokens_per_character,
        manners.completion_tokens_per_character,
    )


@functools.lru_cache(maxsize=10_000)
def _served(told: _TaskFacts) -> ServedTask:
    return ServedTask(
        task=Task(name=told.name, family="", match=Match()),
        family=None,
        privacy=told.privacy,
        certificate=told.certificate,
        manners=Manners(
            like={},
            prompt_tokens_per_character=told.prompt_tokens_per_character,
            completion_tokens_per_character=told.completion_tokens_per_character,
            cost_usd=told.cost_usd,
        ),
        student_cost_usd=told.student_cost_usd,
    )
