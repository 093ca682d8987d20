"""The one store there is, over any SQL database that a kind opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.errors import StoreError, TamperedError
from stepdown.core.events import Event
from stepdown.core.keys import Key
from stepdown.core.store import VOLUNTEERED_JUDGE, Added, Feedback, Gold, ServedHour, Verdict
from stepdown.core.tasks import Match, Task
from stepdown.stores.blocks import BLOCK_CALLS
from stepdown.stores.call_table import CallTable, chunks
from stepdown.stores.chain_table import ChainTable
from stepdown.stores.dialect import Database
from stepdown.stores.housekeeping import Housekeeping
from stepdown.stores.key_table import KeyTable
from stepdown.stores.migrations import migrate
from stepdown.stores.segment_table import SegmentTable
from stepdown.stores.served_table import ServedTable

T = TypeVar("T")

_PUT_GOLD = (
    "INSERT INTO gold (id, gold, split, source, basis) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET gold = excluded.gold, split = excluded.split, source = excluded.source,"
    " basis = excluded.basis"
)
_PUT_VERDICT = (
    "INSERT INTO verdicts VALUES (?, ?, ?, ?) ON CONFLICT (id, answer) DO UPDATE SET"
    " loss = excluded.loss, judge = excluded.judge"
)
_GOLD = "SELECT id, gold, split, source, basis FROM gold"
_VERDICTS = "SELECT id, answer, loss, judge FROM verdicts"
_DIGESTED = {
    "gold": _GOLD,
    "verdicts": _VERDICTS,
}
"""The tables that people import into, and how their rows are read for a digest."""
SAME_RESPONSE = 20
"""How many calls are looked at whose responses have one id."""
REMEMBERED = "task-remembered"
"""The kind of the event that says how a task is now remembered."""
TASK_FORGOTTEN = "task-forgotten"
"""The kind of the event that says that a task is remembered no longer: it was renamed or taken in by another."""

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
        self._events = ChainTable(database, "events")
        self._feedback = ChainTable(database, "feedback")
        self._appended: Callable[[Event], None] | None = None
        migrate(database)

    def add_calls(self, calls: Iterable[Call]) -> Added:
        """Add calls, a block per transaction. A known id is left as it is; one with other content counts as changed."""
        return self._calls.add(calls)

    def calls(self, workload: str | None = None, limit: int | None = None) -> Iterator[Call]:
        return self._calls.all(workload, limit)

    def calls_kept_under(self, tasks: Iterable[str], workloads: Iterable[str]) -> Iterator[Call]:
        """In the order they came in: the calls that the gateway matched to a task of these names, and of those that it
        matched to none the ones that clients called by one of these workloads ("" for by none)."""
        return self._calls.kept_under(list(tasks), list(workloads))

    def calls_by_id(self, ids: Iterable[str]) -> Iterator[Call]:
        return self._calls.by_id(ids)

    def call_ids_of(self, response_id: str) -> list[str]:
        """The calls whose response has that `id`, the newest first, a few at most. Calls kept before version 4 of the
        store are not found."""
        return self._calls.ids_of_response(response_id, SAME_RESPONSE)

    def call_id_of(self, response_id: str) -> str | None:
        """The newest call whose response has that `id`."""
        return next(iter(self.call_ids_of(response_id)), None)

    def check_calls(self) -> Iterator[str]:
        """Reads everything and names, in a few words each, what of the database is damaged, and the calls that are not
        as they were written."""
        yield from self._database.damage()
        yield from self._calls.check()

    def have_calls(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that calls have."""
        return self._calls.known(ids)

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

    def add_served(self, rows: Iterable[ServedHour]) -> None:
        self._served.add(rows)

    def take(self, segment: str, start: int, end: int, calls: Iterable[Call], served: Iterable[ServedHour]) -> None:
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

    def served(self, since_hour: int | None = None) -> Iterator[ServedHour]:
        return self._served.since(since_hour)

    def served_sums(self, since_hour: int, until_hour: int | None = None) -> Iterator[ServedHour]:
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

    def add_gold(self, gold: Iterable[Gold]) -> Added:
        """Add trusted answers; a new answer for a known call replaces the old and counts as changed."""
        return self._upsert(
            gold,
            known=lambda one: ("SELECT gold, split, basis FROM gold WHERE id = ?", (one.id,)),
            row=lambda one: (one.id, canonical_json(one.gold).decode(), one.split, one.source, one.basis),
            same=lambda row, old: (*row[1:3], row[4]) == old,
            sql=_PUT_GOLD,
        )

    def gold(self) -> dict[str, Gold]:
        """What was imported and, for calls without such gold, the latest of what came as feedback."""
        found: dict[str, Gold] = {}
        for event in self.feedback():
            said = _said(event)
            if said.kind in ("gold", "accepted"):
                source = VOLUNTEERED_JUDGE + said.name
                found[said.call] = Gold(id=said.call, gold=said.value, source=source, basis="volunteered")
            elif said.kind == "withdrawn":
                found.pop(said.call, None)
        found.update((row[0], _gold(row)) for row in self._database.rows(_GOLD))
        return dict(sorted(found.items()))

    def remove_gold(self, ids: Iterable[str]) -> int:
        """Delete the imported gold of these calls; how many had some. What came as feedback stays."""
        removed = 0
        with self._database.transaction():
            for name in ids:
                removed += next(self._database.rows("SELECT COUNT(*) FROM gold WHERE id = ?", (name,)))[0]
                self._database.execute("DELETE FROM gold WHERE id = ?", (name,))
        return removed

    def imported_gold(self, call_id: str) -> Gold | None:
        return next((_gold(row) for row in self._database.rows(f"{_GOLD} WHERE id = ?", (call_id,))), None)

    def has_gold_value(self, name: str, value: Any) -> bool:
        """Whether some call that is kept under the name of a task or workload has that gold, imported. Looks at every
        gold of the task."""
        sql = (
            "SELECT gold.id FROM gold JOIN calls ON calls.id = gold.id"
            " WHERE ((calls.task = ? AND calls.task <> '') OR calls.workload = ?) AND gold.gold = ? LIMIT 1"
        )
        return next(self._database.rows(sql, (name, name, canonical_json(value).decode())), None) is not None

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> Added:
        """Add judges' verdicts; a new one about the same answer replaces the old."""
        return self._upsert(
            verdicts,
            known=lambda one: (
                "SELECT loss, judge FROM verdicts WHERE id = ? AND answer = ?",
                (one.id, canonical_json(one.answer).decode()),
            ),
            row=lambda one: (one.id, canonical_json(one.answer).decode(), one.loss, one.judge),
            same=lambda row, old: row[2:4] == old,
            sql=_PUT_VERDICT,
        )

    def verdicts(self) -> Iterator[Verdict]:
        """What was imported and, for answers without such a verdict, the latest of what came as feedback."""
        found: dict[tuple[str, bytes], Verdict] = {}
        for event in self.feedback():
            said = _said(event)
            if said.kind in ("rejected", "score"):
                judge = VOLUNTEERED_JUDGE + said.name
                verdict = Verdict(id=said.call, loss=float(said.value), answer=said.answer, judge=judge)
                found[said.call, canonical_json(said.answer)] = verdict
        for name, answer, loss, judge in self._database.rows(_VERDICTS):
            fields = {"id": name, "answer": answer, "loss": loss, "judge": judge}
            verdict = _read("verdicts", fields, "answer", Verdict)
            place = (verdict.id, canonical_json(verdict.answer))
            # Before version 6 of the store, feedback lay in this table too.
            if place not in found or not verdict.judge.startswith(VOLUNTEERED_JUDGE):
                found[place] = verdict
        yield from (found[place] for place in sorted(found))

    def add_feedback(self, task: str, feedback: Feedback, at: float) -> Event:
        """Keep a piece of feedback beside what is there, in a hash chain of its own."""
        with self._database.serialised("feedback"):
            return self._feedback.append(feedback.kind, task, msgspec.to_builtins(feedback), at)

    def feedback(self) -> Iterator[Event]:
        return self._feedback.all()

    def last_feedback(self) -> Event | None:
        return self._feedback.last()

    def put_task(self, task: Task, at: float) -> None:
        """Remember a task; where it is remembered otherwise, the journal has it in the same step."""
        body = canonical_json(task).decode()
        with self._database.serialised("events"):
            known = next(self._database.rows("SELECT body FROM tasks WHERE name = ?", (task.name,)), None)
            if known is not None and known[0] == body:
                return
            self._database.execute(
                "INSERT INTO tasks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                (task.name, body),
            )
            event = self._events.append(REMEMBERED, task.name, {"row": digest_of(task)}, at)
        self._tell(event)

    def tasks(self) -> dict[str, Task]:
        """Every task that is remembered. One whose row was damaged is known by its name alone, and is still one."""
        return {name: _task(name, body) for name, body in self._database.rows("SELECT * FROM tasks ORDER BY name")}

    def forget_task(self, name: str, at: float) -> None:
        """Remember a task no longer; the journal has it in the same step. Its calls stay."""
        with self._database.serialised("events"):
            if next(self._database.rows("SELECT name FROM tasks WHERE name = ?", (name,)), None) is None:
                return
            self._database.execute("DELETE FROM tasks WHERE name = ?", (name,))
            event = self._events.append(TASK_FORGOTTEN, name, {}, at)
        self._tell(event)

    def append(self, kind: str, task: str, data: dict[str, Any], at: float, tables: Iterable[str] = ()) -> Event:
        """Append a fact to the journal; writers queue, so that the chain has no fork. tables: whose rows' digests, as
        they are at this moment, the fact carries (`rows`)."""
        with self._database.serialised("events"):
            rows = {table: self.rows_digest(table) for table in tables}
            event = self._events.append(kind, task, {**data, "rows": rows} if rows else data, at)
        self._tell(event)
        return event

    def events(self, kind: str | None = None, task: str | None = None, after: int = 0) -> Iterator[Event]:
        return self._events.all(kind, task, after)

    def on_append(self, appended: Callable[[Event], None]) -> None:
        """Have `appended` called with every event of the journal once it is written."""
        self._appended = appended

    def last_event(self, kind: str | None = None) -> Event | None:
        return self._events.last(kind)

    def event_at(self, sequence: int) -> Event | None:
        return self._events.at(sequence)

    def rows_digest(self, table: str) -> str:
        """The sha256 over every row of the table "gold" or "verdicts", read as `gold` and `verdicts` read it: by no
        index, for a damaged one would show other rows."""
        return digest_of(sorted(digest_of(row) for row in self._database.rows(_DIGESTED[table])))

    def close(self) -> None:
        self._database.close()

    def _tell(self, event: Event) -> None:
        if self._appended is not None:
            self._appended(event)

    def _upsert(
        self,
        items: Iterable[T],
        known: Callable[[T], tuple[str, tuple[Any, ...]]],
        row: Callable[[T], tuple[Any, ...]],
        same: Callable[[tuple[Any, ...], tuple[Any, ...]], bool],
        sql: str,
    ) -> Added:
        """same: whether a row says what the old one does."""
        new = repeated = changed = 0
        for chunk in chunks(items, BLOCK_CALLS):
            with self._database.transaction():
                for item in chunk:
                    old = next(self._database.rows(*known(item)), None)
                    fresh = row(item)
                    if old is not None and same(fresh, old):
                        repeated += 1
                        continue
                    new, changed = new + (old is None), changed + (old is not None)
                    self._database.execute(sql, fresh)
        return Added(new=new, known=repeated, changed=changed)


def _said(event: Event) -> Feedback:
    try:
        return msgspec.convert(event.data, Feedback)
    except msgspec.ValidationError as error:
        raise TamperedError(
            f"Feedback {event.sequence} in the store cannot be read ({error}).", "", "Restore the store from a backup."
        ) from None


def _gold(row: tuple[Any, ...]) -> Gold:
    name, value, split, source, basis = row
    fields = {"id": name, "split": split, "source": source, "basis": basis}
    return _read("gold", {**fields, "gold": value}, "gold", Gold)


def _read(table: str, fields: dict[str, Any], coded: str, kind: type[T]) -> T:
    """A row of a table, one of whose columns is JSON. Raises TamperedError."""
    try:
        return msgspec.convert({**fields, coded: msgspec.json.decode(fields[coded])}, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        raise TamperedError(
            f"A row of the table {table!r} in the store cannot be read ({str(fields['id'])[:100]!r}).",
            "It was written whole.",
            "Restore the store from a backup, or import the same gold or verdicts again.",
        ) from None


def _task(name: str, body: str) -> Task:
    try:
        return _decode_task(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return Task(name=str(name), family="", match=Match(workload=str(name)))
