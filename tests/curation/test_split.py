from __future__ import annotations

import random
from collections import Counter, defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.dataset import Example
from stepdown.core.draw import call_key
from stepdown.core.errors import InputError, NotEnoughData
from stepdown.core.family import families
from stepdown.core.store import Gold
from stepdown.curation.near_duplicates import exact_duplicates
from stepdown.curation.options import CurationOptions
from stepdown.curation.parse import parse
from stepdown.curation.split import SHARES_A_UNIT, split
from stepdown.curation.split_order import drift, why_not_by_time
from stepdown.curation.units import units

DAY = 86_400.0


def rows(count, make_example, units=None, **fields):
    return [
        make_example(f"{n:06}", f"text {n}", "abc"[n % 3], unit=f"u{n % (units or count)}", **fields)
        for n in range(count)
    ]


def with_gold(examples, names, own="", basis=""):
    gold = {one.id: Gold(id=one.id, gold=one.incumbent, split=own, basis=basis) for one in examples if one.id in names}
    return [msgspec.structs.replace(one, gold=one.incumbent) if one.id in gold else one for one in examples], gold


def counts(outcome):
    return Counter(one.split for one in outcome.examples)


def test_evidence_is_drawn_although_nobody_labelled_anything(make_example):
    outcome = split(rows(20_000, make_example), CurationOptions())
    assert counts(outcome) == {"certify": 4_000, "tune": 1_000, "train": 15_000}
    assert (outcome.findings["evidence"], outcome.findings["drawn_from"]) == ("gold", "traffic")
    assert outcome.findings["tune_measured_against"] == "agreement"


def test_evidence_for_agreement_is_drawn_from_the_traffic_as_well(make_example):
    outcome = split(rows(20_000, make_example), CurationOptions(against="agreement"))
    assert counts(outcome)["certify"] == 4_000
    assert outcome.findings["evidence"] == outcome.findings["tune_measured_against"] == "agreement"


@pytest.mark.parametrize(("count", "evidence"), [(400, 160), (1_000, 400), (2_000, 600), (10_000, 2_000)])
def test_a_fifth_is_evidence_and_more_where_calls_are_few(make_example, count, evidence):
    assert counts(split(rows(count, make_example), CurationOptions()))["certify"] == evidence


def test_as_much_as_is_asked_for_and_at_most_half(make_example):
    plain = rows(1_000, make_example)
    assert counts(split(plain, CurationOptions(least_evidence=450)))["certify"] == 450
    assert counts(split(plain, CurationOptions(least_evidence=900)))["certify"] == 500


def test_gold_that_nobody_drew_is_learned_from_and_tune_has_none(make_example):
    plain = rows(10_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[::5]})
    outcome = split(examples, CurationOptions(gold=gold))
    labelled = Counter(one.split for one in outcome.examples if one.gold is not None)
    assert labelled["train"] > 1_400  # four fifths of it, as of all calls
    assert 300 < labelled["certify"] < 500  # a fifth, as of all calls
    assert labelled["tune"] == 0
    assert outcome.findings["tune_measured_against"] == "agreement"


@pytest.mark.parametrize("own", ["certify", "evidence"])
def test_a_declared_sample_marked_as_evidence_is_all_the_evidence(make_example, own):
    plain = rows(3_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[::2]}, own, "random-sample")
    outcome = split(examples, CurationOptions(gold=gold))
    assert all((one.gold is not None) == (one.split == "certify") for one in outcome.examples)
    assert outcome.findings["drawn_from"] == "split-column"


def test_gold_marked_as_evidence_that_is_no_sample_is_neither_evidence_nor_learned_from(make_example):
    plain = rows(3_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[::2]}, "certify")
    outcome = split(examples, CurationOptions(gold=gold))
    assert not [one for one in outcome.examples if one.split in ("train", "tune") and one.gold is not None]
    out = {one.id for one in outcome.excluded}
    assert out <= set(gold)
    drawn = {one.id for one in outcome.examples if one.split == "certify"}
    assert len(drawn) == 600
    assert len(drawn & set(gold)) == pytest.approx(300, abs=60)
    assert {one.reason for one in outcome.excluded} == {"meant for evidence by the owner of its gold, and not drawn"}


def test_gold_for_every_call_serves_evidence_tuning_and_learning(make_example):
    plain = rows(10_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain})
    outcome = split(examples, CurationOptions(gold=gold))
    assert counts(outcome) == {"certify": 2_000, "tune": 1_000, "train": 7_000}
    assert all(one.gold is not None for one in outcome.examples)
    assert outcome.findings["tune_measured_against"] == "gold"


def test_gold_as_it_shipped_keeps_its_test_and_dev(banking):
    options = CurationOptions(gold=banking.gold)
    parsed, _ = parse(banking.calls, banking.task, options)
    examples = units(exact_duplicates(parsed.examples, options).examples, options).examples
    outcome = split(examples, options)
    own = {name: gold.split for name, gold in banking.gold.items()}
    assert all((one.split == "test") == (own[one.id] == "test") for one in outcome.examples)
    assert all(own[one.id] == "dev" for one in outcome.examples if one.split == "tune")
    assert counts(outcome)["test"] == 3_080


def test_what_its_owner_means_for_tuning_is_no_evidence(make_example):
    plain = rows(10_000, make_example)
    dev = {one.id for one in plain[:4_000]}
    examples, gold = with_gold(plain, dev, "dev")
    outcome = split(examples, CurationOptions(gold=gold))
    assert {one.id for one in outcome.examples if one.split == "tune"} >= dev
    assert not [one for one in outcome.examples if one.split == "certify" and one.id in dev]


def test_what_its_owner_means_for_learning_is_left_to_it_where_there_is_anything_else(make_example):
    plain = rows(2_000, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain[:1_000]}, "train")
    outcome = split(examples, CurationOptions(gold=gold))
    assert all(one.split == "train" for one in outcome.examples if one.id in gold)
    everything, gold = with_gold(plain, {one.id for one in plain}, "train")
    assert counts(split(everything, CurationOptions(gold=gold))) == {"certify": 600, "tune": 200, "train": 1_200}


def test_a_unit_with_evidence_has_nothing_to_learn_from(make_example):
    """The rest of a conversation of which one call is evidence would tell a student of it."""
    plain = rows(300, make_example, units=100)
    sample = {one.id for one in plain[:20]}
    examples, gold = with_gold(plain, sample, "certify", "random-sample")
    outcome = split(examples, CurationOptions(gold=gold))
    assert {one.id for one in outcome.examples if one.split == "certify"} == sample
    assert {(one.id[-2:], one.reason) for one in outcome.excluded} == {(f"{n:02}", SHARES_A_UNIT) for n in range(20)}
    assert len(outcome.excluded) == 40


def test_a_row_meant_for_test_is_on_no_other_side_and_neither_is_its_unit(make_example):
    plain = rows(300, make_example, units=100)
    examples, gold = with_gold(plain, {one.id for one in plain[:10]}, "test")
    outcome = split(examples, CurationOptions(gold=gold))
    sides = {one.id: one.split for one in outcome.examples}
    assert {sides[name] for name in gold if name in sides} == {"test"}
    assert all(one.reason == SHARES_A_UNIT for one in outcome.excluded)
    tested = {one.unit for one in outcome.examples if one.split == "test"}
    assert tested
    assert {one.split for one in outcome.examples if one.unit in tested} == {"test"}


def test_repetitions_of_an_input_may_stand_on_both_sides(make_example):
    plain = [make_example(f"{n:04}", f"text {n % 200}", "ab"[n % 2], unit=f"u{n}") for n in range(1_000)]
    outcome = split(plain, CurationOptions())
    assert not outcome.excluded
    assert outcome.findings["certify_rows_also_learned_from"] > 300


def test_plenty_of_data_leaves_an_untouched_test(make_example):
    assert counts(split(rows(30_000, make_example), CurationOptions()))["test"] == 1_500


def test_judged_rows_are_evidence_where_a_judge_has_seen_them(make_example):
    plain = [
        msgspec.structs.replace(one, judged=0.0 if n % 2 else None) for n, one in enumerate(rows(2_000, make_example))
    ]
    outcome = split(plain, CurationOptions(against="judged"))
    proof = [one for one in outcome.examples if one.split == "certify"]
    assert len(proof) == 1_000
    assert all(one.judged is not None for one in proof)
    assert outcome.findings["drawn_from"] == "judged"


def test_escalated_calls_are_learned_from_and_nothing_else(make_example):
    options = CurationOptions()
    options.seen.escalated.update(f"{n:06}" for n in range(0, 2_000, 2))
    outcome = split(rows(2_000, make_example), options)
    assert {one.split for one in outcome.examples if one.id in options.seen.escalated} == {"train"}
    assert outcome.draw is not None
    assert outcome.draw.calls == 1_000


def test_an_unreadable_answer_is_evidence_where_drawn_and_else_excluded(make_example):
    plain = rows(1_000, make_example)
    plain = [msgspec.structs.replace(one, incumbent=None) if n % 4 == 0 else one for n, one in enumerate(plain)]
    options = CurationOptions()
    options.seen.unread.update({one.id: "answer cannot be parsed" for one in plain if one.incumbent is None})
    outcome = split(plain, options)
    kept = [one for one in outcome.examples if one.incumbent is None]
    assert {one.split for one in kept} == {"certify"}
    assert len(kept) == pytest.approx(100, abs=30)  # as often in the evidence as in the traffic
    assert {one.reason for one in outcome.excluded} == {"answer cannot be parsed"}


def test_an_unknown_split_is_refused(make_example):
    plain = rows(100, make_example)
    examples, gold = with_gold(plain, {"000001"}, "tset")
    with pytest.raises(InputError, match="tset"):
        split(examples, CurationOptions(gold=gold))


def test_nothing_left_to_learn_from(make_example):
    plain = rows(100, make_example)
    examples, gold = with_gold(plain, {one.id for one in plain}, "test")
    with pytest.raises(NotEnoughData, match="0 are left for training"):
        split(examples, CurationOptions(gold=gold))


def test_one_unit_that_holds_nearly_everything_is_refused_with_the_way_out(make_example):
    plain = [msgspec.structs.replace(one, unit="one client") for one in rows(500, make_example)]
    with pytest.raises(NotEnoughData, match="name a finer unit"):
        split(plain, CurationOptions())


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_units_stay_whole_and_rows_add_up(data):
    size = data.draw(st.integers(200, 400))
    dice = random.Random(data.draw(st.integers(0, 10**6)))
    own = data.draw(st.sampled_from(["", "train", "dev", "certify", "test"]))
    basis = data.draw(st.sampled_from(["", "random-sample", "volunteered", "all", "drawn"]))
    share = data.draw(st.sampled_from([0.0, 0.1, 0.25, 1.0]))
    against = data.draw(st.sampled_from(["gold", "agreement"]))
    examples = [
        Example(id=f"{n}", input=f"t{n}", incumbent=dice.choice("ab"), unit=f"u{dice.randrange(size)}")
        for n in range(size)
    ]
    examples, gold = with_gold(examples, {one.id for one in examples if dice.random() < share}, own, basis)
    options = CurationOptions(gold=gold, seed=dice.randrange(9), against=against)
    options.seen.escalated.update(one.id for one in examples if dice.random() < 0.1)
    try:
        outcome = split(examples, options)
    except NotEnoughData:
        assert share == 1.0  # all of it was meant for something else than learning
        return
    assert sorted(one.id for one in (*outcome.examples, *outcome.excluded)) == sorted(one.id for one in examples)
    sides = defaultdict(set)
    for one in outcome.examples:
        sides[one.unit].add(one.split)
    assert all(len(side) == 1 for side in sides.values())
    drawn = [one for one in outcome.examples if one.split == "certify"]
    assert {call_key(one.id) for one in drawn} == set(outcome.draw.places)
    assert sorted(one.place for one in drawn) == list(range(len(drawn)))
    assert all(one.place is None for one in outcome.examples if one.split != "certify")
    assert not {one.id for one in drawn} & options.seen.escalated
    if own == "test":
        assert all(one.split == "test" for one in outcome.examples if one.id in gold)
    if own == "train" and against == "gold" and share < 1.0:
        assert not {one.id for one in drawn} & set(gold) or outcome.draw.scope == "random-sample"


def timed(make_example, at, label="abc"):
    return [
        make_example(f"{n:05}", f"t{n}", label[n % len(label)], timestamp=at(n), unit=f"u{n}") for n in range(1_000)
    ]


def uneven(n):
    return 1e9 + n * 600 + n * n % 97


def test_real_times_put_the_latest_into_evidence_and_say_so(make_example):
    dice = random.Random(0)
    outcome = split(timed(make_example, lambda n: 1e9 + n * 600 + dice.random() * 500), CurationOptions())
    assert outcome.findings["window"] == "the latest calls"
    latest_learned = max(one.timestamp for one in outcome.examples if one.split == "train")
    assert all(one.timestamp > latest_learned for one in outcome.examples if one.split == "certify")


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (lambda n: 0.0, "missing"),
        (lambda n: 1e9 + n, "less than a day"),
        (lambda n: 1e9 + n * 3600, "evenly spaced"),
    ],
)
def test_why_times_tell_no_order(make_example, at, why):
    assert why in why_not_by_time(timed(make_example, at))


@pytest.mark.parametrize(
    ("label", "said"),
    [("abc", ""), ("a" * 900 + "b" * 100, "never seen"), ("ab" * 50 + "a" * 750 + "b" * 150, "drift")],
)
def test_latest_calls_that_differ_from_those_before_stay_the_evidence_and_are_said_to(make_example, label, said):
    """They are what comes next: that they differ is a reason to draw from them, not against it."""
    outcome = split(timed(make_example, uneven, label), CurationOptions())
    window = outcome.findings["window"]
    assert window.startswith("the latest calls")
    assert said in window
    assert (window == "the latest calls") == (said == "")


def test_new_objects_of_known_kinds_are_no_drift(make_example):
    """Nearly every object is new; it is the tool that must not drift."""

    def called(tool):
        return [
            msgspec.structs.replace(one, incumbent={"tool": tool(n), "arguments": {"number": n}})
            for n, one in enumerate(timed(make_example, uneven, "a"))
        ]

    slice_of = families().load("extract").slice_of
    steady, new = called(lambda n: "ab"[n % 2]), called(lambda n: "a" if n < 900 else "b")
    assert "never seen" in drift(steady, 200, 0, str)
    assert drift(steady, 200, 0, slice_of) == ""
    assert "never seen" in drift(new, 100, 0, slice_of)


def test_the_shipped_times_are_not_taken_for_times(banking):
    parsed, _ = parse(banking.calls, banking.task, CurationOptions())
    assert why_not_by_time(parsed.examples)


def test_dev_rows_of_a_unit_with_test_rows_are_not_tuned_on(make_example):
    """Even where tune is measured by agreement, which every answered row could serve."""
    plain = rows(400, make_example, units=200)
    examples, gold = with_gold(plain, {one.id for one in plain[:10]}, "test")
    dev = {one.id: Gold(id=one.id, gold=one.incumbent, split="dev") for one in plain[200:210]}
    examples = [msgspec.structs.replace(one, gold=one.incumbent) if one.id in dev else one for one in examples]
    outcome = split(examples, CurationOptions(gold=gold | dev))
    assert {one.split for one in outcome.examples if one.id in {*gold, *dev}} == {"test"}
