"""The one store there is, over any SQL database that a kind opens."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec
import zstandard

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import canonical_json, digest
from stepdown.core.errors import StoreError
from stepdown.core.events import Event, next_event
from stepdown.core.store import Added, Gold, Verdict
from stepdown.core.tasks import Task
from stepdown.stores.dialect import Database
from stepdown.stores.migrations import migrate

T = TypeVar("T")

BLOCK_CALLS = 512
BLOCK_BYTES = 8 << 20
MAX_BLOCK_BYTES = 1 << 30

_encode = msgspec.msgpack.Encoder().encode
_decode_block = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_call = msgspec.msgpack.Decoder(Call).decode
_decode_task = msgspec.json.Decoder(Task).decode


class SqlStore:
    """See core.store.Store. Calls are written a block at a time; a block is all or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        migrate(database)

    def add_calls(self, calls: Iterable[Call]) -> Added:
        """Add calls, a block per transaction. A known id is left as it is; one with other content counts as changed."""
        total = Added()
        for batch in _batches(calls):
            added = self._add_block(batch)
            total = Added(
                new=total.new + added.new, known=total.known + added.known, changed=total.changed + added.changed
            )
        return total

    def calls(self, workload: str | None = None, limit: int | None = None) -> Iterator[Call]:
        where, values = ("", ()) if workload is None else (" WHERE workload = ?", (workload,))
        found = self._database.rows(f"SELECT block, slot FROM calls{where} ORDER BY block, slot", values)  # noqa: S608
        return self._read(itertools.islice(found, limit))

    def calls_by_id(self, ids: Iterable[str]) -> Iterator[Call]:
        for chunk in _chunks(ids, 500):
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT block, slot FROM calls WHERE id IN ({marks}) ORDER BY block, slot"  # noqa: S608
            yield from self._read(self._database.rows(sql, chunk))

    def count_calls(self, workload: str | None = None) -> int:
        where, values = ("", ()) if workload is None else (" WHERE workload = ?", (workload,))
        return int(next(self._database.rows(f"SELECT COUNT(*) FROM calls{where}", values))[0])  # noqa: S608

    def workloads(self) -> dict[str, int]:
        sql = "SELECT workload, COUNT(*) FROM calls GROUP BY workload ORDER BY workload"
        return {name: int(count) for name, count in self._database.rows(sql)}

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
            known=lambda one: ("SELECT gold, split FROM gold WHERE id = ?", (one.id,)),
            row=lambda one: (one.id, canonical_json(one.gold).decode(), one.split, one.source),
            same=lambda row, old: row[1:3] == old,
            sql="INSERT INTO gold VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " gold = excluded.gold, split = excluded.split, source = excluded.source",
        )

    def gold(self) -> dict[str, Gold]:
        return {
            name: Gold(id=name, gold=msgspec.json.decode(value), split=split, source=source)
            for name, value, split, source in self._database.rows("SELECT * FROM gold ORDER BY id")
        }

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> Added:
        return self._upsert(
            verdicts,
            known=lambda one: (
                "SELECT loss, judge FROM verdicts WHERE id = ? AND answer = ?",
                (one.id, canonical_json(one.answer).decode()),
            ),
            row=lambda one: (one.id, canonical_json(one.answer).decode(), one.loss, one.judge),
            same=lambda row, old: row[2:4] == old,
            sql="INSERT INTO verdicts VALUES (?, ?, ?, ?) ON CONFLICT (id, answer) DO UPDATE SET"
            " loss = excluded.loss, judge = excluded.judge",
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

    def _add_block(self, batch: list[tuple[Call, bytes]]) -> Added:
        hashes: dict[str, str] = {}
        fresh: dict[str, tuple[Call, bytes]] = {}
        repeated = changed = 0
        with self._database.transaction():
            known = self._digests([call.id for call, _ in batch])
            for call, encoded in batch:
                sealed = _content_digest(call)
                earlier = known.get(call.id) or hashes.get(call.id)
                if earlier is None:
                    hashes[call.id] = sealed
                    fresh[call.id] = (call, encoded)
                elif earlier == sealed:
                    repeated += 1
                else:
                    changed += 1
            if fresh:
                self._insert_block(fresh, hashes)
        return Added(new=len(fresh), known=repeated, changed=changed)

    def _insert_block(self, fresh: dict[str, tuple[Call, bytes]], hashes: dict[str, str]) -> None:
        block = _block_name(self._next_block())
        data = zstandard.ZstdCompressor(level=1).compress(
            _encode([msgspec.Raw(encoded) for _, encoded in fresh.values()])
        )
        self._database.execute("INSERT INTO blocks VALUES (?, ?)", (block, data))
        self._database.execute_many(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            [
                (call.id, call.workload_id, call.timestamp, block, slot, hashes[call.id])
                for slot, (call, _) in enumerate(fresh.values())
            ],
        )

    def _next_block(self) -> int:
        last = next(self._database.rows("SELECT MAX(block) FROM blocks"))[0]
        return int(last.split("-")[0]) + 1 if last else 1

    def _digests(self, ids: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in _chunks(ids, 500):
            marks = ",".join("?" * len(chunk))
            found.update(self._database.rows(f"SELECT id, digest FROM calls WHERE id IN ({marks})", chunk))  # noqa: S608
        return found

    def _read(self, places: Iterable[tuple[Any, ...]]) -> Iterator[Call]:
        for block, group in itertools.groupby(places, key=lambda place: place[0]):
            data = next(self._database.rows("SELECT data FROM blocks WHERE block = ?", (block,)))[0]
            try:
                encoded = _decode_block(zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_BLOCK_BYTES))
                for _, slot in group:
                    yield _decode_call(encoded[slot])
            except (zstandard.ZstdError, msgspec.DecodeError, IndexError) as error:
                raise StoreError(
                    f"Block {block} of the store cannot be read ({error}).",
                    "A block is a compressed list of calls.",
                    "Restore the store from a backup, or import the traffic again into a new project folder.",
                ) from None

    def _upsert(
        self,
        items: Iterable[T],
        known: Callable[[T], tuple[str, tuple[Any, ...]]],
        row: Callable[[T], tuple[Any, ...]],
        same: Callable[[tuple[Any, ...], tuple[Any, ...]], bool],
        sql: str,
    ) -> Added:
        new = repeated = changed = 0
        for chunk in _chunks(items, BLOCK_CALLS):
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


def _content_digest(call: Call) -> str:
    """Of all but where the call was read: a log that was moved or cut anew holds the same calls."""
    return digest(_encode(msgspec.structs.replace(call, source="")))[:32]


def _block_name(number: int) -> str:
    """Sorts in the order of writing; unique when two processes write at once."""
    return f"{number:012d}-{uuid.uuid4().hex[:8]}"


def _batches(calls: Iterable[Call]) -> Iterator[list[tuple[Call, bytes]]]:
    """Calls with their encoding, in blocks bounded in number and in bytes."""
    batch: list[tuple[Call, bytes]] = []
    size = 0
    for call in calls:
        encoded = _encode(call)
        batch.append((call, encoded))
        size += len(encoded)
        if len(batch) >= BLOCK_CALLS or size >= BLOCK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
