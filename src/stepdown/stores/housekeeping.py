"""Blocks put in order: old calls forgotten, small blocks merged. Safe beside readers and writers.

A block is never changed. What takes its place has a new name, and a reader that no longer finds a block looks its calls
up again (see call_table); so a reader misses no call that stays.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stepdown.stores.blocks import BLOCK_BYTES, BLOCK_CALLS, pack, rewritten_name, unpack
from stepdown.stores.call_table import CHUNK, chunks
from stepdown.stores.dialect import Database

_CALLS_AT_ONCE = 20_000

Packed = list[tuple[str, msgspec.Raw]]
"""Ids, each with its call as it lies in a block."""


class Housekeeping:
    """Works on the tables of `CallTable`, one block or one merged block per transaction: writers wait milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._full_up_to = ""

    def forget(self, before: float, keep_gold: bool) -> int:
        """Delete the calls from before that time. Returns how many."""
        self._full_up_to = ""
        return sum(self._forget(block, before, keep_gold) for block in self._aged_blocks(before, keep_gold))

    def compact(self) -> int:
        """Merge neighbours that fit into one block, so that any two hold more than one may. Returns how many went."""
        return sum(self._merge(run) for run in self._runs())

    def _aged_blocks(self, before: float, keep_gold: bool) -> Iterator[str]:
        sql = (
            f"SELECT DISTINCT block FROM (SELECT block FROM calls WHERE {_aged(keep_gold)}"  # noqa: S608
            f" ORDER BY at LIMIT {_CALLS_AT_ONCE}) AS aged"
        )
        while found := [block for (block,) in self._database.rows(sql, (before,))]:
            yield from found

    def _forget(self, block: str, before: float, keep_gold: bool) -> int:
        sql = f"SELECT id FROM calls WHERE {_aged(keep_gold)} AND block = ?"  # noqa: S608
        # Two that tidy up wait for each other; the second sees what the first did.
        with self._database.serialised("blocks"):
            aged = {name for (name,) in self._database.rows(sql, (before, block))}
            kept = [one for one in self._load(block) if one[0] not in aged] if aged else []
            for chunk in chunks(sorted(aged), CHUNK):
                marks = ",".join("?" * len(chunk))
                self._database.execute(f"DELETE FROM calls WHERE id IN ({marks})", chunk)  # noqa: S608
            if aged:
                self._replace([block], kept)
        return len(aged)

    def _runs(self) -> Iterator[list[str]]:
        """Neighbouring blocks that hold together no more calls than one may."""
        sql = "SELECT block, COUNT(*) FROM calls WHERE block >= ? GROUP BY block ORDER BY block"
        run: list[str] = []
        size = 0
        for block, count in list(self._database.rows(sql, (self._full_up_to,))):
            if run and size + int(count) > BLOCK_CALLS:
                # Writers only add at the end: nothing before this run will ever need another look.
                self._full_up_to = run[0]
                yield run
                run, size = [], 0
            run.append(block)
            size += int(count)
        yield run

    def _merge(self, run: list[str]) -> int:
        if len(run) < 2:
            return 0
        went = 0
        blocks: list[str] = []
        calls: Packed = []
        with self._database.serialised("blocks"):
            for block in run:
                found = self._load(block)
                if not found:
                    break  # Someone else tidies up here. What he made may lie between ours: order comes first.
                if calls and _size(calls) + _size(found) > BLOCK_BYTES:
                    went += self._join(blocks, calls)
                    blocks, calls = [], []
                blocks.append(block)
                calls.extend(found)
            return went + self._join(blocks, calls)

    def _join(self, blocks: list[str], calls: Packed) -> int:
        if len(blocks) < 2:
            return 0
        self._replace(blocks, calls)
        return len(blocks) - 1

    def _load(self, block: str) -> Packed:
        """A block's calls in order; none where the block is gone."""
        data = next(self._database.rows("SELECT data FROM blocks WHERE block = ?", (block,)), None)
        encoded = unpack(block, data[0]) if data else []
        sql = "SELECT id, slot FROM calls WHERE block = ? ORDER BY slot"
        return [(name, encoded[slot]) for name, slot in self._database.rows(sql, (block,))] if data else []

    def _replace(self, blocks: list[str], calls: Packed) -> None:
        for block in blocks:
            self._database.execute("DELETE FROM blocks WHERE block = ?", (block,))
        if not calls:
            return
        name = rewritten_name(blocks[0])
        self._database.execute("INSERT INTO blocks VALUES (?, ?)", (name, pack(one for _, one in calls)))
        self._database.execute_many(
            "UPDATE calls SET block = ?, slot = ? WHERE id = ?",
            [(name, slot, call_id) for slot, (call_id, _) in enumerate(calls)],
        )


def _size(calls: Packed) -> int:
    return sum(memoryview(one).nbytes for _, one in calls)


def _aged(keep_gold: bool) -> str:
    """A call without a time (0) is of no known age, and stays."""
    spared = " AND NOT EXISTS (SELECT 1 FROM gold WHERE gold.id = calls.id)" if keep_gold else ""
    return f"at < ? AND at > 0{spared}"
