"""The one store there is, over any SQL database that a kind opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from stepdown.core.calls import Broken, Call, EncodedCall
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import StoreError
from stepdown.core.events import Event, next_event
from stepdown.core.keys import Key
from stepdown.core.store import VOLUNTEERED_JUDGE, Added, Gold, Served, Verdict
from stepdown.core.tasks import Task
from stepdown.stores.blocks import BLOCK_CALLS
from stepdown.stores.call_table import CallTable, chunks
from stepdown.stores.dialect import Database
from stepdown.stores.housekeeping import Housekeeping
from stepdown.stores.key_table import KeyTable
from stepdown.stores.migrations import migrate
from stepdown.stores.segment_table import SegmentTable
from stepdown.stores.served_table import ServedTable

T = TypeVar("T")

VOLUNTEERED = "volunteered"
_PUT_GOLD = (
    "INSERT INTO gold (id, gold, split, source, basis) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET gold = excluded.gold, split = excluded.split, source = excluded.source,"
    " basis = excluded.basis"
)
_PUT_VERDICT = (
    "INSERT INTO verdicts VALUES (?, ?, ?, ?) ON CONFLICT (id, answer) DO UPDATE SET"
    " loss = excluded.loss, judge = excluded.judge"
)
_UNLESS_JUDGED = " WHERE substr(verdicts.judge, 1, 9) = 'feedback:'"
_UNLESS_KEPT = " WHERE gold.basis = 'volunteered' OR excluded.basis <> 'volunteered'"

_decode_task = msgspec.json.Decoder(Task).decode


class SqlStore:
    """See core.store.Store. Calls are written a block at a time; a block is all or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calls = CallTable(database)
        self._housekeeping = Housekeeping(database)
        self._keys = KeyTable(database)
        self._served = ServedTable(database)
        self._segments = SegmentTable(database)
        migrate(database)

    def add_calls(self, calls: Iterable[Call | EncodedCall]) -> Added:
        """Add calls, a block per transaction. A known id is left as it is; one with other content counts as changed."""
        return self._calls.add(calls)

    def calls(self, workload: str | None = None, limit: int | None = None) -> Iterator[Call]:
        return self._calls.all(workload, limit)

    def calls_by_id(self, ids: Iterable[str]) -> Iterator[Call]:
        return self._calls.by_id(ids)

    def call_id_of(self, response_id: str) -> str | None:
        """The newest call whose response has that `id`. Calls kept before version 4 of the store are not found."""
        return self._calls.id_of_response(response_id)

    def count_calls(self, workload: str | None = None) -> int:
        return self._calls.count(workload)

    def workloads(self) -> dict[str, int]:
        return self._calls.workloads()

    def forget_calls(self, before: float, keep_gold: bool = True) -> int:
        """Delete calls from before that time (seconds since the epoch), those with gold only if told to.

        Calls that carry no time stay. Returns how many calls went; their answers and prompts are gone from the store's
        rows at once, from the database's files when it writes over the space. Gold and verdicts stay. Like `compact`,
        it may run while others read and write, but not while a reading of this same store is under way.
        """
        return self._housekeeping.forget(before, keep_gold)

    def compact(self) -> int:
        """Merge the small blocks that quick writers leave; ids and order stay. Returns how many blocks went."""
        return self._housekeeping.compact()

    def put_key(self, key: Key) -> None:
        self._keys.put(key)

    def keys(self) -> list[Key]:
        return self._keys.all()

    def revoke_key(self, key_id: str, at: float) -> bool:
        return self._keys.revoke(key_id, at)

    def add_served(self, rows: Iterable[Served]) -> None:
        self._served.add(rows)

    def take(self, segment: str, start: int, end: int, calls: Iterable[Call], served: Iterable[Served]) -> None:
        """Add what a segment holds from one position to another, all of it or nothing, and once: where the segment has
        been taken up to another position than `start` already, StoreError is raised."""
        with self._database.transaction():
            taken = self._segments.taken(segment)
            if taken != start:
                raise StoreError(f"Segment {segment} has been taken up to {taken}.", f"Expected {start}.", "Try again.")
            self._calls.add(calls)
            self._served.add(served)
            self._segments.put(segment, end)

    def taken(self, segment: str) -> int:
        """Up to where a segment has been taken, 0 for one that is not known."""
        return self._segments.taken(segment)

    def forget_segment(self, segment: str) -> None:
        self._segments.forget(segment)

    def sync(self) -> None:
        """Have the disk itself hold all that was written."""
        self._database.sync()

    def served(self, since_hour: int | None = None) -> Iterator[Served]:
        return self._served.since(since_hour)

    def served_sums(self, since_hour: int, until_hour: int | None = None) -> Iterator[Served]:
        """What was served from one hour until before another: a row per task and key, of that first hour."""
        return self._served.sums(since_hour, until_hour)

    def keep_broken(self, broken: Iterable[Broken]) -> int:
        rows = [(one.source, one.line, one.reason, one.raw.replace("\0", "�")) for one in broken]
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO broken VALUES (?, ?, ?, ?) ON CONFLICT (source, line) DO NOTHING", rows
            )
        return len(rows)

    def broken(self) -> Iterator[Broken]:
        for source, line, reason, raw in self._database.rows("SELECT * FROM broken ORDER BY source, line"):
            yield Broken(source=source, line=line, reason=reason, raw=raw)

    def add_gold(self, gold: Iterable[Gold], yielding: bool = False) -> Added:
        """Add trusted answers; a new answer for a known call replaces the old and counts as changed.

        yielding: gold that was not volunteered stays, so that what clients say changes no evidence.
        """

        def stays(row: tuple[Any, ...], old: tuple[Any, ...]) -> bool:
            return yielding and bool(row[4] == VOLUNTEERED != old[2])

        return self._upsert(
            gold,
            known=lambda one: ("SELECT gold, split, basis FROM gold WHERE id = ?", (one.id,)),
            row=lambda one: (one.id, canonical_json(one.gold).decode(), one.split, one.source, one.basis),
            same=lambda row, old: (*row[1:3], row[4]) == old or (stays(row, old) and row[1] == old[0]),
            stays=stays,
            sql=_PUT_GOLD + (_UNLESS_KEPT if yielding else ""),
        )

    def gold(self) -> dict[str, Gold]:
        return {
            name: Gold(id=name, gold=msgspec.json.decode(value), split=split, source=source, basis=basis)
            for name, value, split, source, basis in self._database.rows(
                "SELECT id, gold, split, source, basis FROM gold ORDER BY id"
            )
        }

    def add_verdicts(self, verdicts: Iterable[Verdict], yielding: bool = False) -> Added:
        """Add judges' verdicts; a new one about the same answer replaces the old. yielding: only what came as feedback
        is replaced."""
        return self._upsert(
            verdicts,
            stays=lambda row, old: yielding and not str(old[1]).startswith(VOLUNTEERED_JUDGE),
            known=lambda one: (
                "SELECT loss, judge FROM verdicts WHERE id = ? AND answer = ?",
                (one.id, canonical_json(one.answer).decode()),
            ),
            row=lambda one: (one.id, canonical_json(one.answer).decode(), one.loss, one.judge),
            same=lambda row, old: row[2:4] == old,
            sql=_PUT_VERDICT + (_UNLESS_JUDGED if yielding else ""),
        )

    def verdicts(self) -> Iterator[Verdict]:
        for name, answer, loss, judge in self._database.rows("SELECT * FROM verdicts ORDER BY id, answer"):
            yield Verdict(id=name, loss=loss, answer=msgspec.json.decode(answer), judge=judge)

    def put_task(self, task: Task) -> None:
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO tasks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                (task.name, canonical_json(task).decode()),
            )

    def tasks(self) -> dict[str, Task]:
        return {name: _decode_task(body) for name, body in self._database.rows("SELECT * FROM tasks ORDER BY name")}

    def append(self, kind: str, task: str, data: dict[str, Any], at: float) -> Event:
        """Append a fact to the journal; writers queue, so that the chain has no fork."""
        with self._database.serialised("events"):
            last = next(self._events(" ORDER BY sequence DESC LIMIT 1", ()), None)
            event = next_event(last, at, kind, task, data)
            self._database.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                (event.sequence, at, kind, task, canonical_json(data).decode(), event.previous, event.digest),
            )
        return event

    def events(self, kind: str | None = None, task: str | None = None) -> Iterator[Event]:
        asked = {"kind": kind, "task": task}
        given = {name: value for name, value in asked.items() if value is not None}
        where = " WHERE " + " AND ".join(f"{name} = ?" for name in given) if given else ""
        return self._events(f"{where} ORDER BY sequence", tuple(given.values()))

    def close(self) -> None:
        self._database.close()

    def _events(self, clause: str, values: tuple[Any, ...]) -> Iterator[Event]:
        for sequence, at, kind, task, data, previous, sealed in self._database.rows(
            f"SELECT sequence, at, kind, task, data, previous, digest FROM events{clause}",  # noqa: S608
            values,
        ):
            yield Event(
                sequence=sequence,
                at=at,
                kind=kind,
                task=task,
                data=msgspec.json.decode(data),
                previous=previous,
                digest=sealed,
            )

    def _upsert(
        self,
        items: Iterable[T],
        known: Callable[[T], tuple[str, tuple[Any, ...]]],
        row: Callable[[T], tuple[Any, ...]],
        same: Callable[[tuple[Any, ...], tuple[Any, ...]], bool],
        sql: str,
        stays: Callable[[tuple[Any, ...], tuple[Any, ...]], bool] = lambda row, old: False,
    ) -> Added:
        """same: whether a row says what the old one does. stays: whether the old one is left although it does not."""
        new = repeated = changed = kept = 0
        for chunk in chunks(items, BLOCK_CALLS):
            with self._database.transaction():
                for item in chunk:
                    old = next(self._database.rows(*known(item)), None)
                    fresh = row(item)
                    if old is not None and same(fresh, old):
                        repeated += 1
                        continue
                    if old is not None and stays(fresh, old):
                        kept += 1
                        continue
                    new, changed = new + (old is None), changed + (old is not None)
                    self._database.execute(sql, fresh)
        return Added(new=new, known=repeated, changed=changed, kept=kept)
