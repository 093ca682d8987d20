"""Every kind of store faces the same battery: a new file in `stores/kinds/` is tested unasked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import digest_of
from stepdown.core.events import verify_chain
from stepdown.core.served import Served
from stepdown.core.store import Added, Feedback, Gold, Store, Verdict
from stepdown.core.tasks import Match, Task
from stepdown.stores.store import open_store


def call(number: int, workload: str = "w", content: str = "yes") -> Call:
    response = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    request = {"model": "m", "messages": [{"role": "user", "content": f"naïve ✓ {number}"}]}
    return Call(id=f"c{number:05d}", request=request, response=response, workload_id=workload, timestamp=float(number))


def test_calls_come_back_as_they_went_in_and_in_order(store: Store) -> None:
    calls = [call(number) for number in range(1300)]
    assert store.add_calls(iter(calls)) == Added(new=1300)
    assert list(store.calls()) == calls
    assert list(store.calls(limit=7)) == calls[:7]
    assert store.count_calls() == 1300


def test_importing_twice_changes_nothing_and_is_counted(store: Store) -> None:
    store.add_calls([call(1), call(2)])
    assert store.add_calls([call(1), call(2, content="no"), call(3), call(3)]) == Added(new=1, known=2, changed=1)
    assert [one.content for one in store.calls()] == ["yes", "yes", "yes"]


def test_calls_by_workload_and_by_id(store: Store) -> None:
    store.add_calls([call(number, workload="ab"[number % 2]) for number in range(1200)])
    assert store.workloads() == {"a": 600, "b": 600}
    assert [one.id for one in store.calls("b", limit=2)] == ["c00001", "c00003"]
    asked = ["c00003", "c01100", "absent"]
    assert sorted(one.id for one in store.calls_by_id(asked)) == ["c00003", "c01100"]


def test_the_task_that_a_call_was_matched_to_is_kept_apart_from_what_the_client_called_it(store: Store) -> None:
    matched = [msgspec.structs.replace(call(number), task="t", workload_id="") for number in range(600)]
    named = [call(600, workload="w"), msgspec.structs.replace(call(601, workload="w"), task="other")]
    free = [call(602, workload=""), call(603, workload="elsewhere")]
    store.add_calls([*matched, *named, *free])
    assert store.workloads() == {"": 601, "w": 2, "elsewhere": 1}
    assert list(store.calls_kept_under(["t"], ["w", "t"])) == [*matched, named[0]]
    assert list(store.calls_kept_under(["t"], [""])) == [*matched, free[0]]
    assert list(store.calls_kept_under([], [])) == []
    assert list(store.check_calls()) == []


def test_a_task_that_is_forgotten_is_gone_and_the_journal_says_so(store: Store) -> None:
    task = Task(name="t", family="classify", match=Match(workload="w", names=("before",)))
    store.put_task(task, 1.0)
    store.forget_task("t", 2.0)
    store.forget_task("t", 3.0)
    assert store.tasks() == {}
    assert [(event.kind, event.at) for event in store.events(task="t")] == [
        ("task-remembered", 1.0),
        ("task-forgotten", 2.0),
    ]
    verify_chain(store.events())


def test_writing_while_reading(store: Store) -> None:
    store.add_calls([call(number) for number in range(2500)])
    for seen, one in enumerate(store.calls()):
        if seen % 1000 == 0:
            store.append("seen", "t", {"id": one.id}, at=1.0)
    assert len(list(store.events("seen"))) == 3


def test_an_interrupted_import_keeps_whole_blocks_and_goes_on(store: Store) -> None:
    def breaking() -> Iterator[Call]:
        yield from (call(number) for number in range(700))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add_calls(breaking())
    assert store.count_calls() == 512
    assert store.add_calls(call(number) for number in range(700)) == Added(new=188, known=512)


def test_gold_replaces_and_verdicts_are_per_answer(store: Store) -> None:
    assert store.add_gold([Gold(id="c1", gold="a", split="test"), Gold(id="c2", gold={"x": 1})]) == Added(new=2)
    assert store.add_gold([Gold(id="c1", gold="b", split="test"), Gold(id="c2", gold={"x": 1})]) == Added(
        known=1, changed=1
    )
    assert store.gold()["c1"] == Gold(id="c1", gold="b", split="test")
    assert store.add_gold([Gold(id="c3", gold="a", basis="volunteered")]) == Added(new=1)
    assert store.add_gold([Gold(id="c3", gold="b", basis="volunteered")]) == Added(changed=1)
    drawn = Gold(id="c3", gold="b", basis="drawn")
    assert store.add_gold([drawn]) == Added(changed=1)
    assert store.gold()["c3"] == drawn
    taken_back = Gold(id="c3", gold="b", basis="volunteered")
    assert store.add_gold([taken_back]) == Added(changed=1)
    assert store.gold()["c3"] == taken_back
    verdicts = [Verdict(id="c1", loss=0.5, judge="j"), Verdict(id="c1", loss=1.0, answer="a", judge="j")]
    assert store.add_verdicts(verdicts) == Added(new=2)
    assert store.add_verdicts(verdicts) == Added(known=2)
    assert sorted(store.verdicts(), key=lambda one: one.loss) == verdicts


def test_broken_records_and_tasks_are_kept(store: Store) -> None:
    one = Broken(source="f", line=3, reason="not JSON", raw="{\0")
    assert store.keep_broken([one, one]) == 2
    assert [(found.source, found.line) for found in store.broken()] == [("f", 3)]
    task = Task(name="t", family="classify", match=Match(workload="w"), labels=("a", "b"))
    store.put_task(task, at=1.0)
    store.put_task(task, at=1.0)
    assert store.tasks() == {"t": task}


def test_the_journal_is_one_chain_however_many_write(shared_address: str) -> None:
    address = shared_address
    open_store(address).close()

    def write(who: int) -> None:
        mine = open_store(address)
        for number in range(20):
            mine.append("wrote", f"t{who}", {"number": number}, at=float(number))
        mine.close()

    writers = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store = open_store(address)
    assert verify_chain(store.events()) == 80
    assert [event.data["number"] for event in store.events("wrote", "t2")] == list(range(20))
    store.close()


@pytest.mark.parametrize("data", [{}, {"nested": [1, 2.5, None, "ü"]}])
def test_an_event_reads_back_with_its_seal(store: Store, data: dict[str, Any]) -> None:
    event = store.append("kind", "task", data, at=12.25)
    assert list(store.events()) == [event]
    assert event.sealed() == event


def test_feedback_is_kept_beside_what_is_there(store: Store) -> None:
    """A chain of its own; the latest holds where nothing was imported, and what was imported holds over all."""
    store.add_gold([Gold(id="c1", gold="a", basis="drawn")])
    store.add_verdicts([Verdict(id="c1", loss=0.5, judge="j")])
    said = [
        Feedback(call="c1", kind="gold", value="x", key="k1", name="web"),
        Feedback(call="c2", kind="gold", value="x", key="k1", name="web"),
        Feedback(call="c2", kind="accepted", value={"y": 1}, key="k2", name="desk", comment="ü\0"),
        Feedback(call="c1", kind="rejected", value=1.0, name="web"),
        Feedback(call="c2", kind="score", value=0.25, answer="b", name="web"),
    ]
    events = [store.add_feedback("t", one, at=float(number)) for number, one in enumerate(said)]
    assert list(store.feedback()) == events
    assert verify_chain(store.feedback()) == 5
    assert store.last_feedback() == events[-1]
    assert store.gold() == {
        "c1": Gold(id="c1", gold="a", basis="drawn"),
        "c2": Gold(id="c2", gold={"y": 1}, source="feedback:desk", basis="volunteered"),
    }
    assert sorted(store.verdicts(), key=lambda one: one.id) == [
        Verdict(id="c1", loss=0.5, judge="j"),
        Verdict(id="c2", loss=0.25, answer="b", judge="feedback:web"),
    ]
    assert store.imported_gold("c2") is None
    assert list(store.events()) == []


def test_an_event_carries_what_the_tables_held(store: Store) -> None:
    told = []
    store.on_append(told.append)
    first = store.append("imported", "", {}, at=1.0, tables=("gold", "verdicts"))
    store.add_gold([Gold(id="c2", gold="b"), Gold(id="c1", gold="a")])
    second = store.append("imported", "", {"new": 2}, at=2.0, tables=("gold",))
    assert second.data == {"new": 2, "rows": {"gold": store.rows_digest("gold")}}
    assert first.data["rows"]["gold"] != second.data["rows"]["gold"]
    assert told == [first, second] == list(store.events())
    assert (store.last_event(), store.last_event("none"), store.event_at(1)) == (second, None, first)
    assert list(store.events(after=1)) == [second]


def test_how_a_task_is_remembered_is_journalled_once(store: Store) -> None:
    task = Task(name="t", family="classify", match=Match(workload="w"))
    for _ in range(2):
        store.put_task(task, at=1.0)
    (event,) = store.events("task-remembered")
    assert event.data == {"row": digest_of(task)}


def test_every_call_can_be_checked(store: Store) -> None:
    store.add_calls([call(number) for number in range(700)])
    store.add_calls([Call(id="s", request={}, response=None, served=Served(selection="holdback", probability=0.5))])
    assert list(store.check_calls()) == []
