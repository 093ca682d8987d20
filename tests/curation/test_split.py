from __future__ import annotations

import random
from collections import Counter, defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.dataset import Example
from stepdown.core.errors import InputError, NotEnoughData
from stepdown.core.family import families
from stepdown.core.store import Gold
from stepdown.curation.exact_duplicates import exact_duplicates
from stepdown.curation.options import CurationOptions
from stepdown.curation.parse import parse
from stepdown.curation.split import split
from stepdown.curation.split_order import why_not_by_time

DAY = 86_400.0


def rows(count, make_example, groups=None, **fields):
    return [
        make_example(f"{n:06}", f"text {n}", "abc"[n % 3], group=f"g{n % (groups or count)}", **fields)
        for n in range(count)
    ]


def with_gold(examples, names, own=""):
    gold = {one.id: Gold(id=one.id, gold=one.incumbent, split=own) for one in examples if one.id in names}
    return [msgspec.structs.replace(one, gold=one.incumbent) if one.id in gold else one for one in examples], gold


def counts(outcome):
    return Counter(one.split for one in outcome.examples)


def test_no_gold_fills_evidence_for_agreement(make_example):
    outcome = split(rows(20_000, make_example), CurationOptions())
    found = counts(outcome)
    assert (found["certify"], found["tune"]) == (3_000, 1_000)
    assert outcome.findings["evidence"] == outcome.findings["tune_measured_against"] == "agreement"


def test_scarce_gold_is_all_evidence_and_tune_is_left_to_agreement(make_example):
    plain = rows(10_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[::5]})
    outcome = split(examples, CurationOptions(gold=gold))
    assert counts(outcome)["certify"] == 2_000
    assert all((one.gold is not None) == (one.split == "certify") for one in outcome.examples)
    assert counts(outcome)["tune"] == 1_000
    assert outcome.findings["tune_measured_against"] == "agreement"


@pytest.mark.parametrize("own", ["certify", "evidence"])
def test_gold_marked_as_evidence_is_nothing_else(make_example, own):
    plain = rows(3_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[::2]}, own)
    outcome = split(examples, CurationOptions(gold=gold))
    assert all((one.gold is not None) == (one.split == "certify") for one in outcome.examples)


def test_plentiful_gold_serves_evidence_tuning_and_learning(make_example):
    plain = rows(10_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain})
    outcome = split(examples, CurationOptions(gold=gold))
    assert counts(outcome) == {"certify": 2_000, "tune": 1_000, "train": 7_000}
    assert outcome.findings["tune_measured_against"] == "gold"


def test_gold_as_it_shipped_keeps_its_test_and_dev(banking):
    options = CurationOptions(gold=banking.gold)
    parsed, _ = parse(banking.calls, banking.task, options)
    outcome = split(exact_duplicates(parsed.examples, options).examples, options)
    own = {name: gold.split for name, gold in banking.gold.items()}
    assert all(one.split == "test" for one in outcome.examples if own[one.id] == "test")
    assert all(own[one.id] == "test" for one in outcome.examples if one.split == "test")
    assert all(one.split in ("tune", "certify") for one in outcome.examples if own[one.id] == "dev")
    found = counts(outcome)
    assert (found["test"], found["certify"], found["tune"]) == (3_080, 2_000, 1_000)


def test_dev_beyond_what_tuning_wants_becomes_evidence_not_training(make_example):
    plain = rows(10_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[:4_000]}, "dev")
    outcome = split(examples, CurationOptions(gold=gold))
    assert counts(outcome)["tune"] + counts(outcome)["certify"] == 4_000
    assert not any(one.gold is not None for one in outcome.examples if one.split == "train")


def test_evidence_is_never_pruned_the_others_of_its_group_are(make_example):
    plain = rows(300, make_example, groups=100)
    examples, gold = with_gold(plain, {one.id for one in plain[:20]}, "test")
    outcome = split(examples, CurationOptions(gold=gold))
    assert {one.id for one in outcome.examples if one.split == "test"} == set(gold)
    assert {one.kin for one in outcome.excluded} == set(gold)
    assert len(outcome.excluded) == 40


def test_plenty_of_data_leaves_an_untouched_test(make_example):
    outcome = split(rows(30_000, make_example), CurationOptions())
    assert counts(outcome)["test"] == 1_500


def test_judged_rows_are_evidence_with_gold_first(make_example):
    plain = [msgspec.structs.replace(one, judged=0.0) for one in rows(2_000, make_example)]
    examples, gold = with_gold(plain, {one.id for one in plain[::10]})
    outcome = split(examples, CurationOptions(gold=gold, against="judged"))
    proof = [one for one in outcome.examples if one.split == "certify"]
    assert len(proof) == 1_000
    assert sum(one.gold is not None for one in proof) == 200


def test_a_dominating_input_stays_in_train_and_is_reported(make_example):
    examples = rows(1_000, make_example) + [make_example(f"h{n}", "hello", "a", group="hello") for n in range(900)]
    outcome = split(examples, CurationOptions())
    assert {one.split for one in outcome.examples if one.group == "hello"} == {"train"}
    assert outcome.findings["rows_of_groups_too_large_for_evidence"] == 900


def test_an_unknown_split_is_refused(make_example):
    plain = rows(100, make_example)
    examples, gold = with_gold(plain, {"000001"}, "tset")
    with pytest.raises(InputError, match="tset"):
        split(examples, CurationOptions(gold=gold))


def test_nothing_left_to_learn_from(make_example):
    plain = rows(100, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain}, "test")
    with pytest.raises(NotEnoughData, match="0 are left to learn from"):
        split(examples, CurationOptions(gold=gold))


def test_evidence_is_a_fair_sample(make_example):
    """Over seeds, every row is evidence about as often as any other, whatever the size of its group."""
    examples = rows(400, make_example) + [
        make_example(f"p{n}", f"pair {n}", "a", group=f"pair{n // 4}") for n in range(400)
    ]
    share: Counter[bool] = Counter()
    for seed in range(60):
        for one in split(examples, CurationOptions(seed=seed)).examples:
            share[one.id.startswith("p")] += one.split == "certify"
    assert share[True] / share[False] == pytest.approx(1.0, abs=0.1)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_groups_stay_whole_and_rows_add_up(data):
    size = data.draw(st.integers(200, 400))
    draw = random.Random(data.draw(st.integers(0, 10**6)))
    own = data.draw(st.sampled_from(["", "train", "dev", "certify", "test"]))
    share = data.draw(st.sampled_from([0.0, 0.1, 0.25]))
    examples = [
        Example(id=f"{n}", input=f"t{n}", incumbent=draw.choice("ab"), group=f"g{draw.randrange(size)}")
        for n in range(size)
    ]
    examples, gold = with_gold(examples, {one.id for one in examples if draw.random() < share}, own)
    outcome = split(examples, CurationOptions(gold=gold, seed=draw.randrange(9)))
    assert sorted(one.id for one in (*outcome.examples, *outcome.excluded)) == sorted(one.id for one in examples)
    sides = defaultdict(set)
    for one in outcome.examples:
        sides[one.group].add(one.split)
    assert all(len(side) == 1 for side in sides.values())
    kept = {one.id for one in outcome.examples}
    if own in ("certify", "test"):
        assert set(gold) <= kept
        assert all(one.split == own for one in outcome.examples if one.id in gold)


def timed(make_example, at, label="abc", groups=None):
    return [
        make_example(f"{n:05}", f"t{n}", label[n % len(label)], timestamp=at(n), group=f"g{n % (groups or 10**9)}")
        for n in range(1_000)
    ]


def test_real_times_put_the_latest_into_evidence(make_example):
    draw = random.Random(0)
    examples = timed(make_example, lambda n: 1e9 + n * 600 + draw.random() * 500)
    outcome = split(examples, CurationOptions())
    assert outcome.findings["order"] == "time, latest first"
    latest_learned = max(one.timestamp for one in outcome.examples if one.split == "train")
    assert all(one.timestamp > latest_learned for one in outcome.examples if one.split == "certify")


@pytest.mark.parametrize(
    ("at", "label", "groups", "why"),
    [
        (lambda n: 0.0, "abc", None, "missing"),
        (lambda n: 1e9 + n, "abc", None, "less than a day"),
        (lambda n: 1e9 + n * 3600, "abc", None, "evenly spaced"),
        (lambda n: 1e9 + n * 600 + n * n % 97, "abc", 50, "repeat earlier inputs"),
        (lambda n: 1e9 + n * 600 + n * n % 97, "a" * 900 + "b" * 100, None, "never seen"),
        (lambda n: 1e9 + n * 600 + n * n % 97, "ab" * 50 + "a" * 750 + "b" * 150, None, "drift"),
    ],
)
def test_why_a_cut_in_time_would_not_be_fair(make_example, at, label, groups, why):
    assert why in why_not_by_time(timed(make_example, at, label, groups), 200, 0)


def test_new_objects_of_known_kinds_are_no_drift(make_example):
    """Nearly every object is new; it is the tool that must not drift."""

    def called(tool):
        return [
            msgspec.structs.replace(one, incumbent={"tool": tool(n), "arguments": {"number": n}})
            for n, one in enumerate(timed(make_example, lambda n: 1e9 + n * 600 + n * n % 97, "a", None))
        ]

    slice_of = families().load("extract").slice_of
    steady, new = called(lambda n: "ab"[n % 2]), called(lambda n: "a" if n < 900 else "b")
    assert "never seen" in why_not_by_time(steady, 200, 0)
    assert why_not_by_time(steady, 200, 0, slice_of) == ""
    assert "never seen" in why_not_by_time(new, 100, 0, slice_of)


def test_the_shipped_times_are_not_taken_for_times(banking):
    parsed, _ = parse(banking.calls, banking.task, CurationOptions())
    assert why_not_by_time(parsed.examples, 3_000, 0)


def test_dev_rows_beside_test_rows_are_in_neither(make_example):
    """Even where tune is measured by agreement, which every answered row could serve."""
    plain = rows(400, make_example, groups=200)
    examples, gold = with_gold(plain, {one.id for one in plain[:10]}, "test")
    dev = {one.id: Gold(id=one.id, gold=one.incumbent, split="dev") for one in plain[200:210]}
    examples = [msgspec.structs.replace(one, gold=one.incumbent) if one.id in dev else one for one in examples]
    outcome = split(examples, CurationOptions(gold=gold | dev))
    assert {one.id for one in outcome.excluded} == set(dev)
    assert {one.kin for one in outcome.excluded} == set(gold)
