"""The ladder: what time and contract let in, in which order, and the reasons for the rest."""

from __future__ import annotations

import pytest

from stepdown.core.contract import Contract
from stepdown.students.kinds import student_kinds
from stepdown.students.ladder import choose_ladder


def test_every_kind_is_planned_or_dropped_with_a_reason() -> None:
    for seconds in (1.0, 20.0, 55.0, 320.0, 4000.0):
        planned, dropped = choose_ladder(10_000, 77, Contract(), seconds, "classify")
        names = sorted([plan.kind for plan in planned] + [one.kind for one in dropped])
        assert names == student_kinds().names()
        assert sum(plan.seconds for plan in planned) <= seconds
        assert all(len(one.why) > 20 for one in dropped)


def test_a_short_budget_keeps_the_cheapest_and_drops_the_slowest() -> None:
    cost = {name: student_kinds().load(name).COST_ORDER for name in student_kinds().names()}
    planned, dropped = choose_ladder(10_000, 77, Contract(), 12.0, "classify")
    assert min(cost, key=lambda name: cost[name]) in {plan.kind for plan in planned}
    assert all("budget" in one.why for one in dropped)
    everything, none = choose_ladder(2_000, 20, Contract(), 4000.0, "classify")
    assert len(everything) == len(cost)
    assert none == []


def test_a_teacher_is_trained_before_its_students() -> None:
    planned, _ = choose_ladder(2_000, 20, Contract(), 4000.0, "classify")
    order = [plan.kind for plan in planned]
    for plan in planned:
        assert plan.teacher is None or order.index(plan.teacher) < order.index(plan.kind)


@pytest.mark.parametrize("contract", [Contract(latency_p95_ms=0.0001), Contract(cost_per_1k=1e-9)])
def test_a_contract_that_no_kind_can_meet_leaves_nothing(contract: Contract) -> None:
    planned, dropped = choose_ladder(10_000, 77, contract, 4000.0, "classify")
    assert planned == []
    assert all("contract allows" in one.why for one in dropped)


def test_a_tight_latency_leaves_out_what_is_slow() -> None:
    planned, _ = choose_ladder(10_000, 77, Contract(latency_p95_ms=0.2), 4000.0, "classify")
    assert "linear" in {plan.kind for plan in planned}
    assert "encoder" not in {plan.kind for plan in planned}
