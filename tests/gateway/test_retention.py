"""Old calls go, those with gold stay, small blocks are merged; on every store that can be asked."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from stepdown.core.calls import Call
from stepdown.core.draw import FORGOTTEN
from stepdown.core.errors import StoreError
from stepdown.core.store import Gold, Store
from stepdown.gateway.mover import tidy
from stepdown.stores.store import open_store

DAY = 86_400.0
NOW = 1000 * DAY


@pytest.fixture
def address(tmp_path: Path) -> str:
    address = f"sqlite:{tmp_path / 'store.sqlite'}"
    with closing(open_store(address)) as store:
        for number in range(20):
            # One block each, as a quiet gateway writes them.
            store.add_calls([Call(id=str(number), request={}, response=None, timestamp=NOW - number * DAY)])
        store.add_gold([Gold(id="15", gold="yes")])
    return address


def names(address: str) -> list[int]:
    with closing(open_store(address)) as store:
        return sorted(int(call.id) for call in store.calls())


def test_what_is_older_goes_and_what_is_left_lies_together(address: str) -> None:
    assert tidy(lambda: closing(open_store(address)), 9.5 * DAY, NOW) == (9, 10)
    assert names(address) == [*range(10), 15]
    assert tidy(lambda: closing(open_store(address)), 9.5 * DAY, NOW) == (0, 0)
    with closing(open_store(address)) as store:
        [said] = [event.data for event in store.events(FORGOTTEN)]
    assert said == {"before": NOW - 9.5 * DAY, "calls": 9}


def test_without_a_term_everything_stays(address: str) -> None:
    assert tidy(lambda: closing(open_store(address)), None, NOW) == (0, 19)
    assert len(names(address)) == 20


def test_a_store_that_is_away_is_left_for_the_next_time() -> None:
    def away() -> AbstractContextManager[Store]:
        raise StoreError("The server is away.")

    assert tidy(away, DAY, NOW) is None
