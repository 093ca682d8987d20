"""Ids of calls: never the same twice, in whatever process."""

from __future__ import annotations

import multiprocessing

from tests.gateway.exchanges import exchange


def some_ids(count: int) -> list[str]:
    return [exchange().id for _ in range(count)]


def test_forked_workers_give_different_ids() -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = [name for names in pool.map(some_ids, [100] * 8, chunksize=1) for name in names]
    found += some_ids(100)
    assert len(set(found)) == len(found)
