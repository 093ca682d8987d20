"""The ladder: what time and contract let in, in which order, and the reasons for the rest."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stepdown.core.contract import Contract
from stepdown.core.family import families
from stepdown.core.training_time import REFERENCE, MachineSpeed, TrainingBudget, TrainingSize
from stepdown.students.kinds import student_kinds
from stepdown.students.ladder import LadderWishes, choose_ladder


def _ladder(rows: int, labels: int, contract: Contract, seconds: float, family: str, speed: MachineSpeed = REFERENCE):
    return choose_ladder(TrainingBudget(TrainingSize(rows, labels, 16 * rows), seconds, speed), family, contract)


def _kinds_of(family: str) -> list[str]:
    return [name for name, kind in student_kinds().all().items() if family in kind.FAMILIES]


@pytest.mark.parametrize("family", families().names())
def test_every_kind_of_the_family_is_planned_or_dropped_with_a_reason(family: str) -> None:
    for seconds in (1.0, 20.0, 55.0, 320.0, 4000.0):
        planned, dropped = _ladder(10_000, 77, Contract(), seconds, family)
        names = sorted([plan.kind for plan in planned if not plan.teacher] + [one.kind for one in dropped])
        assert names == _kinds_of(family)
        assert sum(plan.seconds for plan in planned) <= seconds or len(planned) == 1
        assert all(len(one.why) > 20 for one in dropped)


@pytest.mark.parametrize(("family", "short_s"), [("classify", 12.0), ("extract", 60.0)])
def test_a_short_budget_keeps_the_cheapest_and_drops_the_slowest(family: str, short_s: float) -> None:
    cost = {name: student_kinds().load(name).COST_ORDER for name in _kinds_of(family)}
    planned, dropped = _ladder(10_000, 77, Contract(), short_s, family)
    assert dropped
    assert min(cost, key=lambda name: cost[name]) in {plan.kind for plan in planned}
    assert all("budget" in one.why for one in dropped)
    everything, none = _ladder(2_000, 20, Contract(), 4000.0, family)
    assert {plan.kind for plan in everything} == set(cost)
    assert none == []


def test_the_quickest_come_first_the_teacher_last_and_then_those_it_teaches() -> None:
    planned, _ = _ladder(2_000, 20, Contract(), 4000.0, "classify")
    first = [plan for plan in planned if plan.teacher is None]
    assert planned[: len(first)] == first
    assert first[-1].kind == "encoder"
    assert [plan.seconds for plan in first[:-1]] == sorted(plan.seconds for plan in first[:-1])
    taught = planned[len(first) :]
    assert taught
    assert {plan.teacher for plan in taught} == {"encoder"}
    assert {plan.kind for plan in taught} <= {plan.kind for plan in first}


def test_a_slow_machine_leaves_out_what_a_fast_one_trains() -> None:
    slow = MachineSpeed(slowness=3.0, arithmetic="float32", token_layer_s={"float32": 4e-4})
    fast = {plan.kind for plan in _ladder(10_000, 77, Contract(), 150.0, "classify")[0]}
    planned, dropped = _ladder(10_000, 77, Contract(), 150.0, "classify", slow)
    assert "encoder" in fast
    assert "encoder" not in {plan.kind for plan in planned}
    assert "encoder" in {one.kind for one in dropped}


def test_long_texts_cost_more_than_short_ones() -> None:
    short, long = (TrainingBudget(TrainingSize(10_000, 77, tokens), 150.0, REFERENCE) for tokens in (80_000, 900_000))
    with_short, with_long = (choose_ladder(each, "classify", Contract())[0] for each in (short, long))
    assert "encoder" in {plan.kind for plan in with_short}
    assert "encoder" not in {plan.kind for plan in with_long}


@pytest.mark.parametrize("contract", [Contract(latency_p95_ms=0.0001), Contract(cost_per_1k=1e-9)])
def test_a_contract_that_no_kind_can_meet_leaves_nothing(contract: Contract) -> None:
    planned, dropped = _ladder(10_000, 77, contract, 4000.0, "classify")
    assert planned == []
    assert all("contract allows" in one.why for one in dropped)


def test_a_tight_latency_leaves_out_what_is_slow() -> None:
    planned, _ = _ladder(10_000, 77, Contract(latency_p95_ms=0.2), 4000.0, "classify")
    assert "linear" in {plan.kind for plan in planned}
    assert "encoder" not in {plan.kind for plan in planned}


def test_a_kind_that_cannot_learn_these_answers_is_dropped_by_its_own_words() -> None:
    budget = TrainingBudget(TrainingSize(2_000, 7, 32_000), 4000.0, REFERENCE)
    planned, dropped = choose_ladder(
        budget, "extract", Contract(), LadderWishes({"tagger": "the field 'x' is free text"})
    )
    assert "tagger" not in {plan.kind for plan in planned}
    assert {one.kind: one.why for one in dropped}["tagger"] == "the field 'x' is free text"


BUDGET = TrainingBudget(TrainingSize(2_000, 20, 32_000), 400.0, REFERENCE)


def test_what_the_user_gives_stands_in_the_plan_and_counts_in_its_time() -> None:
    own = {plan.kind: plan for plan in choose_ladder(BUDGET, "classify", Contract())[0]}["encoder"]
    given = LadderWishes(options={"encoder": {"layers": 6}})
    planned = {plan.kind: plan for plan in choose_ladder(BUDGET, "classify", Contract(), given)[0]}
    assert planned["encoder"].options.layers == 6 != own.options.layers
    kind = student_kinds().load("encoder")
    assert planned["encoder"].seconds == kind.seconds_needed(BUDGET.size, planned["encoder"].options, REFERENCE)
    assert sum(plan.seconds for plan in planned.values()) <= 400.0


def test_what_the_user_gives_may_be_too_slow_or_quicker_than_any_plan() -> None:
    slow = LadderWishes(options={"encoder": {"epochs": 500.0}})
    dropped = {one.kind: one.why for one in choose_ladder(BUDGET, "classify", Contract(), slow)[1]}
    assert "budget" in dropped["encoder"]
    short_s = 12.0
    assert "encoder" not in {
        one.kind for one in choose_ladder(replace(BUDGET, seconds=short_s), "classify", Contract())[0]
    }
    quick = LadderWishes({"token_cnn": "-", "frozen": "-"}, {"encoder": {"teacher_epochs": 0.0, "epochs": 0.2}})
    planned = {
        one.kind
        for one in choose_ladder(
            TrainingBudget(TrainingSize(1_000, 4, 16_000), short_s, REFERENCE), "classify", Contract(), quick
        )[0]
    }
    assert "encoder" in planned


def test_the_cheapest_is_planned_where_measuring_it_takes_the_rest_of_the_time() -> None:
    budget = TrainingBudget(TrainingSize(10_000, 77, 160_000), 12.0, REFERENCE, each_s=11.0)
    planned, _ = choose_ladder(budget, "classify", Contract())
    assert [plan.kind for plan in planned] == ["linear"]


def test_the_cheapest_is_planned_a_little_over_time_and_never_far_over() -> None:
    needed = _ladder(10_000, 77, Contract(), 20.0, "classify")[0][0].seconds
    assert [plan.kind for plan in _ladder(10_000, 77, Contract(), 0.4 * needed, "classify")[0]] == ["linear"]
    assert _ladder(10_000, 77, Contract(), 0.05 * needed, "classify")[0] == []


@pytest.mark.parametrize("family", ["classify", "extract"])
def test_the_reason_of_too_little_time_names_what_is_needed_and_a_budget_that_lets_the_kind_in(family: str) -> None:
    size = TrainingSize(10_000, 77, 160_000)
    short = TrainingBudget(size, 12.0, REFERENCE, each_s=1.0, long_each_s=3.0, around_s=10.0, share=0.85)
    _, dropped = choose_ladder(short, family, Contract())
    assert dropped
    for one in dropped:
        said = re.search(r"at least about (\d+) s on this machine.*--budget of about (\d+)s would", one.why)
        assert said, one.why
        kind = student_kinds().load(one.kind)
        assert kind.options_for(size, 0.9 * float(said[1]), REFERENCE) is None
        assert kind.options_for(size, 1.1 * float(said[1]) + 1.0, REFERENCE) is not None
        enough = replace(short, seconds=0.85 * (float(said[2]) - 10.0), each_s=3.0)
        assert one.kind in {plan.kind for plan in choose_ladder(enough, family, Contract())[0]}


def test_what_no_budget_of_a_day_lets_in_is_said_so() -> None:
    given = LadderWishes(options={"encoder": {"epochs": 1e7}})
    dropped = {one.kind: one.why for one in choose_ladder(BUDGET, "classify", Contract(), given)[1]}
    assert "more than a day" in dropped["encoder"]
