"""A store from an event loop: one thing at a time, off the loop, and opened again after it failed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepdown.core.calls import Call
from stepdown.core.errors import StoreError
from stepdown.core.store import Store
from stepdown.project.home import Home, open_home
from stepdown.serve.async_store import AsyncStore


class CountingHome(Home):
    """A project that says how often its store was opened and closed."""

    opened = closed = 0

    @contextmanager
    def store(self) -> Iterator[Store]:
        type(self).opened += 1
        with super().store() as store:
            yield store
        type(self).closed += 1


@pytest.fixture
def home(tmp_path: Path) -> CountingHome:
    CountingHome.opened = CountingHome.closed = 0
    (tmp_path / "stepdown.toml").write_text("")
    return CountingHome(tmp_path, open_home(tmp_path).settings)


def add(store: Store) -> int:
    number = store.count_calls()
    store.add_calls([Call(id=str(number), request={}, response=None)])
    return number


def test_work_is_done_one_after_another_on_one_thread_that_is_not_the_loops(home: CountingHome) -> None:
    threads: set[str] = set()

    def work(store: Store) -> int:
        threads.add(threading.current_thread().name)
        return add(store)

    async def main() -> list[int]:
        store = AsyncStore(home)
        try:
            return await asyncio.gather(*(store.run(work) for _ in range(30)))
        finally:
            store.close()

    assert asyncio.run(main()) == list(range(30))
    assert len(threads) == 1
    assert threads.pop().startswith("stepdown-store")
    assert (home.opened, home.closed) == (1, 1)


def test_the_loop_goes_on_while_the_store_is_slow(home: CountingHome) -> None:
    go = threading.Event()

    async def main() -> None:
        store = AsyncStore(home)
        waiting = asyncio.ensure_future(store.run(lambda opened: go.wait(60.0)))
        await asyncio.sleep(0)
        assert not waiting.done()
        go.set()
        assert await waiting
        store.close()

    asyncio.run(main())


def test_nothing_is_opened_before_it_is_needed(home: CountingHome) -> None:
    async def main() -> None:
        AsyncStore(home).close()

    asyncio.run(main())
    assert home.opened == 0
    assert not home.state.exists()


def test_a_store_that_failed_is_opened_again_and_what_it_raised_is_told(home: CountingHome) -> None:
    def fails(store: Store) -> None:
        raise StoreError("The store is locked.", "Expected it free.", "Wait.")

    async def main() -> int:
        store = AsyncStore(home)
        await store.run(add)
        for _ in range(2):
            with pytest.raises(StoreError, match="locked"):
                await store.run(fails)
        try:
            return await store.run(lambda opened: opened.count_calls())
        finally:
            store.close()

    assert asyncio.run(main()) == 1
    assert (home.opened, home.closed) == (3, 3)


def test_another_error_is_told_and_leaves_the_store_open(home: CountingHome) -> None:
    def fails(store: Store) -> None:
        raise ValueError("of the work")

    async def main() -> None:
        store = AsyncStore(home)
        with pytest.raises(ValueError, match="of the work"):
            await store.run(fails)
        await store.run(add)
        store.close()

    asyncio.run(main())
    assert home.opened == 1


def test_closing_waits_for_what_was_begun(home: CountingHome) -> None:
    done = []

    def slow(store: Store) -> None:
        time.sleep(0.05)
        done.append(add(store))

    async def main() -> None:
        store = AsyncStore(home)
        begun = [asyncio.ensure_future(store.run(slow)) for _ in range(3)]
        await asyncio.sleep(0)
        store.close()
        assert done == [0, 1, 2]
        await asyncio.gather(*begun)

    asyncio.run(main())
    assert (home.opened, home.closed) == (1, 1)
