"""What becomes of every finished exchange: counted, priced, kept as a call. Off the event loop, bounded in memory."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepdown.core.calls import Call, redacted
from stepdown.gateway.call_writer import QUEUE_FULL, CallWriter, Left, OpenStore
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import Cost, Outcome, outcome_of
from stepdown.gateway.tallies import Sums, Tallies, Tally

log = logging.getLogger("stepdown.gateway")

Listener = Callable[[Exchange, Outcome], None]
"""Told of every exchange, on the recorder's thread: budgets, traces, log lines, the cache."""

UNREADABLE, OVERRUN = "unreadable", "overrun"

_ONE = 2048
"""Bytes that an exchange takes besides its bodies."""
_PER_REQUEST_BYTE = 3
"""The request waits as it came, and decoded."""
_BATCH = 512
_AT_ONCE = 8
_BREATH_S = 0.0002
"""While little waits it is read a few at a time: see call_writer."""


@dataclass(frozen=True)
class RecorderOptions:
    """capture_share: the share of calls that are kept, in [0, 1]. unmatched_capture: keep calls of no task.

    queue_bytes: of all that waits, half of it to be read and half to be written; one call may always wait.
    interval_s: how long an exchange may wait to be read.
    outcome: how an exchange is read.
    """

    capture_share: float = 1.0
    unmatched_capture: bool = True
    queue_bytes: int = 64 << 20
    interval_s: float = 0.02
    outcome: Callable[[Exchange, Cost], Outcome] = outcome_of


class Recorder:
    """One thread reads exchanges, another writes calls: a store that hangs holds up no count and no budget.

    open_store: gives the store to write to, for one thread. mask: applied where a task's contract says "redact", before
    anything is written. generator: draws which calls are kept. The threads start at once.
    """

    def __init__(
        self,
        open_store: OpenStore,
        options: RecorderOptions,
        cost: Cost,
        mask: Callable[[str], str],
        metrics: Metrics,
        generator: random.Random,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._options, self._cost, self._mask = options, cost, mask
        self._outcome = options.outcome
        self._metrics, self._generator, self._listeners = metrics, generator, tuple(listeners)
        self._half = options.queue_bytes // 2
        self._writer = CallWriter(open_store, self._half, self._dropped)
        self._waiting: deque[tuple[Exchange, int, bool]] = deque()
        # Each of the two is written by one thread only; their difference is what waits.
        self._bytes_in = self._bytes_out = 0
        self._lost = 0
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="stepdown-recorder", daemon=True)
        self._thread.start()

    def put(self, exchange: Exchange) -> None:
        """Take a finished exchange. On the event loop; about a microsecond. Beyond the bound its bodies are let go."""
        reply = exchange.reply
        size = _ONE + _PER_REQUEST_BYTE * len(exchange.request.body)
        size += len(reply) if isinstance(reply, bytes) else sum(map(len, reply))
        held = self._bytes_in - self._bytes_out
        # Its half of the bound: what a failing store holds back must not keep tokens from being counted.
        whole = held == 0 or held + size <= self._half
        if not whole:
            if held > 4 * self._half:
                self._lost += 1
                return
            exchange.reply, exchange.chat, exchange.body, exchange.outgoing = b"", {}, {}, None
            exchange.request.body, size = b"", _ONE
        self._bytes_in += size
        self._waiting.append((exchange, size, whole))
        if held > self._half >> 2:
            self._wake.set()

    @property
    def healthy(self) -> bool:
        """Whether the store took what it was last given."""
        return self._writer.healthy

    @property
    def last_error(self) -> str:
        """Why it did not, in words; "" while it does."""
        return self._writer.last_error

    @property
    def waiting(self) -> int:
        """Exchanges to be read and calls to be written."""
        return len(self._waiting) + self._writer.waiting

    @property
    def waiting_bytes(self) -> int:
        return self._bytes_in - self._bytes_out + self._writer.held_bytes

    def drain(self, within_s: float) -> Left:
        """Read and write everything, then end the threads. Returns what could not be written in that time."""
        until = time.monotonic() + within_s
        self._ending = True
        self._wake.set()
        self._thread.join(max(0.0, until - time.monotonic()))
        left = self._writer.close(max(0.0, until - time.monotonic()))
        return Left(left.calls + len(self._waiting), left.error)

    def _run(self) -> None:
        while not self._ending or self._waiting:
            if not self._ending:
                self._wake.wait(self._options.interval_s)
                self._wake.clear()
            try:
                for _ in range(0, len(self._waiting), _BATCH):
                    self._take_in()
                self._metrics.publish()
            except Exception:  # the thread's outermost boundary: counting and capture must go on
                log.exception("recorder_failed")
        self._metrics.publish(float("inf"))

    def _take_in(self) -> None:
        """What waits, up to a batch, handed to the writer in one go."""
        lost, self._lost = self._lost, 0
        if lost:
            self._metrics.drop(OVERRUN, lost)
        tallies: Tallies = {}
        is_calm = len(self._waiting) < _BATCH
        for number in range(1, min(len(self._waiting), _BATCH) + 1):
            exchange, size, whole = self._waiting.popleft()
            try:
                self._record(exchange, size, whole, tallies)
            except Exception:  # one exchange's failure is its own: the others are still to be recorded
                self._metrics.drop(UNREADABLE)
                log.exception("not_recorded", extra={"id": exchange.id})
            self._bytes_out += size
            if is_calm and number % _AT_ONCE == 0:
                time.sleep(_BREATH_S)
        self._writer.add_tallies(tallies)

    def _record(self, exchange: Exchange, size: int, whole: bool, tallies: Tallies) -> None:
        outcome = self._outcome(exchange, self._cost) if whole else Outcome()
        self._metrics.observe(exchange, outcome)
        tally = Tally.of(exchange)
        sums = tallies.get(tally)
        if sums is None:
            sums = tallies[tally] = Sums()
        sums.add(exchange, outcome)
        if not whole:
            self._metrics.drop(QUEUE_FULL)
        elif outcome.call is not None and self._is_kept(exchange):
            call = outcome.call
            if isinstance(call, Call) and exchange.task is not None and exchange.task.privacy == "redact":
                call = redacted(call, self._mask)
            self._writer.add_call(call, size - len(exchange.request.body))
        self._tell(exchange, outcome)

    def _tell(self, exchange: Exchange, outcome: Outcome) -> None:
        for listener in self._listeners:
            try:
                listener(exchange, outcome)
            except Exception:  # a listener's failure is its own: the call is recorded, the other listeners are told
                log.exception("listener_failed")

    def _is_kept(self, exchange: Exchange) -> bool:
        if exchange.task is None and not self._options.unmatched_capture:
            return False
        share = self._options.capture_share
        return share >= 1.0 or self._generator.random() < share

    def _dropped(self, reason: str, count: int) -> None:
        self._metrics.drop(reason, count)
