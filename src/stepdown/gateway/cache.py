"""The response cache: an exact repetition of a request is answered from memory, for tasks that want it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json, digest
from stepdown.core.served import INCUMBENT
from stepdown.gateway.answers import header_text, wire_response
from stepdown.gateway.exchange import CACHE, Exchange, Middleware, Next, answered
from stepdown.gateway.http.messages import Response
from stepdown.gateway.metric_names import CACHE_LOOKUPS
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.middleware.holdback import HOLDBACK
from stepdown.gateway.outcome import Outcome, is_student, whole_answer
from stepdown.gateway.served import ServedTask

MAX_BYTES = 64 << 20

_UNIMPORTANT = frozenset({"stream", "stream_options", "user", "metadata"})
"""Fields that ask for no other answer."""
_ONE = 512
_encode = msgspec.json.Encoder().encode


class CachedAnswer(NamedTuple):
    """body: a whole answer on the client's wire. rung: who gave it; certificate: under which, "" for the incumbent."""

    body: dict[str, Any]
    rung: str
    certificate: str


class _Entry(NamedTuple):
    packed: bytes
    rung: str
    certificate: str
    until: float


class AnswerCache:
    """The answers used longest ago go first when there are too many bytes. clock: monotonic seconds.

    A listener of the recorder's, which hands it finished exchanges; `find` is for the event loop.
    """

    def __init__(self, clock: Callable[[], float], max_bytes: int = MAX_BYTES) -> None:
        self._clock, self._max_bytes = clock, max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def find(self, exchange: Exchange) -> CachedAnswer | None:
        """The answer to the same request on the same wire, where one is kept and may still be given."""
        task = exchange.task
        if task is None or task.cache_s <= 0:
            return None
        name = _name_of(exchange, task)
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return None
            if self._clock() >= entry.until:
                self._remove(name)
                return None
            self._entries.move_to_end(name)
        if entry.certificate and not _stands(task, entry.certificate, exchange.at):
            return None
        return CachedAnswer(msgspec.json.decode(entry.packed), entry.rung, entry.certificate)

    def __call__(self, exchange: Exchange, outcome: Outcome) -> None:
        """Keep a whole, good answer of a task that wants it."""
        task, call = exchange.task, outcome.call
        if task is None or task.cache_s <= 0 or exchange.rung == CACHE or exchange.status != 200:
            return
        if not isinstance(call, Call) or call.response is None or outcome.estimated:
            return  # Without the upstream's own usage it would lack what a client may count on.
        if exchange.rung != INCUMBENT and not is_student(exchange.rung):
            return
        if is_student(exchange.rung) and exchange.reason:
            return  # Insisted on by its client: no certificate speaks of it.
        packed = _encode(whole_answer(exchange))
        size = len(packed) + _ONE
        if size > self._max_bytes:
            return
        certificate = "" if exchange.rung == INCUMBENT else task.certificate
        entry = _Entry(packed, exchange.rung, certificate, self._clock() + task.cache_s)
        name = _name_of(exchange, task)
        with self._lock:
            if name in self._entries:
                self._remove(name)
            self._entries[name] = entry
            self.held_bytes += size
            while self.held_bytes > self._max_bytes:
                self._remove(next(iter(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    def _remove(self, name: str) -> None:
        self.held_bytes -= len(self._entries.pop(name).packed) + _ONE


def _name_of(exchange: Exchange, task: ServedTask) -> str:
    """Equal for requests that want the same answer, and for keys that may ask for the same."""
    key = exchange.key
    scope = [sorted(key.tasks), sorted(key.models)] if key else None
    asked = {name: value for name, value in exchange.body.items() if name not in _UNIMPORTANT}
    return digest(canonical_json([exchange.wire.NAME, task.name, exchange.route, scope, asked]))


def _stands(task: ServedTask, certificate: str, at: float) -> bool:
    """Whether a student's answer may be given again: while the certificate it was given under is in force."""
    return task.certificate == certificate and task.is_in_force(at)


def caching(cache: AnswerCache, metrics: Metrics) -> Middleware:
    """Answer from the cache, or proceed. It stands behind admission: who may not ask gets no cached answer either.

    A request that is held back is not looked up: the calls that evidence is drawn from would lack all repeats.
    """

    def look(exchange: Exchange, proceed: Next) -> Awaitable[Response]:
        task = exchange.task
        if task is None or task.cache_s <= 0 or exchange.selection == HOLDBACK:
            return proceed(exchange)
        found = cache.find(exchange)
        metrics.count(CACHE_LOOKUPS, "miss" if found is None else "hit")
        return proceed(exchange) if found is None else answered(_repeated(exchange, found))

    return look


def _repeated(exchange: Exchange, found: CachedAnswer) -> Response:
    exchange.rung, exchange.repeated = CACHE, found.rung
    if found.rung == INCUMBENT:
        exchange.upstream = CACHE
        if exchange.task is not None and exchange.task.is_in_force(exchange.at):
            exchange.selection = "escalated"
    headers = [
        (b"x-stepdown-id", exchange.id.encode()),
        (b"x-stepdown-rung", CACHE.encode()),
        (b"x-stepdown-task", header_text(exchange.task.name if exchange.task else "")),
    ]
    if found.certificate:
        headers.append((b"x-stepdown-certificate", found.certificate[:16].encode()))
    return wire_response(exchange, found.body, headers)
