"""One thread that writes calls and sums to the store: in blocks, again when it failed, within bounds of memory."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

import msgspec

from stepdown.core.calls import Call, EncodedCall
from stepdown.core.errors import StepdownError
from stepdown.core.store import Store
from stepdown.gateway.tallies import Tallies, merge

log = logging.getLogger("stepdown.gateway")

OpenStore = Callable[[], AbstractContextManager[Store]]

QUEUE_FULL, UNWRITABLE = "queue-full", "unwritable"

_BLOCK, _SMALL_BLOCK = 512, 16
_MANY = 512
_BREATH_S = 0.0002
"""While little waits, small blocks with a breath between: where every core is in use, a long one is a stall for those
who wait for an answer. They are merged later (`Store.compact`)."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_REOPEN_AFTER = 3

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Call).decode


class Left(NamedTuple):
    """What could not be written: how many calls, and why."""

    calls: int
    error: str


class CallWriter:
    """`add_call` and `add_tallies` come from one other thread. held_bytes: of what is not written yet.

    dropped: told the reason and the number of calls that are given up. Calls that wait because the store fails wait
    packed, so that their bytes are counted and not guessed.
    """

    def __init__(self, open_store: OpenStore, queue_bytes: int, dropped: Callable[[str, int], None]) -> None:
        self._open_store, self._queue_bytes, self._dropped = open_store, queue_bytes, dropped
        self._calls: deque[tuple[Call | EncodedCall | bytes, int]] = deque()
        self._tallies: Tallies = {}
        self._lock = threading.Condition()
        self._ending = False
        self._until = float("inf")
        self._stack = ExitStack()
        self._store: Store | None = None
        self.held_bytes = 0
        self.healthy = True
        self.last_error = ""
        self._thread = threading.Thread(target=self._run, name="stepdown-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Calls to be written."""
        return len(self._calls)

    def add_call(self, call: Call | EncodedCall, size: int) -> None:
        """Take a call of about `size` bytes; where that is too many, give it up: the newest is the one to go."""
        kept: Call | EncodedCall | bytes = call
        if not self.healthy:
            kept = _packed(call)
            size = _size(kept)
        with self._lock:
            if not self._calls or self.held_bytes + size <= self._queue_bytes:
                self._calls.append((kept, size))
                self.held_bytes += size
                return
        self._dropped(QUEUE_FULL, 1)

    def add_tallies(self, more: Tallies) -> None:
        """Take sums, and have everything written that was taken before."""
        with self._lock:
            merge(self._tallies, more)
            if self._calls or self._tallies:
                self._lock.notify()

    def close(self, within_s: float) -> Left:
        """Write what is left, for at most so long, and end the thread."""
        with self._lock:
            self._ending, self._until = True, time.monotonic() + within_s
            self._lock.notify()
        self._thread.join(within_s + 0.05)
        with self._lock:
            if not self._calls and not self._tallies and not self._thread.is_alive():
                return Left(0, "")
            return Left(len(self._calls), self.last_error or "The store did not answer in time.")

    def _run(self) -> None:
        failures = 0
        while self._wait(failures):
            try:
                self._write()
                failures = 0
                self.healthy, self.last_error = True, ""
            except StepdownError as error:
                failures += 1
                self._failed(failures, str(error))
            except Exception as error:  # the thread's outermost boundary: a driver's surprise must not end the capture
                failures += 1
                log.exception("store_failed")
                self._failed(failures, type(error).__name__)
        self._close()

    def _wait(self, failures: int) -> bool:
        """Sleep until there is something to write; False when it is time to end."""
        with self._lock:
            if failures and self._ending and not self._over():
                self._lock.wait(_FIRST_WAIT_S)
            elif failures:
                # More calls are no reason to try again sooner; being told to end is.
                wait_s = min(_FIRST_WAIT_S * 2 ** min(failures - 1, 10), _LONGEST_WAIT_S)
                self._lock.wait_for(lambda: self._ending, wait_s)
            while not (self._calls or self._tallies or self._ending):
                self._lock.wait()
            return not self._over()

    def _over(self) -> bool:
        return self._ending and (not (self._calls or self._tallies) or time.monotonic() >= self._until)

    def _failed(self, failures: int, why: str) -> None:
        if self.healthy:
            log.warning("store_failed", extra={"error": why})
        self.healthy, self.last_error = False, why
        self._pack_all()
        if failures % _REOPEN_AFTER == 0:
            self._close()  # A store that was moved or restored under our feet is found again by its address.

    def _write(self) -> None:
        if self._store is None:
            self._store = self._stack.enter_context(self._open_store())
        while self._calls:
            is_calm = len(self._calls) < _MANY
            block = self._first(_SMALL_BLOCK if is_calm else _BLOCK)
            try:
                self._store.add_calls(_calls(block))
            except StepdownError:
                raise
            except Exception:  # a call that no store can hold as it is: find it, keep the others
                log.exception("block_not_written")
                for one in block:
                    self._write_alone(one)
            self._forget(block)
            if is_calm:
                time.sleep(_BREATH_S)
        with self._lock:
            tallies, self._tallies = self._tallies, {}
        try:
            if tallies:
                self._store.add_served([sums.row(tally) for tally, sums in tallies.items()])
        except BaseException:
            with self._lock:
                merge(tallies, self._tallies)
                self._tallies = tallies
            raise

    def _write_alone(self, one: tuple[Call | EncodedCall | bytes, int]) -> None:
        assert self._store is not None
        try:
            packed = [_packed(call) for call in _calls([one])]
            self._store.add_calls(_calls([(call, 0) for call in packed]))
        except StepdownError:
            raise
        except Exception:  # as above: this is the one
            log.exception("call_not_written")
            self._dropped(UNWRITABLE, 1)

    def _first(self, count: int) -> list[tuple[Call | EncodedCall | bytes, int]]:
        with self._lock:
            return [self._calls[place] for place in range(min(count, len(self._calls)))]

    def _forget(self, block: list[tuple[Call | EncodedCall | bytes, int]]) -> None:
        with self._lock:
            for _ in block:
                _, size = self._calls.popleft()
                self.held_bytes -= size

    def _pack_all(self) -> None:
        with self._lock:
            packed: deque[tuple[Call | EncodedCall | bytes, int]] = deque()
            for one, _ in self._calls:
                try:
                    whole = one if isinstance(one, bytes) else _packed(one)
                except Exception:  # no store could hold it either
                    log.exception("call_not_packed")
                    self._dropped(UNWRITABLE, 1)
                else:
                    packed.append((whole, _size(whole)))
            self._calls, self.held_bytes = packed, sum(size for _, size in packed)

    def _close(self) -> None:
        stack, self._stack, self._store = self._stack, ExitStack(), None
        try:
            stack.close()
        except StepdownError as error:
            log.warning("store_not_closed", extra={"error": str(error)})


def _size(kept: EncodedCall | bytes) -> int:
    return len(kept.body if isinstance(kept, EncodedCall) else kept)


def _calls(block: list[tuple[Call | EncodedCall | bytes, int]]) -> Iterator[Call | EncodedCall]:
    for one, _ in block:
        yield _unpack(one) if isinstance(one, bytes) else one


def _packed(call: Call | EncodedCall) -> EncodedCall | bytes:
    """A call as msgpack, which has no whole number beyond 64 bits: those become text. An encoded one is packed."""
    if isinstance(call, EncodedCall):
        return call
    try:
        return _pack(call)
    except OverflowError:
        return _pack(msgspec.structs.replace(call, request=_fitting(call.request), response=_fitting(call.response)))


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fitting(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_fitting(each) for each in value]
    return value if not isinstance(value, int) or -(1 << 63) <= value < 1 << 64 else str(value)
