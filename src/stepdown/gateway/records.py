"""A finished exchange as its record in a segment holds it, and back again."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from stepdown.core.calls import Call
from stepdown.core.keys import Key
from stepdown.core.served import AskedRung
from stepdown.core.store import ServedHour
from stepdown.core.tasks import Match, Task
from stepdown.gateway.exchange import FAILED, Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.outcome import Outcome, provider_of, served_of
from stepdown.gateway.reading import decode_body
from stepdown.gateway.served import ResponseTemplate, ServedTask
from stepdown.wires.wire import wire_named

_SAME = (
    *("id", "at", "workload", "rung", "reason", "confidence", "upstream", "status", "streamed", "error"),
    *("first_byte_s", "latency_s", "upstream_s", "selection", "selection_probability"),
)
"""What a record has of an exchange as it is. New ones go to the end."""
_TRACE_HEADERS = (b"traceparent", b"tracestate")
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_MANNERS = ResponseTemplate(like={})


class _Finished(msgspec.Struct, array_like=True, tag=0):
    """outcome: None where the bodies are still to be read; else they are not there. key: id and name. task: what
    reading needs of it, see `_task`; its fourth is what the students cost that were asked. client, trace: for log lines
    and spans. served: build, cascade, the rung whose answer the cache repeated, and the rungs that were asked; None
    where there is no task, and in records of earlier versions."""

    same: tuple[Any, ...]
    wire: str
    request: bytes
    reply: bytes
    key: tuple[str, str] | None
    task: tuple[str, str, float, float, float, float] | None
    outcome: Outcome | None
    client: str
    trace: dict[str, bytes]
    served: tuple[str, str, str, tuple[AskedRung, ...]] | None = None


class _Totals(msgspec.Struct, array_like=True, tag=1):
    """Sums of exchanges that have no record of their own, for want of room."""

    rows: list[ServedHour]


_same: Callable[[Exchange], tuple[Any, ...]] = operator.attrgetter(*_SAME)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Finished | _Totals).decode


def pack(exchange: Exchange, outcome: Outcome | None = None) -> bytes:
    """A record. Without an outcome the bodies are in it as they came. On the event loop: a few microseconds, most of
    them for copying the bodies."""
    request, key, task = exchange.request, exchange.key, exchange.task
    facts = served = None
    trace: dict[str, bytes] = {}
    if b"traceparent" in request.headers:
        trace = {name.decode(): request.headers[name] for name in _TRACE_HEADERS if name in request.headers}
    if outcome is not None:  # What is masked or not kept leaves no text of the client's here either.
        trace = {name: value for name, value in trace.items() if _TRACE_PARENT.fullmatch(value)}
    if task is not None:
        template = task.template or _NO_MANNERS
        per_character = (template.prompt_tokens_per_character, template.completion_tokens_per_character)
        facts = (task.name, task.certificate, template.cost_usd, exchange.own_usd, *per_character)
        served = (task.build, task.cascade, exchange.repeated, exchange.asked)
    return _encode(
        _Finished(
            _same(exchange),
            exchange.wire.NAME,
            request.body if outcome is None else b"",
            b"" if outcome is not None else exchange.recorded,
            (key.id, key.name) if key is not None else None,
            facts,
            outcome,
            request.client,
            trace,
            served,
        )
    )


def pack_totals(rows: list[ServedHour]) -> bytes:
    return _encode(_Totals(rows))


def unpack(record: bytes) -> tuple[Exchange, Outcome | None] | list[ServedHour]:
    """What a record holds: an exchange, with its outcome where that is known; or sums. Raises msgspec.DecodeError."""
    found = _decode(record)
    if isinstance(found, _Totals):
        return found.rows
    same = dict(zip(_SAME, found.same, strict=True))
    request = Request("POST", "", "", {name.encode(): value for name, value in found.trace.items()}, found.request)
    request.client = found.client
    exchange = Exchange(request, wire_named(found.wire), same["at"], 0.0, same["id"])  # type: ignore[arg-type]
    vars(exchange).update(same)
    exchange.reply = found.reply
    if found.key is not None:
        exchange.key = Key(id=found.key[0], name=found.key[1], digest="", prefix="", created_at=0)
    if found.task is not None:
        name, certificate, cost_usd, exchange.own_usd, prompt, completion = found.task
        build, cascade, exchange.repeated, exchange.asked = found.served or ("", "", "", ())
        exchange.task = _task(name, certificate, cost_usd, prompt, completion, build, cascade)
    if found.outcome is not None and found.outcome.call is not None:
        call = found.outcome.call
        exchange.chat = call.request
        if call.served is None:  # A record of an earlier version says who answered in the exchange's fields alone.
            call = msgspec.structs.replace(call, provider=provider_of(exchange), served=served_of(exchange))
            return exchange, msgspec.structs.replace(found.outcome, call=call)
    return exchange, found.outcome


def fill_in(exchange: Exchange) -> None:
    """Decode the request of an exchange that came without an outcome."""
    exchange.body = decode_body(exchange.request.body)
    exchange.chat = exchange.wire.request(exchange.body)


def fitting(call: Call) -> Call:
    """The call with whole numbers beyond 64 bits, which neither a record nor a store can hold, as text."""
    return msgspec.structs.replace(call, request=_fitting(call.request), response=_fitting(call.response))


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fitting(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_fitting(each) for each in value]
    return value if not isinstance(value, int) or -(1 << 63) <= value < 1 << 64 else str(value)


@functools.lru_cache(maxsize=10_000)
def _task(
    name: str, certificate: str, cost_usd: float, prompt: float, completion: float, build: str, cascade: str
) -> ServedTask:
    """prompt, completion: tokens per character. cost_usd: of one of the incumbent's calls."""
    return ServedTask(
        task=Task(name=name, family="", match=Match()),
        family=None,
        certificate=certificate,
        build=build,
        cascade=cascade,
        template=ResponseTemplate(
            like={}, prompt_tokens_per_character=prompt, completion_tokens_per_character=completion, cost_usd=cost_usd
        ),
    )


class Tally(NamedTuple):
    """What sums are kept apart by. hour: whole hours since the epoch; key: a key's id."""

    hour: int
    task: str
    key: str
    rung: str

    @classmethod
    def of(cls, exchange: Exchange) -> Tally:
        rung = FAILED if exchange.error and exchange.status >= 500 else exchange.rung
        return cls(
            int(exchange.at // 3600),
            exchange.task.name if exchange.task else "",
            exchange.key.id if exchange.key else "",
            rung,
        )


class Sums:
    """What has come together under one tally."""

    __slots__ = ("completion_tokens", "cost_usd", "latency_s", "prompt_tokens", "requests", "saved_usd")

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = 0
        self.cost_usd = self.saved_usd = self.latency_s = 0.0

    def add(self, exchange: Exchange, outcome: Outcome) -> None:
        self.requests += 1
        self.prompt_tokens += outcome.prompt_tokens
        self.completion_tokens += outcome.completion_tokens
        self.cost_usd += outcome.spent_usd
        self.saved_usd += outcome.saved_usd
        self.latency_s += exchange.latency_s

    def row(self, tally: Tally) -> ServedHour:
        return ServedHour(**tally._asdict(), **{name: getattr(self, name) for name in self.__slots__})


Tallies = dict[Tally, Sums]
