"""Old calls go, small blocks become few, and nobody who reads or writes meanwhile notices."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.calls import Call
from stepdown.core.store import Gold, Store
from stepdown.stores.store import open_store


def call(number: int, text: str = "") -> Call:
    request = {"messages": [{"role": "user", "content": text or f"ask {number}"}]}
    return Call(id=f"c{number * 7919 % 100_003}", request=request, response={"id": f"r{number}"}, timestamp=number)


def fill(store: Store, sizes: list[int]) -> list[Call]:
    """Blocks of these many calls, one after the other, in the order of time."""
    calls: list[Call] = []
    for size in sizes:
        block = [call(len(calls) + number + 1) for number in range(size)]
        store.add_calls(block)
        calls.extend(block)
    return calls


def test_small_blocks_become_few_and_ids_and_order_stay(store: Store) -> None:
    calls = fill(store, [1] * 40 + [600, 3, 500, 12])
    went = store.compact()
    assert went == 41
    assert list(store.calls()) == calls
    assert store.compact() == 0
    more = [call(5000), call(5001)]
    store.add_calls(more[:1])
    store.add_calls(more[1:])
    assert store.compact() == 1
    assert list(store.calls()) == calls + more
    assert [store.call_id_of(one.response_id) for one in more] == [one.id for one in more]


def test_large_calls_are_not_merged_beyond_a_blocks_size(store: Store) -> None:
    calls = [call(number + 1, text=f"{number}" * 3_000_000) for number in range(5)]
    for one in calls:
        store.add_calls([one])
    assert store.compact() == 2
    assert list(store.calls()) == calls
    assert store.compact() == 0


def test_a_reader_under_way_misses_nothing(shared_address: str) -> None:
    mine, other = open_store(shared_address), open_store(shared_address)
    calls = fill(mine, [100] * 40)
    reading = other.calls()
    seen = [next(reading) for _ in range(50)]
    assert mine.compact() > 0
    seen.extend(reading)
    assert seen == calls
    mine.close()
    other.close()


def test_old_calls_go_and_those_with_gold_stay(store: Store) -> None:
    calls = fill(store, [20] * 5)
    store.add_gold([Gold(id=calls[3].id, gold="a"), Gold(id=calls[47].id, gold="b"), Gold(id="absent", gold="c")])
    assert store.forget_calls(before=51.0) == 48
    kept = [calls[3], calls[47], *calls[50:]]
    assert list(store.calls()) == kept
    assert [one.id for one in store.calls_by_id([calls[0].id, calls[3].id])] == [calls[3].id]
    assert store.call_id_of("r1") is None
    assert store.forget_calls(before=51.0) == 0
    assert store.compact() == 3
    assert list(store.calls()) == kept
    assert store.forget_calls(before=51.0, keep_gold=False) == 2
    assert list(store.calls()) == calls[50:]
    assert len(store.gold()) == 3


def test_all_may_go_and_the_store_goes_on(store: Store) -> None:
    fill(store, [3, 3])
    timeless = Call(id="timeless", request={}, response=None)
    store.add_calls([timeless])
    assert store.forget_calls(before=1e12) == 6
    assert list(store.calls()) == [timeless]
    assert store.add_calls([call(1)]).new == 1
    assert store.count_calls() == 2


def test_a_reader_under_way_misses_only_what_is_forgotten(shared_address: str) -> None:
    mine, other = open_store(shared_address), open_store(shared_address)
    calls = fill(mine, [100] * 40)
    reading = other.calls()
    seen = [next(reading) for _ in range(50)]
    mine.forget_calls(before=2001.0)
    seen.extend(reading)
    assert [one for one in seen if one.timestamp >= 2001.0] == calls[2000:]
    mine.close()
    other.close()


def test_tidying_beside_writers_loses_nothing(shared_address: str) -> None:
    open_store(shared_address).close()
    done = threading.Event()

    def write(who: int) -> None:
        mine = open_store(shared_address)
        for number in range(40):
            mine.add_calls([Call(id=f"{who}-{number}", request={}, response=None, timestamp=1.0 + number)])
        mine.close()

    def tidy() -> None:
        mine = open_store(shared_address)
        while not done.is_set():
            mine.compact()
            mine.forget_calls(before=11.0)
        mine.close()

    tidiers = [threading.Thread(target=tidy) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(who,)) for who in range(2)]
    for each in (*tidiers, *writers):
        each.start()
    for each in writers:
        each.join()
    done.set()
    for each in tidiers:
        each.join()
    store = open_store(shared_address)
    store.forget_calls(before=11.0)
    store.compact()
    found = [one.id for one in store.calls()]
    for who in range(2):
        assert [name for name in found if name.startswith(f"{who}-")] == [f"{who}-{number}" for number in range(10, 40)]
    store.close()


Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["add", "forget", "compact", "gold"]), st.integers(0, 60)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_sequence_of_tidying_is_as_if_it_were_a_list(steps: list[Step]) -> None:
    store = open_store("memory:")
    expected: list[Call] = []
    gold: set[str] = set()
    clock = 0
    for what, number in steps:
        if what == "add":
            fresh = [call(clock + each + 1) for each in range(number * 5)]
            clock += len(fresh)
            store.add_calls(fresh)
            expected.extend(fresh)
        elif what == "gold" and expected:
            chosen = expected[number % len(expected)].id
            store.add_gold([Gold(id=chosen, gold="x")])
            gold.add(chosen)
        elif what == "forget":
            before = clock * number / 60
            kept = [one for one in expected if one.timestamp >= before or one.id in gold]
            assert store.forget_calls(before) == len(expected) - len(kept)
            expected = kept
        else:
            store.compact()
        assert list(store.calls()) == expected
    store.close()
