"""Who answered a call comes back from every kind of store as it went in, and calls of earlier versions say it too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.core.calls import Account, Call
from stepdown.core.canonical import digest
from stepdown.core.served import AskedRung, Served
from stepdown.core.store import Added, Store
from stepdown.stores.blocks import pack
from stepdown.stores.kinds import postgresql, sqlite
from stepdown.stores.store import open_store

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=80)
NUMBERS = st.floats(allow_nan=False)
ASKED = st.builds(AskedRung, NAMES, NUMBERS, NUMBERS, st.lists(NUMBERS, max_size=6).map(tuple))
SERVED = st.builds(
    Served,
    rung=NAMES,
    cached=st.booleans(),
    reason=NAMES,
    build=NAMES,
    cascade=NAMES,
    certificate=NAMES,
    asked=st.lists(ASKED, max_size=4).map(tuple),
    selection=st.sampled_from(("", "holdback", "escalated")),
    probability=st.floats(0.0, 1.0, exclude_min=True),
    trace=NAMES,
    parent=NAMES,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(served=st.lists(st.none() | SERVED, min_size=1, max_size=8))
def test_what_decided_an_answer_comes_back_as_it_went_in(store: Store, served: list[Served | None]) -> None:
    start = store.count_calls()
    calls = [
        Call(id=f"c{start + number:06d}", request={"n": number}, response=None, served=one)
        for number, one in enumerate(served)
    ]
    assert store.add_calls(calls) == Added(new=len(calls))
    assert list(store.calls_by_id([call.id for call in calls])) == calls
    assert store.add_calls(calls) == Added(known=len(calls))
    assert list(store.check_calls()) == []


def test_who_answered_is_a_part_of_what_is_checked(store: Store) -> None:
    one = Call(id="c", request={}, response={}, served=Served(rung="linear", certificate="a"))
    store.add_calls([one])
    other = msgspec.structs.replace(one, served=Served(rung="linear", certificate="b"))
    assert store.add_calls([other]) == Added(changed=1)


def test_a_file_imported_before_traces_were_kept_is_known_when_it_is_imported_again(store: Store) -> None:
    plain = Call(id="c", request={}, response={}, provider="openai")
    cached = Call(id="d", request={}, response={}, served=Served(cached=True))
    store.add_calls([plain, cached])
    again = [
        msgspec.structs.replace(plain, served=Served(trace="t", parent="p")),
        msgspec.structs.replace(cached, served=Served(cached=True, trace="t")),
    ]
    assert store.add_calls(again) == Added(known=2)


def old(name: str, **fields: Any) -> dict[str, Any]:
    """A call as version 8 of the store had it."""
    call = {
        "id": name,
        "request": {"model": "m", "messages": [{"role": "user", "content": f"stepdown/ and holdback of {name}"}]},
        "response": {"id": f"r-{name}", "choices": []},
        "timestamp": 7.5,
        "client_id": "",
        "workload_id": "",
        "latency_s": 0.25,
        "cost_usd": 0.5,
        "provider": "",
        "error": "",
        "source": "gateway",
        "selection": "",
        "selection_probability": 1.0,
        "account": {"spent_usd": 0.5, "saved_usd": 0.25, "estimated": False},
        "task": "t",
    }
    return call | fields


def new(one: dict[str, Any], served: Served | None, provider: str = "") -> Call:
    return Call(
        **{name: value for name, value in one.items() if not name.startswith(("selection", "account", "provider"))},
        provider=provider,
        account=Account(**one["account"]),
        served=served,
    )


OLD = [
    (old("a", provider="stepdown/linear"), Served(rung="linear"), ""),
    (old("b", provider="openai"), None, "openai"),
    (old("c", provider="cache", selection="escalated"), Served(cached=True, selection="escalated"), ""),
    (old("d", provider="stepdown/cache"), Served(rung="cache", cached=True), ""),
    (
        old("e", provider="openai", selection="holdback", selection_probability=0.125),
        Served(selection="holdback", probability=0.125),
        "openai",
    ),
    (old("f", provider="claude", selection="escalated", latency_s=None), Served(selection="escalated"), "claude"),
]


def of_version_8(address: str, blocks: list[list[bytes]], digests: list[list[str]]) -> None:
    """Put these encoded calls into a store as the version before wrote them."""
    kind = postgresql.PostgresDatabase if address.startswith("postgresql") else sqlite.SqliteDatabase
    database = kind(address if address.startswith("postgresql") else address.split(":", 1)[1])
    with database.transaction():
        for number, encoded in enumerate(blocks, 1):
            name = f"{number:012d}-00000000"
            database.execute("INSERT INTO blocks VALUES (?, ?)", (name, pack(encoded)))
            database.execute_many(
                "INSERT INTO calls (id, workload, at, block, slot, digest, response_id, task)"
                " VALUES (?, '', 7.5, ?, ?, ?, ?, 't')",
                [
                    (one["id"], name, slot, digests[number - 1][slot], f"r-{one['id']}")
                    for slot, (one, _, _) in enumerate(OLD)
                ]
                if number == 1
                else [("json", name, 0, digests[1][0], "r-json")],
            )
        database.execute("DELETE FROM schema_version")
        database.execute("INSERT INTO schema_version VALUES (8)")
    database.close()


def test_calls_of_the_version_before_say_who_answered(shared_address: str) -> None:
    def sealed(one: dict[str, Any]) -> str:
        later = {"selection", "selection_probability", "account", "task", "source"}
        first = {name: value for name, value in one.items() if name not in later}
        first["source"] = one["source"]
        picked = {key: one[key] for key in ("selection", "selection_probability")} if one["selection"] else {}
        content = first | picked | {"account": one["account"], "task": one["task"]} | {"source": ""}
        return digest(msgspec.msgpack.encode(content))[:32]

    open_store(shared_address).close()
    came_as_json = msgspec.json.encode(old("json", provider="stepdown/encoder"))
    blocks = [
        [msgspec.msgpack.encode(one) for one, _, _ in OLD],
        [msgspec.msgpack.encode(came_as_json)],
    ]
    of_version_8(shared_address, blocks, [[sealed(one) for one, _, _ in OLD], [digest(came_as_json)[:32]]])
    store = open_store(shared_address)
    expected = [new(one, served, provider) for one, served, provider in OLD]
    expected.append(new(old("json"), Served(rung="encoder")))
    assert list(store.calls()) == expected
    assert list(store.check_calls()) == []
    assert store.add_calls(expected) == Added(known=len(expected))
    assert [call.rung for call in store.calls()] == ["linear", "", "", "cache", "", "", "encoder"]
    store.close()
    again = open_store(shared_address)
    assert list(again.calls()) == expected
    again.close()


@pytest.mark.parametrize("damage", [b"", b"no block"])
def test_a_damaged_block_does_not_keep_a_store_of_the_version_before_from_opening(
    shared_address: str, damage: bytes
) -> None:
    store = open_store(shared_address)
    store.add_calls([Call(id="c", request={}, response=None)])
    store.close()
    kind = postgresql.PostgresDatabase if shared_address.startswith("postgresql") else sqlite.SqliteDatabase
    database = kind(shared_address if shared_address.startswith("postgresql") else shared_address.split(":", 1)[1])
    with database.transaction():
        database.execute("UPDATE blocks SET data = ?", (damage,))
        database.execute("DELETE FROM schema_version")
        database.execute("INSERT INTO schema_version VALUES (8)")
    database.close()
    store = open_store(shared_address)
    assert any("cannot be read" in said for said in store.check_calls())
    store.close()
