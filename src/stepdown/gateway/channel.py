"""What a gateway tells the process that records for it, and what it hears back: frames on a socket pair.

Recording costs as much as answering. In threads of the same process it held the interpreter while requests waited, and
the slowest hundredth of them took three milliseconds more; a process of its own has an interpreter of its own.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from stepdown.core.calls import Selection
from stepdown.core.contract import Privacy
from stepdown.core.keys import Key
from stepdown.core.tasks import Match, Task
from stepdown.core.wires.wire import wire_named
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.reading import decode_body
from stepdown.gateway.served import Manners, ServedTask

MAX_FRAME = 256 << 20
_LENGTH = struct.Struct("!I")
_TRACE_HEADERS = (b"traceparent", b"tracestate")


class TaskTold(msgspec.Struct, frozen=True, array_like=True):
    """What recording needs to know of a task. Costs in USD of one call."""

    name: str
    privacy: Privacy
    certificate: str
    cost_usd: float
    student_cost_usd: float
    prompt_tokens_per_character: float
    completion_tokens_per_character: float


class Told(msgspec.Struct, array_like=True):
    """A finished exchange, as it is told."""

    id: str
    at: float
    wire: str
    path: str
    client: str
    request: bytes
    reply: bytes
    trace: dict[str, bytes]
    key: tuple[str, str] | None
    task: TaskTold | None
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
    selection: Selection = ""
    selection_probability: float = 1.0


class Charge(NamedTuple):
    """What an exchange used. key, task: "" for none."""

    key: str
    task: str
    tokens: int
    usd: float


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What the recording process says of itself. lost: None until it has ended."""

    charges: list[Charge]
    healthy: bool
    last_error: str
    lost: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_told = msgspec.msgpack.Decoder(Told).decode
_decode_report = msgspec.msgpack.Decoder(Report).decode


def pack(exchange: Exchange) -> bytes:
    """A frame. On the event loop: a few microseconds, most of them for copying the bodies."""
    reply, headers, task, key = exchange.reply, exchange.request.headers, exchange.task, exchange.key
    trace = {name.decode(): headers[name] for name in _TRACE_HEADERS if name in headers}
    return framed(
        Told(
            exchange.id,
            exchange.at,
            exchange.wire.NAME,
            exchange.request.path,
            exchange.request.client,
            exchange.request.body,
            reply if isinstance(reply, bytes) else b"".join(reply),
            trace,
            (key.id, key.name) if key is not None else None,
            _told(task) if task is not None else None,
            exchange.workload,
            exchange.rung,
            exchange.reason,
            exchange.confidence,
            exchange.upstream,
            exchange.status,
            exchange.streamed,
            exchange.error,
            exchange.first_byte_s,
            exchange.latency_s,
            exchange.upstream_s,
            exchange.selection,
            exchange.selection_probability,
        )
    )


def framed(message: msgspec.Struct) -> bytes:
    """A message with its length before it."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


def unpack(frame: bytes | memoryview) -> Exchange:
    """The exchange that a frame tells of, its bodies not decoded yet: see `fill_in`."""
    told = _decode_told(frame)
    trace = {name.encode(): value for name, value in told.trace.items()} if told.trace else {}
    request = Request("POST", told.path, "", trace, told.request)
    request.client = told.client
    exchange = Exchange(request, wire_named(told.wire), told.at, 0.0, told.id)  # type: ignore[arg-type]
    exchange.key = (
        None if told.key is None else Key(id=told.key[0], name=told.key[1], digest="", prefix="", created_at=0)
    )
    exchange.task = None if told.task is None else _served(told.task)
    exchange.workload, exchange.rung, exchange.reason = told.workload, told.rung, told.reason
    exchange.confidence, exchange.upstream, exchange.status = told.confidence, told.upstream, told.status
    exchange.streamed, exchange.error, exchange.reply = told.streamed, told.error, told.reply
    exchange.first_byte_s, exchange.latency_s = told.first_byte_s, told.latency_s
    exchange.upstream_s = told.upstream_s
    exchange.selection, exchange.selection_probability = told.selection, told.selection_probability
    return exchange


def fill_in(exchange: Exchange) -> None:
    """Decode the request."""
    if exchange.request.body and not exchange.body:
        exchange.body = decode_body(exchange.request.body)
        exchange.chat = exchange.wire.request(exchange.body)


def unpack_report(frame: bytes | memoryview) -> Report:
    return _decode_report(frame)


class Frames:
    """Cuts a stream of bytes into frames. Raises ValueError for a length that no frame has."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes | memoryview) -> Iterator[memoryview]:
        """Every frame that is whole now, to be read before the next feeding."""
        held = memoryview(b"".join((self._rest, data)) if self._rest else data)
        start, end = 0, len(held)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held, start)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            begin = start + _LENGTH.size
            if end < begin + length:
                break
            start = begin + length
            yield held[begin:start]
        self._rest = bytes(held[start:])


def _told(task: ServedTask) -> TaskTold:
    manners = task.manners or Manners(like={})
    return TaskTold(
        task.name,
        task.privacy,
        task.certificate,
        manners.cost_usd,
        task.student_cost_usd,
        manners.prompt_tokens_per_character,
        manners.completion_tokens_per_character,
    )


@functools.lru_cache(maxsize=10_000)
def _served(told: TaskTold) -> ServedTask:
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
