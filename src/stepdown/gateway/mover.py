"""What moves finished calls out of segments into the store, each once, and deletes segments that are wholly there.

How far a segment has been taken is written in the transaction that takes it: the next mover after a death goes on from
there. A store that takes nothing is tried again; meanwhile segments stay.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from stepdown.core.calls import Call
from stepdown.core.draw import FORGOTTEN
from stepdown.core.errors import StepdownError
from stepdown.core.store import ServedHour, Store
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import Cost, Outcome, outcome_of
from stepdown.gateway.records import Sums, Tallies, Tally, fill_in, fitting, unpack
from stepdown.gateway.segments import Position, held_bytes, is_held, read_records, segments

log = logging.getLogger("stepdown.gateway")

OpenStore = Callable[[], AbstractContextManager[Store]]
Listener = Callable[[Exchange, Outcome], None]
"""Told of every exchange that has been moved: traces, log lines."""

DAMAGED, UNREADABLE, UNWRITABLE = "damaged", "unreadable", "unwritable"
_TAKEN = ".taken"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


class Mover:
    """One for a folder: `alone` says whether it is. For one thread at a time."""

    def __init__(
        self, folder: Path, open_store: OpenStore, cost: Cost, metrics: Metrics, listeners: Sequence[Listener] = ()
    ) -> None:
        self._folder, self._open_store, self._cost = folder, open_store, cost
        self._metrics, self._listeners = metrics, listeners
        self._stack = ExitStack()
        self._store: Store | None = None
        self._lock = -1
        self._failures = 0
        self._retry_at = 0.0
        self._taken: dict[str, int] = {}
        self._unreadable: set[Path] = set()
        self.last_error = ""
        self.deleted_bytes = 0
        """Of segments that were taken to their end."""

    def alone(self) -> bool:
        """Whether no other process moves what is in this folder, now and as long as this one lives."""
        if self._lock < 0:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / "mover.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            self._lock = lock
        return True

    def move(self, at_most: int = 1 << 30) -> int:
        """Move what there is, or about so many records; how many. 0 where the store does not take them, or is not to be
        tried yet. A file that cannot be read keeps no other from being moved."""
        if not self.alone() or time.monotonic() < self._retry_at:
            return 0
        moved = 0
        try:
            for path in segments(self._folder):
                try:
                    moved += self._move(path, at_most - moved)
                except (OSError, ValueError) as error:
                    if path not in self._unreadable:
                        log.error("segment_not_read", extra={"segment": path.name, "error": str(error)})
                    self._unreadable.add(path)
        except StepdownError as error:
            self._failed(str(error))
        except Exception as error:  # a driver's surprise must not end the moving
            log.exception("store_failed")
            self._failed(type(error).__name__)
        else:
            self._failures, self.last_error = 0, ""
        return moved

    def waiting_bytes(self) -> int:
        """Of records that are not in the store yet, as far as is known."""
        return max(0, held_bytes(self._folder) - sum(self._taken.values()))

    def close(self) -> None:
        self._stack.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _move(self, path: Path, at_most: int) -> int:
        name, moved = path.stem, 0
        if self._store is None:
            self._store = self._stack.enter_context(self._open_store())
        store = self._store
        is_ended = not is_held(path)
        at = self._taken.get(name)
        if at is None:
            at = store.taken(name)
        while moved < at_most:
            records = read_records(path, at, is_ended)
            if records.end <= at:
                break
            self._take(store, Position(name, at), records.end, records.payloads)
            if records.damaged:
                self._metrics.drop(DAMAGED, records.damaged)
                self._metrics.publish(at_once=True)
                log.error("segment_damaged", extra={"segment": name, "places": records.damaged})
            at = self._taken[name] = records.end
            moved += len(records.payloads)
        else:
            return moved
        if is_ended:
            # Under a name that says so first: were it found again as a segment, its calls would be taken once more.
            store.sync()
            self.deleted_bytes += at
            path.rename(path.with_suffix(_TAKEN))
            for taken in self._folder.glob(f"*{_TAKEN}"):
                store.forget_segment(taken.stem)
                taken.unlink(missing_ok=True)
                self._taken.pop(taken.stem, None)
        return moved

    def _take(self, store: Store, start: Position, end: int, payloads: Sequence[bytes]) -> None:
        calls: list[Call] = []
        tallies: Tallies = {}
        rows: list[ServedHour] = []
        told: list[tuple[Exchange, Outcome]] = []
        for payload in payloads:
            try:
                found = unpack(payload)
            except (msgspec.MsgspecError, ValueError, LookupError):  # Of another version.
                self._metrics.drop(UNREADABLE)
                continue
            if isinstance(found, list):
                rows += found
                continue
            exchange, outcome = found
            if outcome is None:
                outcome = self._read(exchange)
            tallies.setdefault(Tally.of(exchange), Sums()).add(exchange, outcome)
            if outcome.call is not None:
                calls.append(outcome.call)
            told.append((exchange, outcome))
        rows += [sums.row(tally) for tally, sums in tallies.items()]
        try:
            store.take(start.segment, start.end, end, calls, rows)
        except StepdownError:
            raise
        except Exception:  # a call that no store can hold as it is: find it, keep the others
            log.exception("block_not_written")
            for call in calls:
                self._add_alone(store, call)
            store.take(start.segment, start.end, end, (), rows)
        self._metrics.add(rows)
        self._metrics.publish()
        for listener in self._listeners:
            for exchange, outcome in told:
                try:
                    listener(exchange, outcome)
                except Exception:  # a listener's failure is its own: the call is kept, the other listeners are told
                    log.exception("listener_failed")

    def _read(self, exchange: Exchange) -> Outcome:
        try:
            fill_in(exchange)
            return outcome_of(exchange, self._cost)
        except Exception:  # one exchange's failure is its own, and it is counted all the same
            log.exception("not_recorded", extra={"id": exchange.id})
            self._metrics.drop(UNREADABLE)
            return Outcome()

    def _add_alone(self, store: Store, call: Call) -> None:
        try:
            store.add_calls([fitting(call)])
        except StepdownError:
            raise
        except Exception:  # as above: this is the one
            log.exception("call_not_written", extra={"id": call.id})
            self._metrics.drop(UNWRITABLE)

    def _failed(self, why: str) -> None:
        if not self.last_error:
            log.warning("store_failed", extra={"error": why})
        self.last_error = why
        self._retry_at = time.monotonic() + min(_FIRST_WAIT_S * 2 ** min(self._failures, 10), _LONGEST_WAIT_S)
        self._failures += 1
        # A store that was moved or restored under our feet is found again by its address, and asked what it has.
        self._taken.clear()
        self._stack.close()
        self._store = None


log = logging.getLogger("stepdown.gateway")


class Tidied(NamedTuple):
    """Calls that were forgotten, blocks that were merged away."""

    forgotten: int
    merged: int


def tidy(open_store: OpenStore, keep_s: float | None, now: float) -> Tidied | None:
    """Forget and merge, in small steps: who writes waits milliseconds. None where the store failed, which is logged.

    keep_s: how long calls are kept, None for ever; those with gold are kept in any case. now: epoch seconds.
    """
    try:
        with open_store() as store:
            forgotten = store.forget_calls(now - keep_s) if keep_s is not None else 0
            if keep_s is not None and forgotten:
                # What is left from before has gold, and is no sample of the calls that there were.
                store.append(FORGOTTEN, "", {"before": now - keep_s, "calls": forgotten}, at=now)
            tidied = Tidied(forgotten, store.compact())
    except StepdownError as error:
        log.warning("not_tidied", extra={"error": str(error)})
        return None
    log.info("tidied", extra=tidied._asdict())
    return tidied
