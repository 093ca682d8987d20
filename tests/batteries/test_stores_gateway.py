"""What the gateway keeps, in every kind of store: keys, what was served, response ids."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from stepdown.core.calls import Call
from stepdown.core.errors import StoreError
from stepdown.core.keys import Key, token_digest
from stepdown.core.limits import Limits
from stepdown.core.store import ServedHour, Store
from stepdown.stores.store import open_store


def key(number: int, **more: Any) -> Key:
    given = {"id": f"k{number}", "name": f"app {number}", "digest": token_digest(str(number)), "prefix": "sk-stepdown-"}
    return Key(**{**given, "created_at": float(number), **more})


def answered(number: int, response_id: Any, **more: Any) -> Call:
    return Call(id=f"c{number}", request={}, response={"id": response_id}, timestamp=float(number), **more)


def test_keys_come_back_as_they_went_in_oldest_first(store: Store) -> None:
    full = key(1, expires_at=9.5, tasks=("a", "ü"), models=("m",), limits=Limits(usd_per_day=0.5, tokens_per_minute=10))
    store.put_key(key(2))
    store.put_key(full)
    assert store.keys() == [full, key(2)]
    renamed = msgspec.structs.replace(full, name="other")
    store.put_key(renamed)
    assert store.keys() == [renamed, key(2)]


def test_a_key_is_revoked_once_and_stays_known(store: Store) -> None:
    store.put_key(key(1))
    store.put_key(key(2))
    assert store.revoke_key("k1", at=7.0)
    assert not store.revoke_key("k1", at=8.0)
    assert not store.revoke_key("k3", at=8.0)
    assert store.keys() == [key(1, revoked_at=7.0), key(2)]


def test_two_keys_cannot_have_one_token(store: Store) -> None:
    store.put_key(key(1))
    with pytest.raises(StoreError):
        store.put_key(key(2, digest=key(1).digest))
    assert store.keys() == [key(1)]


def test_what_is_served_adds_up(store: Store) -> None:
    first = ServedHour(
        hour=5, task="t", key="k", rung="linear", requests=1, prompt_tokens=10, completion_tokens=2, latency_s=0.5
    )
    store.add_served([first, first, ServedHour(hour=4, rung="incumbent", requests=3, cost_usd=0.25, saved_usd=-0.5)])
    store.add_served([msgspec.structs.replace(first, cost_usd=0.125), msgspec.structs.replace(first, rung="error")])
    store.add_served([])
    assert list(store.served()) == [
        ServedHour(hour=4, rung="incumbent", requests=3, cost_usd=0.25, saved_usd=-0.5),
        msgspec.structs.replace(first, rung="error"),
        msgspec.structs.replace(
            first, requests=3, prompt_tokens=30, completion_tokens=6, cost_usd=0.125, latency_s=1.5
        ),
    ]
    assert [row.hour for row in store.served(since_hour=5)] == [5, 5]


def test_sums_of_some_hours_are_a_row_for_each_task_and_key(store: Store) -> None:
    rows = [
        ServedHour(hour=hour, task=task, key="k", rung=rung, requests=1, cost_usd=0.5, latency_s=0.25)
        for hour in range(5)
        for task in ("", "t")
        for rung in ("linear", "incumbent")
    ]
    store.add_served(rows)
    assert list(store.served_sums(1, 4)) == [
        ServedHour(hour=1, task=task, key="k", rung="", requests=6, cost_usd=3.0, latency_s=1.5) for task in ("", "t")
    ]
    assert [row.requests for row in store.served_sums(4)] == [2, 2]
    assert list(store.served_sums(9)) == []


def test_no_addition_is_lost_however_many_add(shared_address: str) -> None:
    open_store(shared_address).close()
    rows = [ServedHour(hour=1, task=f"t{task}", rung="linear", requests=1, cost_usd=0.5) for task in range(5)]

    def add(who: int) -> None:
        mine = open_store(shared_address)
        for _ in range(20):
            mine.add_served(rows if who % 2 else reversed(rows))
        mine.close()

    adders = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    store = open_store(shared_address)
    assert [(row.requests, row.cost_usd) for row in store.served()] == [(80, 40.0)] * 5
    store.close()


def test_a_call_is_found_by_its_responses_id_the_newest_first(store: Store) -> None:
    store.add_calls([answered(3, "r-3"), answered(1, "r-1"), answered(2, "r-1")])
    store.add_calls([answered(4, "r-4"), answered(0, "r-1")])
    assert store.call_id_of("r-1") == "c2"
    assert store.call_id_of("r-4") == "c4"
    assert store.call_id_of("r-5") is None


@pytest.mark.parametrize("response_id", ["", None, 7, {"id": "x"}, "x" * 100_000, "nul \0 inside", "naïve ✓"])
def test_any_response_id_can_be_kept(store: Store, response_id: Any) -> None:
    store.add_calls([answered(1, response_id), Call(id="none", request={}, response=None)])
    found = store.call_id_of(response_id) if isinstance(response_id, str) else store.call_id_of("")
    assert found == ("c1" if isinstance(response_id, str) and response_id else None)
    assert [one.id for one in store.calls()] == ["c1", "none"]


def test_a_store_is_written_in_one_thread_while_another_reads_its_own(shared_address: str) -> None:
    """The recorder's thread writes blocks; the event loop's thread looks for new keys now and then."""
    mine = open_store(shared_address)

    def record() -> None:
        for number in range(60):
            mine.add_calls([answered(number, f"r-{number}")])

    recorder = threading.Thread(target=record)
    recorder.start()
    seen = 0
    while recorder.is_alive():
        other = open_store(shared_address)
        other.put_key(key(seen))
        assert len(other.keys()) == seen + 1
        seen += 1
        other.close()
    recorder.join()
    assert mine.count_calls() == 60
    mine.close()


def test_what_a_segment_holds_is_taken_once_and_whole_or_not_at_all(store: Store) -> None:
    row = ServedHour(hour=5, rung="incumbent", requests=2)
    calls = [answered(number, f"r{number}") for number in range(3)]
    store.take("a", 0, 100, calls[:2], [row])
    assert (store.taken("a"), store.taken("b")) == (100, 0)
    with pytest.raises(StoreError):
        store.take("a", 0, 100, calls, [row])
    bad: Any = msgspec.structs.replace(row, requests="many" * 100, rung=None)
    with pytest.raises(Exception):  # noqa: B017, PT011 whatever a driver raises
        store.take("a", 100, 200, calls[2:], [bad])
    assert (store.taken("a"), store.count_calls(), [one.requests for one in store.served()]) == (100, 2, [2])
    store.take("a", 100, 200, calls, [row])
    assert (store.taken("a"), store.count_calls(), [one.requests for one in store.served()]) == (200, 3, [4])
    store.sync()
    store.forget_segment("a")
    store.forget_segment("a")
    assert store.taken("a") == 0
