"""Evidence is drawn from the calls as production makes them, and is never what somebody chose to label."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.calls import Call
from stepdown.core.dataset import Example
from stepdown.core.draw import rank
from stepdown.core.served import Served
from stepdown.core.store import Gold
from stepdown.core.tasks import Match, Task
from stepdown.curation.curate import curate
from stepdown.curation.drawing import draw_evidence, draw_scope
from stepdown.curation.options import CurationOptions
from stepdown.curation.split import split

TASK = Task(name="t", family="classify", match=Match())
HOUR = 3_600.0


def call(id, text, answer, **fields):
    request = {"model": "claude-x", "messages": [{"role": "user", "content": text}]} | fields.pop("request", {})
    return Call(id=id, request=request, response={"choices": [{"message": {"content": answer}}]}, **fields)


def rows(count, make_example, **fields):
    return [make_example(f"{n:06}", f"text {n}", "abc"[n % 3], unit=f"u{n}", **fields) for n in range(count)]


def in_time(count, make_example, start=0):
    dice = random.Random(start)
    return [
        make_example(
            f"{n:06}", f"text {n}", "abc"[n % 3], unit=f"u{n}", timestamp=1e9 + n * HOUR + dice.random() * 3_000
        )
        for n in range(start, start + count)
    ]


def labelled(examples, names, basis="", own=""):
    gold = {one.id: Gold(id=one.id, gold=one.incumbent, basis=basis, split=own) for one in examples if one.id in names}
    return [msgspec.structs.replace(one, gold=one.incumbent) if one.id in gold else one for one in examples], gold


def drawn(examples, options):
    return draw_evidence(examples, draw_scope(examples, {}, options), options)


def names_of(draw, examples):
    return {one.id for one in examples if draw.place(one.id) is not None}


def test_gold_only_where_the_incumbent_erred_is_learned_from_and_is_not_the_evidence(make_example):
    """800 corrections of 8,000 calls: as evidence, they would show an incumbent that is always wrong."""
    plain = rows(8_000, make_example)
    gold = {one.id: Gold(id=one.id, gold="right") for one in plain[::10]}
    examples = [msgspec.structs.replace(one, gold="right") if one.id in gold else one for one in plain]
    outcome = split(examples, CurationOptions(gold=gold))
    assert outcome.draw.scope == "traffic"
    assert outcome.draw.calls == 8_000
    assert not outcome.draw.complete
    sides = Counter(one.split for one in outcome.examples if one.gold is not None)
    assert sides["train"] > 550
    assert sides["tune"] == 0
    evidence = [one for one in outcome.examples if one.split == "certify"]
    assert len(evidence) == 1_600
    assert sides["certify"] / len(evidence) == pytest.approx(0.1, abs=0.03)  # as in the traffic


def test_gold_of_feedback_is_no_evidence_even_for_every_call(make_example):
    plain = rows(2_000, make_example)
    examples, gold = labelled(plain, {one.id for one in plain}, "volunteered")
    draw = drawn(examples, CurationOptions(gold=gold))
    assert (draw.scope, draw.complete) == ("traffic", False)


def test_a_declared_random_sample_is_the_evidence(make_example):
    plain = rows(5_000, make_example)
    sample = set(random.Random(1).sample([one.id for one in plain], 900))
    examples, gold = labelled(plain, sample, "random-sample")
    draw = drawn(examples, CurationOptions(gold=gold))
    assert (draw.scope, draw.calls, draw.complete) == ("random-sample", 900, False)
    assert names_of(draw, examples) == sample


def test_a_large_random_sample_leaves_some_to_learn_from(make_example):
    plain = rows(5_000, make_example)
    sample = set(random.Random(1).sample([one.id for one in plain], 3_000))
    examples, gold = labelled(plain, sample, "random-sample")
    draw = drawn(examples, CurationOptions(gold=gold))
    assert draw.rows == 1_000
    assert names_of(draw, examples) < sample


def test_gold_for_every_call_is_complete(make_example):
    plain = rows(5_000, make_example)
    examples, gold = labelled(plain, {one.id for one in plain})
    draw = drawn(examples, CurationOptions(gold=gold))
    assert (draw.scope, draw.complete, draw.calls, draw.rows) == ("traffic", True, 5_000, 1_000)
    few, gold = labelled(plain, {one.id for one in plain[:-1]})
    assert not drawn(few, CurationOptions(gold=gold)).complete


def test_gold_for_every_call_but_escalated_ones_is_complete(make_example):
    plain = rows(1_000, make_example)
    examples, gold = labelled(plain, {one.id for one in plain[:800]})
    options = CurationOptions(gold=gold)
    options.seen.escalated.update(one.id for one in plain[800:])
    assert drawn(examples, options).complete


def test_a_split_column_names_the_evidence_where_every_call_has_gold(make_example):
    plain = rows(1_000, make_example)
    examples = [msgspec.structs.replace(one, gold=one.incumbent) for one in plain]
    gold = {one.id: Gold(id=one.id, gold="a", split="certify" if n < 250 else "") for n, one in enumerate(plain)}
    outcome = split(examples, CurationOptions(gold=gold))
    assert (outcome.draw.scope, outcome.draw.rows) == ("split-column", 250)
    assert {one.id for one in outcome.examples if one.split == "certify"} == {one.id for one in plain[:250]}


def test_escalated_calls_are_never_drawn(make_example):
    """A cascade left them to the incumbent because they are hard."""
    plain = rows(2_000, make_example)
    hard = {one.id for one in plain[::3]}
    for against in ("gold", "agreement"):
        options = CurationOptions(against=against)
        options.seen.escalated.update(hard)
        assert not names_of(drawn(plain, options), plain) & hard


def test_what_retention_left_of_old_calls_is_no_sample(make_example):
    """It keeps those with gold, which somebody chose."""
    plain = [msgspec.structs.replace(one, timestamp=1_000.0 + n) for n, one in enumerate(rows(2_000, make_example))]
    options = CurationOptions(against="agreement", whole_since=1_500.0)
    found = drawn(plain, options)
    assert found.rows
    assert not names_of(found, plain) & {one.id for one in plain[:500]}


def test_a_holdback_that_is_large_enough_is_drawn_from_by_itself(make_example):
    plain = rows(2_000, make_example)
    options = CurationOptions(against="agreement", certify_rows=200)
    options.seen.holdback.update(one.id for one in plain[:300])
    found = drawn(plain, options)
    assert names_of(found, plain) <= {one.id for one in plain[:300]}
    assert found.window.startswith("the random holdback of live traffic")


def test_an_escalated_call_is_counted_as_one_that_could_not_be_drawn():
    calls = [
        call(
            f"{n:04}",
            f"question {n * n}",
            f"label {n % 3}",
            served=Served(selection="escalated" if n % 4 == 0 else "holdback"),
        )
        for n in range(400)
    ]
    dataset = curate(calls, TASK, CurationOptions())
    assert dataset.unusable == {"escalated by a cascade, and so no sample": 100}
    assert not {one.id for one in dataset.split("certify")} & {one.id for one in calls if one.selection == "escalated"}
    assert dataset.draw.calls == 300


def test_the_same_calls_in_any_order_give_the_same_draw(make_example):
    plain = rows(2_000, make_example)
    shuffled = random.Random(3).sample(plain, len(plain))
    assert drawn(shuffled, CurationOptions()) == drawn(plain, CurationOptions())
    assert drawn(plain, CurationOptions(seed=9)) == drawn(plain, CurationOptions())


def test_anyone_can_recompute_the_order_of_a_draw(make_example):
    plain = rows(500, make_example)
    draw = drawn(plain, CurationOptions(task="t"))
    order = sorted(plain, key=lambda one: rank(draw.salt, one.unit))[: draw.rows]
    assert [draw.place(one.id) for one in order] == list(range(draw.rows))


def test_another_task_and_another_draw_have_another_order(make_example):
    plain = rows(500, make_example)
    first, other = (drawn(plain, CurationOptions(task=name)) for name in ("t", "u"))
    assert first.salt != other.salt
    assert first.keys != other.keys


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_a_unit_is_drawn_whole_and_comes_in_one_piece(seed, size):
    dice = random.Random(seed)
    examples = [
        Example(id=f"{n}", input=f"t{n}", incumbent="ab"[n % 2], unit=f"u{dice.randrange(1 + 400 // size)}")
        for n in range(400)
    ]
    draw = drawn(examples, CurationOptions())
    sizes = Counter(one.unit for one in examples)
    placed = sorted((draw.place(one.id), one.unit) for one in examples if draw.place(one.id) is not None)
    taken = [unit for _, unit in placed]
    assert Counter(taken) == {unit: sizes[unit] for unit in set(taken)}
    assert sum(1 for one, after in itertools.pairwise(taken) if one != after) == len(set(taken)) - 1
    assert draw.units == len(sizes)
    assert draw.largest == max(sizes.values())


def test_every_beginning_of_a_draw_is_a_random_sample(make_example):
    """Over many salts each row stands in the first tenth of the draw about as often as any other."""
    plain = rows(400, make_example)
    early: Counter[bool] = Counter()
    for number in range(200):
        draw = drawn(plain, CurationOptions(task=f"t{number}"))
        places = {one.id: draw.place(one.id) for one in plain}
        early.update(int(name) < 100 for name, place in places.items() if place is not None and place < 16)
    assert early[True] / (early[True] + early[False]) == pytest.approx(0.25, abs=0.03)


# A draw stands


def test_a_draw_stands_when_gold_arrives(make_example):
    plain = rows(2_000, make_example)
    draw = drawn(plain, CurationOptions())
    some, gold = labelled(plain, set(sorted(names_of(draw, plain))[:100]), "drawn")
    assert drawn(some, CurationOptions(gold=gold, draws=(draw,))) == draw
    volunteered, gold = labelled(plain, {one.id for one in plain[::7]})
    assert drawn(volunteered, CurationOptions(gold=gold, draws=(draw,))) == draw


def test_a_draw_stands_while_few_calls_come(make_example):
    plain = rows(2_000, make_example)
    draw = drawn(plain, CurationOptions())
    for more in (1, 500, 1_300):
        assert drawn(rows(2_000 + more, make_example), CurationOptions(draws=(draw,))) == draw
    timed = in_time(2_000, make_example)
    draw = drawn(timed, CurationOptions())
    assert draw.window == "the latest calls"
    later = in_time(500, make_example, 2_000)
    assert drawn([*timed, *later], CurationOptions(draws=(draw,))) == draw


def test_a_new_draw_is_due_when_enough_new_calls_came_and_leaves_out_the_earlier_ones(make_example):
    timed = in_time(2_000, make_example)
    draw = drawn(timed, CurationOptions())
    later = in_time(1_000, make_example, 2_000)
    everything = [*timed, *later]
    new = drawn(everything, CurationOptions(draws=(draw,)))
    assert new != draw
    assert not names_of(new, everything) & names_of(draw, everything)
    assert new.first > draw.last
    assert new.replaces == ""


def test_without_times_a_new_draw_is_due_when_the_calls_have_doubled(make_example):
    plain = rows(2_000, make_example)
    draw = drawn(plain, CurationOptions())
    more = rows(4_100, make_example)
    new = drawn(more, CurationOptions(draws=(draw,)))
    assert new != draw
    assert not names_of(new, more) & names_of(draw, more)


def test_a_draw_of_which_calls_have_gone_is_replaced_and_says_so(make_example):
    """Deleting the calls that went badly gains no fresh start: the ledger counts on."""
    plain = rows(2_000, make_example)
    draw = drawn(plain, CurationOptions())
    lost = next(iter(names_of(draw, plain)))
    left = [one for one in plain if one.id != lost]
    new = drawn(left, CurationOptions(draws=(draw,)))
    assert new.replaces == draw.digest
    assert not names_of(new, left) & names_of(draw, plain)
    assert drawn(left, CurationOptions(draws=(draw, new))) == new


def test_calls_that_go_and_were_not_drawn_change_nothing(make_example):
    plain = rows(2_000, make_example)
    draw = drawn(plain, CurationOptions())
    kept = names_of(draw, plain)
    assert (
        drawn([one for n, one in enumerate(plain) if one.id in kept or n % 2], CurationOptions(draws=(draw,))) == draw
    )


def test_a_sample_that_grows_is_drawn_again(make_example):
    plain = rows(5_000, make_example)
    first, gold = labelled(plain, {one.id for one in plain[:300]}, "random-sample")
    draw = drawn(first, CurationOptions(gold=gold))
    assert drawn(first, CurationOptions(gold=gold, draws=(draw,))) == draw
    grown, gold = labelled(plain, {one.id for one in plain[:500]}, "random-sample")
    new = drawn(grown, CurationOptions(gold=gold, draws=(draw,)))
    assert names_of(new, plain) > names_of(draw, plain)


def test_another_unit_is_another_draw(make_example):
    plain = rows(1_000, make_example)
    draw = drawn(plain, CurationOptions())
    options = CurationOptions(draws=(draw,))
    options.seen.unit = "client_id"
    assert drawn(plain, options).unit == "client_id"


# Repetitions


def zipf(count, seed):
    generator = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, 2_001)
    texts = generator.choice(2_000, size=count, p=weights / weights.sum())
    return [call(f"{n:06}", f"question {text * 7919} {text}", f"label {text % 5}") for n, text in enumerate(texts)]


def test_evidence_repeats_itself_as_the_traffic_does():
    """A student that has learned the popular inputs by heart must meet them as often as in production."""
    calls = zipf(8_000, 1)
    dataset = curate(calls, TASK, CurationOptions())
    evidence = dataset.split("certify")
    ranks = Counter(one.request["messages"][0]["content"] for one in calls)
    for text, count in ranks.most_common(5):
        share = sum(one.text == text for one in evidence) / len(evidence)
        error = 4 * (count / 8_000 / len(evidence)) ** 0.5
        assert share == pytest.approx(count / 8_000, abs=error)
    learned = {one.text for one in dataset.split("train")}
    seen = sum(one.text in learned for one in evidence) / len(evidence)
    others = [text for text, count in ranks.items() for _ in range(count) if count > 1]
    assert seen == pytest.approx(len(others) / 8_000, abs=0.05)


def test_one_text_that_is_six_in_a_hundred_calls_is_as_much_of_the_evidence():
    """It stands on both sides; dealing its calls to one of them would bend both."""
    calls = [
        call(f"{n:05}", "where is my card?" if n % 50 < 3 else f"question {n * n}", f"label {n % 4}")
        for n in random.Random(5).sample(range(10_000), 10_000)
    ]
    dataset = curate(calls, TASK, CurationOptions())
    evidence = dataset.split("certify")
    assert sum(one.text == "where is my card?" for one in evidence) / len(evidence) == pytest.approx(0.06, abs=0.02)
    assert "where is my card?" in {one.text for one in dataset.split("train")}
