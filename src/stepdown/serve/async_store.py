"""A store used from an event loop: one thread of its own, opened when first needed and again after it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from stepdown.core.errors import StepdownError
from stepdown.core.store import Store
from stepdown.project.home import Home

T = TypeVar("T")


class AsyncStore:
    """Everything but the capture of calls goes through here, one thing at a time, off the event loop."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stepdown-store")
        self._opened = ExitStack()
        self._store: Store | None = None

    async def run(self, work: Callable[[Store], T]) -> T:
        """What `work` returns, given the store. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def close(self) -> None:
        """Close the store when what was begun is done."""
        self._thread.submit(self._let_go)
        self._thread.shutdown(wait=True)

    def _do(self, work: Callable[[Store], T]) -> T:
        if self._store is None:
            self._store = self._opened.enter_context(self._home.store())
        try:
            return work(self._store)
        except StepdownError:
            self._let_go()
            raise

    def _let_go(self) -> None:
        self._store = None
        self._opened.close()
