"""An exchange: one request to a model on its way through the gateway, and what became of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from stepdown.core.contract import Privacy
from stepdown.core.keys import Key
from stepdown.core.served import INCUMBENT, AskedRung, Selection
from stepdown.core.tasks import SlotValues
from stepdown.gateway.http.messages import PendingResponse, Request, Response
from stepdown.gateway.limits import Reserved
from stepdown.gateway.served import ServedTask

ABSTAINED, CACHE, REFUSED, FAILED = "abstained", "cache", "refused", "error"
"""What stands for the rung where neither a student nor the incumbent answered."""

_ID_BYTES = 12
_pool = b""


def _forget_pool() -> None:
    global _pool  # noqa: PLW0603
    _pool = b""


# Workers are forked: with their parent's pool they would give the same ids to different calls, and all but one be lost.
os.register_at_fork(after_in_child=_forget_pool)


def new_id() -> str:
    """A call's id: 96 random bits. Who knows it may speak of the call, so that none can be told from another."""
    global _pool  # noqa: PLW0603
    if not _pool:
        _pool = os.urandom(_ID_BYTES * 256)
    name, _pool = _pool[:_ID_BYTES].hex(), _pool[_ID_BYTES:]
    return f"call-{name}"


class Begun(NamedTuple):
    """A request that was sent to an upstream. state, upstream: the UpstreamState and DirectUpstream that was asked;
    sent: what it knows of the request; at: when, monotonic seconds."""

    state: Any
    upstream: Any
    sent: Any
    at: float


class Exchange:
    """Filled in as it goes. Everything that is recorded of a call is read from here, after the client has its answer.

    wire: the module of wires the client speaks. body: the request as the client sent it, decoded; chat: the same
    in chat.completions shape. at: seconds since the epoch; started: seconds on the monotonic clock. rung: who answered.
    reply: the answer's body as the client got it, whole or the pieces of a stream so far. latency_s: to the last byte.
    """

    outgoing: dict[str, Any] | None = None
    """The request in the client's wire as it must leave, where it may not leave as it came (masked, renamed)."""
    key: Key | None = None
    task: ServedTask | None = None
    value: SlotValues | None = None
    """The variable part of a request that fits its task's template."""
    workload = ""
    privacy: Privacy = "any"
    """What may leave this machine of it: its task's, or stricter where it is not known to be the task's."""
    route = ""
    """What the client asked for: "incumbent", "students" or ""."""
    reserved: Reserved | None = None
    """What was set aside for it where its key or task is limited."""
    rung: str = INCUMBENT
    reason = ""
    """Why no student answered, in a word or two."""
    selection: Selection = ""
    selection_probability = 1.0
    """Why the incumbent answers, and the probability of that draw, as they are recorded with the call."""
    confidence: float | None = None
    asked: tuple[AskedRung, ...] = ()
    """The rungs that were asked, in order, whoever answered in the end."""
    repeated = ""
    """The rung whose answer the cache repeated."""
    own_usd = 0.0
    """What the students that were asked cost, also where the incumbent answered in the end."""
    upstream = ""
    begun: Begun | None = None
    """What the first upstream was asked without a task, until its answer is read."""
    status = 0
    streamed = False
    whole = False
    """Whether of a stream the wire's own end has been seen, before the piece that holds it is passed on."""
    reply: bytes | list[bytes] = b""
    withheld = b""
    """The event of a stream that says what it used, where the client did not ask for it and does not get it."""
    error = ""
    first_byte_s: float | None = None
    latency_s = 0.0
    upstream_s: float | None = None
    """What the upstream took of it, from asking to its last byte; None where none was asked."""

    def __init__(self, request: Request, wire: ModuleType, at: float, started: float, name: str = "") -> None:
        """name: the id of one that has it already."""
        self.request, self.wire, self.at, self.started = request, wire, at, started
        self.id = name or new_id()
        self.body: dict[str, Any] = {}
        self.chat: dict[str, Any] = {}

    @property
    def recorded(self) -> bytes:
        """The answer as it is recorded: as the client got it, with what was withheld."""
        reply = self.reply if isinstance(self.reply, bytes) else b"".join(self.reply)
        return self.withheld + reply  # First: the end may be half an event.

    @property
    def wants_stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with what it used."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True


class Reply:
    """An upstream's answer in the client's wire. body: whole, or the pieces of a stream."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes | AsyncIterator[bytes]) -> None:
        self.status, self.headers, self.body = status, headers, body


Next = Callable[[Exchange], PendingResponse | Awaitable[Response]]


class Middleware(Protocol):
    """What stands round every model call, folded in the order that serve/worker.py gives. One that has nothing to do
    gives what comes next as it is, so that nothing is awaited twice."""

    def __call__(self, exchange: Exchange, proceed: Next) -> PendingResponse | Awaitable[Response]: ...


async def answered(response: Response) -> Response:
    """A response as a middleware gives it that answers by itself."""
    return response
