"""What is independent of what: as the contract says, else as the calls show."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.calls import Call
from stepdown.core.contract import Contract
from stepdown.core.errors import ContractError
from stepdown.core.tasks import Match, Task
from stepdown.curation.curate import curate
from stepdown.curation.options import CurationOptions
from stepdown.curation.units import share_alike, share_in_bursts, unit_names, units

TASK = Task(name="t", family="classify", match=Match())


def call(n, metadata=None, **fields):
    request = {"model": "m", "messages": [{"role": "user", "content": f"question {n * n} {n * 7919 % 10007}"}]}
    if metadata is not None:
        request["metadata"] = metadata
    return Call(id=f"{n:05}", request=request, response={"choices": [{"message": {"content": "ab"[n % 2]}}]}, **fields)


def curated(calls, unit=""):
    dataset = curate(calls, TASK, CurationOptions(unit=unit))
    findings = next(step.findings for step in dataset.manifest.steps if step.name == "units")
    return dataset, findings


def sides(dataset):
    found = defaultdict(set)
    for one in dataset.examples:
        found[one.unit].add(one.split)
    return found


@pytest.mark.parametrize(
    ("unit", "calls", "count"),
    [
        ("call", [call(n, {"conversation_id": n // 4}) for n in range(400)], 400),
        ("client_id", [call(n, client_id=f"c{n % 80}") for n in range(400)], 80),
        ("metadata.shop", [call(n, {"shop": n % 100}) for n in range(400)], 100),
    ],
)
def test_the_contract_names_the_unit_and_it_stays_whole(unit, calls, count):
    dataset, findings = curated(calls, unit)
    assert (findings["unit"], findings["units"]) == (unit, count)
    assert dataset.draw.unit == unit
    assert all(len(side) == 1 for side in sides(dataset).values())


@pytest.mark.parametrize("unit", ["metadata.", "conversation", "clients", "metadata"])
def test_a_unit_that_is_none_is_refused(unit):
    with pytest.raises(ContractError, match="unit"):
        Contract(unit=unit)


@pytest.mark.parametrize("name", ["conversation_id", "session", "document_id"])
def test_a_conversation_that_most_calls_name_is_the_unit(name):
    dataset, findings = curated([call(n, {name: f"x{n // 5}"} if n >= 40 else {}) for n in range(400)])
    assert findings["unit"] == f"metadata.{name}"
    assert findings["largest_unit"] == 5
    assert findings["units"] == 72 + 40  # those that name none are units of their own
    assert all(len(side) == 1 for side in sides(dataset).values())
    drawn = Counter(one.unit for one in dataset.split("certify"))
    assert sum(count == 5 for count in drawn.values()) > 20


def test_an_id_of_each_call_and_one_that_few_calls_name_are_no_conversation():
    for metadata in (lambda n: {"conversation_id": n}, lambda n: {"conversation_id": n // 5} if n < 150 else {}):
        assert curated([call(n, metadata(n)) for n in range(400)])[1]["unit"] == "call"


def test_a_client_is_no_unit_unasked():
    assert curated([call(n, client_id=f"c{n % 10}") for n in range(400)])[1]["unit"] == "call"


@pytest.mark.parametrize(
    "value", [None, [], ["a"], {"a": 1}, 3.5, True, "", float("nan"), b"raw", [["deep"] * 100] * 100]
)
def test_metadata_that_name_nothing_make_no_unit(value):
    assert unit_names(call(1, {"conversation_id": value}), "") == {}
    assert unit_names(call(1, {"shop": value}), "metadata.shop") == {}


@pytest.mark.parametrize("metadata", [None, [], "text", 7, [["conversation_id", "x"]]])
def test_metadata_of_another_shape_make_no_unit(metadata):
    odd = call(1)
    odd.request["metadata"] = metadata
    assert unit_names(odd, "") == {}


def test_a_huge_name_is_cut_and_a_number_is_its_digits():
    names = unit_names(call(1, {"conversation_id": "x" * 10**6, "session": 7}), "")
    assert len(names["metadata.conversation_id"]) == 200
    assert names["metadata.session"] == "7"


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)


def test_a_unit_that_hardly_any_call_names_is_refused():
    calls = [call(n, {"conversation": f"c{n // 4}"}) for n in range(120)]
    with pytest.raises(ContractError, match="0 of 120 calls name one"):
        curated(calls, "metadata.conversatoin")


@settings(max_examples=25, deadline=None)
@given(st.lists(VALUES, min_size=120, max_size=120), st.sampled_from(["", "metadata.conversation_id", "client_id"]))
def test_whatever_metadata_say_units_stay_whole_and_nothing_is_lost(values, unit):
    calls = [call(n, {"conversation_id": value}, client_id=f"c{n % 40}") for n, value in enumerate(values)]
    try:
        dataset, _ = curated(calls, unit)
    except ContractError as error:
        assert "of 120 calls name one" in error.got
        return
    assert sorted(one.id for one in (*dataset.examples, *dataset.excluded)) == sorted(one.id for one in calls)
    assert all(len(side) == 1 for side in sides(dataset).values())


def grouped(make_example, order):
    """600 calls, 300 of them in groups of ten, at the places that `order` gives."""
    return [
        make_example(f"{n:04}", f"text {n}", group=f"g{n // 10}" if n < 300 else f"own {n}", timestamp=1e9 + place * 60)
        for n, place in enumerate(order)
    ]


def test_calls_that_say_almost_the_same_in_bursts_are_one_unit(make_example):
    burst = grouped(make_example, range(600))
    assert share_in_bursts(burst) > 0.3
    options = CurationOptions()
    outcome = units(burst, options)
    assert options.seen.unit == outcome.findings["unit"] == "near-duplicate"
    assert outcome.findings["largest_unit"] == 10
    assert {one.unit for one in outcome.examples} == {f"group {one.group}" for one in burst}


def test_the_same_groups_spread_over_the_period_are_calls_of_their_own(make_example):
    """A popular question comes again at any time; its calls are independent of one another."""
    for seed in range(5):
        spread = grouped(make_example, random.Random(seed).sample(range(600), 600))
        assert abs(share_in_bursts(spread)) < 0.05
        options = CurationOptions()
        assert units(spread, options).findings["unit"] == "call"
        assert options.seen.unit == "call"


def test_few_calls_have_no_bursts(make_example):
    assert share_in_bursts(grouped(make_example, range(600))[:20]) == 0.0


def test_a_burst_of_near_duplicates_stands_on_one_side():
    """Retries of one request minutes apart: as evidence of their own they would count a mistake many times."""
    calls = []
    for n in range(600):
        text = f"incident {n // 6 * 7919 % 10007}: the printer on floor {n // 6} is broken again, please help {n % 6}"
        request = {"model": "m", "messages": [{"role": "user", "content": text}]}
        response = {"choices": [{"message": {"content": "ab"[n // 6 % 2]}}]}
        calls.append(Call(id=f"{n:04}", request=request, response=response, timestamp=1e9 + n * 10.5 + n % 7))
    dataset, findings = curated(calls)
    assert findings["unit"] == "near-duplicate"
    assert all(len(side) == 1 for side in sides(dataset).values())
    assert dataset.draw.units < 600
    assert curated(calls, "call")[0].draw.units == 600


def test_a_call_that_names_no_unit_shares_none_with_one_of_that_name(make_example):
    options = CurationOptions(unit="client_id")
    options.seen.unit_names.update({"a": {"client_id": "call b"}, "b": {}})
    marked = units([make_example("a", "x"), make_example("b", "y")], options).examples
    assert len({one.unit for one in marked}) == 2
    assert all(msgspec.structs.replace(one, unit="") == make_example(one.id, one.input) for one in marked)


def test_many_small_groups_of_look_alikes_are_units_though_they_come_at_any_time(make_example):
    dice = random.Random(4)
    spread = [
        make_example(f"{n:04}", f"text {n}", group=f"g{n // 5}", timestamp=1e9 + dice.random() * 1e6)
        for n in range(2_000)
    ]
    assert share_alike(spread) == 1.0
    options = CurationOptions()
    units(spread, options)
    assert options.seen.unit == "near-duplicate"


def test_a_popular_question_is_no_unit(make_example):
    """It comes again word for word, beside other wordings of it."""
    dice = random.Random(5)
    popular = [
        make_example(f"{n:04}", f"where {n % 3}", group="where", timestamp=1e9 + dice.random() * 1e6)
        for n in range(300)
    ]
    others = [
        make_example(f"o{n:04}", f"text {n}", group=f"own {n}", timestamp=1e9 + dice.random() * 1e6)
        for n in range(1_700)
    ]
    assert share_alike([*popular, *others]) == 0.0
    options = CurationOptions()
    units([*popular, *others], options)
    assert options.seen.unit == "call"
