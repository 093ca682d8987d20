"""The pace of a training: how many steps there are time for, on a clock that the test moves."""

from __future__ import annotations

import pytest

from stepdown.core.pace import Clock, Cuts, Deadline, Pace


class Hands:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(pace: Pace, hands: Hands, step_s: float) -> list[float]:
    """The rates of all steps, each of which takes so many seconds."""
    rates: list[float] = []
    while pace.goes_on(len(rates)):
        rates.append(pace.rate(len(rates)))
        hands.now += step_s
    return rates


def test_without_a_clock_all_planned_steps_are_taken() -> None:
    pace = Pace(100)
    rates = run(pace, Hands(), 1.0)
    assert len(rates) == 100
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 90)
    assert pace.cuts == []


def test_enough_time_changes_nothing() -> None:
    hands = Hands()
    pace = Pace(100, Deadline(120.0, hands))
    assert run(pace, hands, 1.0) == run(Pace(100), Hands(), 1.0)
    assert pace.cuts == []


@pytest.mark.parametrize("step_s", [0.05, 1.0, 7.0])
def test_too_little_time_ends_early_with_rates_that_fall_to_nothing(step_s: float) -> None:
    hands = Hands()
    pace = Pace(1_000, Deadline(200.0 * step_s, hands))
    rates = run(pace, hands, step_s)
    assert 180 <= len(rates) <= 201
    assert rates[-1] < 0.06
    assert max(rates) > 0.9
    assert hands.now <= 201.0 * step_s


def test_a_machine_that_becomes_busy_shortens_and_one_that_becomes_free_lengthens_again() -> None:
    hands = Hands()
    pace = Pace(400, Deadline(400.0, hands))
    step = 0
    while pace.goes_on(step):
        hands.now += 3.0 if 50 <= step < 100 else 0.9
        step += 1
    assert 300 <= step < 400
    assert hands.now <= 404.0
    totals = [total for _, total in pace.cuts]
    assert min(totals) < totals[-1]


def test_the_same_cuts_give_the_same_steps_and_rates_without_a_clock() -> None:
    hands = Hands()
    pace = Pace(500, Deadline(120.0, hands))
    rates = run(pace, hands, 1.0)
    again = Pace(500, cuts=tuple(pace.cuts))
    assert run(again, Hands(), 0.0) == rates
    assert again.cuts == pace.cuts


def test_a_training_that_goes_on_has_what_was_cut_before() -> None:
    hands = Hands()
    whole = Pace(500, Deadline(120.0, hands))
    rates = run(whole, hands, 1.0)
    before = tuple(cut for cut in whole.cuts if cut[0] <= 60)
    resumed = Pace(500, cuts=before)
    assert resumed.goes_on(60)
    assert resumed.rate(60) == rates[60]


def test_a_deadline_that_has_passed_leaves_a_tenth_of_the_steps() -> None:
    hands = Hands()
    rates = run(Pace(100, Deadline(-1.0, hands)), hands, 1.0)
    assert len(rates) == 10
    assert max(rates) > 0.9
    assert rates[-1] < 0.2


def test_a_clock_shares_what_is_left_and_tells_what_each_phase_lost() -> None:
    hands = Hands()
    clock = Clock(Deadline(100.0, hands))
    first = run(clock.pace("first", 200, share=0.25), hands, 1.0)
    assert 20 <= len(first) <= 26
    second = run(clock.pace("second", 50), hands, 1.0)
    assert len(second) == 50
    assert set(clock.cuts) == {"first"}
    replayed: dict[str, Cuts] = clock.cuts
    assert run(Clock(replayed=replayed).pace("first", 200), Hands(), 0.0) == first
