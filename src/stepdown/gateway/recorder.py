"""What becomes of every finished exchange in the process that answered it: counted, and in a segment before it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stepdown.core.calls import redacted
from stepdown.core.gateway import GatewaySettings
from stepdown.core.store import Store
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import Cost, Outcome, is_unanswered, outcome_of
from stepdown.gateway.records import Sums, Tallies, Tally, fitting, pack, pack_totals
from stepdown.gateway.segments import ROLL_BYTES, SUFFIX, Position, SegmentWriter, held_bytes, synchronise

log = logging.getLogger("stepdown.gateway")

CAPTURE_FULL, DISK, UNREADABLE = "capture-full", "disk", "unreadable"

_SEGMENTS_OF_ALL = 16
_FAILED_S = 5.0
"""How long a failure of the disk is told of: what is small may find room where a call did not."""


class Recorder:
    """For one event loop. What must be read before it may be written (masked bodies, calls that are not kept) is read
    on a thread; all else is written at once, and read by the mover.

    mask: applied where a task's contract says "redact", before anything is written. is_limited: whether somebody's
    budget or rate asks what an exchange used; charge: is told, soon after its end.
    """

    def __init__(
        self,
        folder: Path,
        settings: GatewaySettings,
        cost: Cost,
        mask: Callable[[str], str],
        metrics: Metrics,
        is_limited: Callable[[Exchange], bool],
        charge: Callable[[Exchange, Outcome], None],
    ) -> None:
        self._folder, self._settings, self._cost, self._mask, self._metrics = folder, settings, cost, mask, metrics
        self._is_limited, self._charge = is_limited, charge
        self._keeps_all = settings.unmatched_capture and settings.capture_share >= 1.0
        self._random = random.Random(os.urandom(16)).random
        self._loop = asyncio.get_running_loop()
        self._syncs, self._syncing = settings.sync == "group", False
        roll_bytes = min(ROLL_BYTES, settings.capture_bytes // _SEGMENTS_OF_ALL)
        self._writer = SegmentWriter(folder, roll_bytes, self._syncs)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stepdown-recorder")
        self._work: set[asyncio.Task[object]] = set()
        self._unwritten: Tallies = {}
        self._uncounted: list[Exchange] = []
        self._full_at = settings.capture_bytes
        self._failed_at = 0.0
        self._next_sync: asyncio.Future[None] | None = None
        self.held_bytes = 0
        """What all segments of the folder took at the last look."""
        self.under_way = 0
        """Exchanges that have begun and not ended."""
        self.cut = ""
        """Why what is under way ends now, in words; "" while it may go on."""
        self.lost = 0
        """Calls that were to be kept and could not be."""
        self.failure = ""
        """Why the disk does not take what is written, in words; "" where it has done for a while."""

    def keep(self, exchange: Exchange) -> Awaitable[object] | None:
        """Take a finished exchange. Before its last byte goes out, what is returned must be waited for, if anything."""
        self.under_way -= 1
        is_kept = not is_unanswered(exchange) and (self._keeps_all or self._is_kept(exchange))
        if is_kept and self._writer.written > self._full_at:
            self._lose(CAPTURE_FULL)
            is_kept = False
        if is_kept and (exchange.task is None or exchange.task.privacy != "redact") and self._append(exchange, None):
            if not self._uncounted:
                self._loop.call_soon(self._count_all)  # When the answer has gone out.
            self._uncounted.append(exchange)
            return self._synced() if self._syncs else None
        self._count(exchange, False)
        return asyncio.shield(self._begin(self._read_and_write(exchange, is_kept)))

    @property
    def is_full(self) -> bool:
        """Whether the segments hold as much as they may: because the store takes nothing, or more slowly."""
        return self._writer.written > self._full_at

    @property
    def position(self) -> Position:
        """What was recorded last."""
        return self._writer.position

    def has_landed(self, store: Store, position: Position) -> bool:
        """Whether everything up to a position is in the store. On the store's thread."""
        path = self._folder / f"{position.segment}{SUFFIX}"
        return not position.segment or not path.exists() or store.taken(position.segment) >= position.end

    async def look(self) -> None:
        """To be called every second: begin a new segment where that is due, see how much they hold, write sums of what
        found no room."""
        written = self._writer.written
        self.held_bytes = await self._loop.run_in_executor(self._thread, held_bytes, self._folder)
        self._full_at = written + self._settings.capture_bytes - self.held_bytes
        self._writer.look()
        self._write_sums()
        if self._loop.time() - self._failed_at > _FAILED_S:
            self.failure = ""

    async def close(self, within_s: float) -> None:
        """Wait until every exchange that was begun is recorded, for at most so long, and end the segment."""
        until = self._loop.time() + within_s
        while (self.under_way or self._work) and self._loop.time() < until:
            await asyncio.sleep(0.005)
        self._write_sums()
        self._writer.close()
        await self._loop.run_in_executor(None, synchronise, self._writer.unsynced())
        self._thread.shutdown(wait=False)

    def _count_all(self) -> None:
        finished, self._uncounted = self._uncounted, []
        for exchange in finished:
            self._count(exchange, True)

    def _count(self, exchange: Exchange, charges: bool) -> None:
        self._metrics.observe(exchange)
        if charges and self._is_limited(exchange):
            self._begin(self._read_and_charge(exchange, False))

    async def _read_and_charge(self, exchange: Exchange, is_kept: bool) -> Outcome:
        outcome = Outcome()
        if not is_unanswered(exchange):
            outcome = await self._loop.run_in_executor(self._thread, self._read, exchange, is_kept)
        if self._is_limited(exchange):
            self._charge(exchange, outcome)
        return outcome

    async def _read_and_write(self, exchange: Exchange, is_kept: bool) -> None:
        outcome = await self._read_and_charge(exchange, is_kept)
        if not self.is_full and self._append(exchange, outcome):
            if self._syncs:
                await self._synced()
            return
        if is_kept:
            self._lose(DISK)
        self._unwritten.setdefault(Tally.of(exchange), Sums()).add(exchange, outcome)

    def _read(self, exchange: Exchange, is_kept: bool) -> Outcome:
        """What an exchange amounts to, its call as it may be written."""
        try:
            outcome = outcome_of(exchange, self._cost)
            call, outcome.call = outcome.call, None
            if exchange.task is not None and exchange.task.privacy == "redact":
                exchange.workload, exchange.error = self._mask(exchange.workload), self._mask(exchange.error)
                call = redacted(call, self._mask) if call is not None and is_kept else None
            if call is not None and is_kept:
                outcome.call = fitting(call)
        except Exception:  # one exchange's failure is its own, and the answer's end waits for this
            log.exception("not_recorded", extra={"id": exchange.id})
            self._loop.call_soon_threadsafe(self._lose, UNREADABLE)
            exchange.workload = exchange.error = ""
            return Outcome()
        return outcome

    def _append(self, exchange: Exchange, outcome: Outcome | None) -> bool:
        try:
            self._writer.append(pack(exchange, outcome))
        except OSError as error:
            self._failed("not_written", error)
            return False
        except Exception:  # an exchange that no record can hold is answered all the same
            log.exception("not_recorded", extra={"id": exchange.id})
            return False
        return True

    def _write_sums(self) -> None:
        if not self._unwritten:
            return
        try:
            self._writer.append(pack_totals([sums.row(tally) for tally, sums in self._unwritten.items()]))
            self._unwritten = {}
        except OSError as error:
            self._failed("not_written", error)

    def _failed(self, event: str, error: OSError) -> None:
        if not self.failure:
            log.error(event, extra={"error": error.strerror})
        self.failure, self._failed_at = error.strerror or type(error).__name__, self._loop.time()

    def _lose(self, reason: str) -> None:
        self.lost += 1
        self._metrics.drop(reason)

    def _is_kept(self, exchange: Exchange) -> bool:
        if exchange.task is None and not self._settings.unmatched_capture:
            return False
        share = self._settings.capture_share
        return share >= 1.0 or self._random() < share

    def _synced(self) -> Awaitable[object]:
        if self._next_sync is None:
            self._next_sync = self._loop.create_future()
        if not self._syncing:
            self._syncing = True
            self._begin(self._sync())
        return asyncio.shield(self._next_sync)

    async def _sync(self) -> None:
        while (waiting := self._next_sync) is not None:
            self._next_sync = None
            try:
                await self._loop.run_in_executor(None, synchronise, self._writer.unsynced())
            except OSError as error:
                self._failed("not_synced", error)
            waiting.set_result(None)
        self._syncing = False

    def _begin(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        task = self._loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task
