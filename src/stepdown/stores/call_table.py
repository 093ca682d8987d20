"""The calls: written a block at a time, read as a stream, found by id."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from stepdown.core.calls import Call
from stepdown.core.canonical import digest
from stepdown.core.errors import StoreError
from stepdown.core.served import Served
from stepdown.core.store import Added
from stepdown.stores.blocks import (
    batches,
    block_name,
    block_number,
    decode_call,
    encode_content,
    is_json,
    pack,
    read_slots,
    unpack,
)
from stepdown.stores.dialect import Database

T = TypeVar("T")

CHUNK = 500
_LONGEST_RESPONSE_ID = 200

Place = tuple[str, int, str]


class CallTable:
    """The tables `calls` (where each call lies) and `blocks` (the calls). A block is all or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, calls: Iterable[Call]) -> Added:
        total = Added()
        for batch in batches(calls):
            added = self._add_block(batch)
            total = Added(
                new=total.new + added.new, known=total.known + added.known, changed=total.changed + added.changed
            )
        return total

    def all(self, workload: str | None, limit: int | None) -> Iterator[Call]:
        where, values = _of(workload)
        found = self._database.rows(f"SELECT block, slot, id FROM calls{where} ORDER BY block, slot", values)  # noqa: S608
        return self._read(itertools.islice(found, limit))

    def kept_under(self, tasks: list[str], workloads: list[str]) -> Iterator[Call]:
        """Those that the gateway matched to a task of these names, and of those that it matched to none the ones that
        their clients called so."""
        found = f"task IN ({_marks(tasks)}) OR (task = '' AND workload IN ({_marks(workloads)}))"
        sql = f"SELECT block, slot, id FROM calls WHERE {found} ORDER BY block, slot"  # noqa: S608
        return self._read(self._database.rows(sql, (*tasks, *workloads)))

    def by_id(self, ids: Iterable[str]) -> Iterator[Call]:
        for chunk in chunks(ids, CHUNK):
            yield from self._read(self._places(chunk))

    def known(self, ids: Iterable[str]) -> set[str]:
        return {name for chunk in chunks(ids, CHUNK) for name in self._digests(chunk)}

    def count(self, workload: str | None) -> int:
        where, values = _of(workload)
        return int(next(self._database.rows(f"SELECT COUNT(*) FROM calls{where}", values))[0])  # noqa: S608

    def workloads(self) -> dict[str, int]:
        sql = "SELECT workload, COUNT(*) FROM calls GROUP BY workload ORDER BY workload"
        return {name: int(count) for name, count in self._database.rows(sql)}

    def ids_of_response(self, response_id: str, limit: int) -> list[str]:
        if not response_id:
            return []
        sql = "SELECT id FROM calls WHERE response_id = ? AND response_id <> '' ORDER BY at DESC, block DESC LIMIT ?"
        return [str(name) for (name,) in self._database.rows(sql, (_short(response_id), limit))]

    def check(self) -> Iterator[str]:
        """Names every row that is not as it was written: its call's content, its name, time or workload."""
        sql = "SELECT block, slot, id, workload, at, digest, response_id, task FROM calls ORDER BY block, slot"
        for block, group in itertools.groupby(self._database.rows(sql), key=lambda row: row[0]):
            rows = list(group)
            found = next(self._database.rows("SELECT data FROM blocks WHERE block = ?", (block,)), None)
            if found is None:
                yield f"block {block} is missing"
                continue
            try:
                encoded = unpack(block, found[0])
            except StoreError:
                yield f"block {block} cannot be read"
                continue
            for _, slot, name, workload, at, sealed, response_id, task in rows:
                if not _is_as_written(encoded, slot, (name, workload, at, task, response_id), sealed):
                    yield f"call {name}"

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
                elif earlier == sealed or earlier == _digest_without_trace(call):
                    repeated += 1
                else:
                    changed += 1
            if fresh:
                self._insert_block(fresh, hashes)
        return Added(new=len(fresh), known=repeated, changed=changed)

    def _insert_block(self, fresh: dict[str, tuple[Call, bytes]], hashes: dict[str, str]) -> None:
        block = block_name(self._next_block())
        data = pack(encoded for _, encoded in fresh.values())
        self._database.execute("INSERT INTO blocks VALUES (?, ?)", (block, data))
        self._database.execute_many(
            "INSERT INTO calls (id, workload, at, block, slot, digest, response_id, task)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            [
                (*_looked_up_by(call)[:3], block, slot, hashes[call.id], _short(call.response_id), call.task)
                for slot, (call, _) in enumerate(fresh.values())
            ],
        )

    def _next_block(self) -> int:
        last = next(self._database.rows("SELECT MAX(block) FROM blocks"))[0]
        return block_number(last) + 1 if last else 1

    def _digests(self, ids: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in chunks(ids, CHUNK):
            marks = ",".join("?" * len(chunk))
            found.update(self._database.rows(f"SELECT id, digest FROM calls WHERE id IN ({marks})", chunk))  # noqa: S608
        return found

    def _places(self, ids: list[str]) -> Iterator[Place]:
        marks = ",".join("?" * len(ids))
        sql = f"SELECT block, slot, id FROM calls WHERE id IN ({marks}) ORDER BY block, slot"  # noqa: S608
        return self._database.rows(sql, ids)

    def _read(self, places: Iterable[Any]) -> Iterator[Call]:
        for block, group in itertools.groupby(places, key=lambda place: place[0]):
            wanted = list(group)
            found = next(self._database.rows("SELECT data FROM blocks WHERE block = ?", (block,)), None)
            if found is not None:
                yield from read_slots(block, found[0], [slot for _, slot, _ in wanted])
                continue
            # Merged or forgotten since the places were read. A block's name is never used again, so that what is found
            # under it is always what was meant; the calls that are still there lie elsewhere, in the same order.
            for chunk in chunks([name for _, _, name in wanted], CHUNK):
                yield from self._read(list(self._places(chunk)))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _marks(values: list[str]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


def _of(workload: str | None) -> tuple[str, tuple[str, ...]]:
    return ("", ()) if workload is None else (" WHERE workload = ?", (workload,))


def _looked_up_by(call: Call) -> tuple[str, str, float, str]:
    return call.id, call.workload_id, call.timestamp, call.task


def _content_digest(call: Call) -> str:
    """Of all but where the call was read: a log that was moved or cut anew holds the same calls."""
    return digest(encode_content(call))[:32]


def _digest_without_trace(call: Call) -> str:
    """As `_content_digest` of calls that were read before importers kept trace and parent."""
    if call.served is None:
        return ""
    bare = msgspec.structs.replace(call.served, trace="", parent="")
    return _content_digest(msgspec.structs.replace(call, served=None if bare == Served() else bare))


def _is_as_written(encoded: list[msgspec.Raw], slot: int, row: tuple[Any, ...], sealed: str) -> bool:
    """Whether the call at a place of a block is the row's, with its digest."""
    try:
        raw = encoded[slot]
        call = decode_call(raw)
        content = digest(msgspec.msgpack.decode(raw, type=bytes))[:32] if is_json(raw) else _content_digest(call)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, TypeError):
        return False
    said = _looked_up_by(call)
    # Rows from before version 4 of the store have no response's id.
    return row in ((*said, _short(call.response_id)), (*said, "")) and content == sealed


def _short(response_id: str) -> str:
    """What a column can hold of a text that an upstream chose; asked for in the same words, it is found."""
    return response_id[:_LONGEST_RESPONSE_ID].replace("\0", "\ufffd")
