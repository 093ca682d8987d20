"""The circuit breaker, its clock in the test's hands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepdown.gateway.breaker import Breaker, BreakerLimits

LIMITS = BreakerLimits(consecutive=3, share=0.5, least=10, window_s=10.0, steady_s=0.0, open_s=1.0, most_open_s=5.0)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(LIMITS)
    for _ in range(3):
        breaker.failed(at)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(LIMITS)
    for result in (breaker.failed, breaker.failed, breaker.succeeded, breaker.succeeded) * 2:
        result(0.0)
    assert breaker.state(0.0) == "closed"
    assert opened().state(0.5) == "open"
    assert not opened().admits(0.5)
    assert opened().wait_s(0.25) == 0.75


def test_a_share_of_failures_in_the_window_opens_it() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(5):
        breaker.succeeded(1.0)
        breaker.failed(1.0)
    assert breaker.state(1.0) == "open"
    spread = Breaker(LIMITS)
    for number in range(20):
        spread.succeeded(number * 3.0)
        spread.failed(number * 3.0)
    assert spread.state(60.0) == "closed"


def test_what_fails_all_at_once_does_not_open_it_and_what_goes_on_does() -> None:
    for limits in (BreakerLimits(consecutive=3), BreakerLimits(consecutive=1000, least=10)):
        breaker = Breaker(limits)
        for number in range(50):
            breaker.failed(number / 1000)
        assert breaker.state(0.1) == "closed"
        breaker.failed(0.6)
        assert breaker.state(0.6) == "open"


def test_one_probe_at_a_time_and_it_stays_open_longer_each_time_it_fails() -> None:
    breaker = opened()
    now, waits = 0.0, []
    for _ in range(5):
        waits.append(breaker.wait_s(now))
        now += breaker.wait_s(now)
        assert breaker.state(now) == "half-open"
        assert breaker.admits(now)
        assert not breaker.admits(now)
        breaker.failed(now)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]
    now += breaker.wait_s(now)
    assert breaker.admits(now)
    breaker.succeeded(now)
    assert breaker.state(now) == "closed"
    assert opened(now).wait_s(now) == 1.0


def test_an_abandoned_probe_leaves_room_for_another() -> None:
    breaker = opened()
    assert breaker.admits(1.0)
    breaker.abandoned()
    assert breaker.admits(1.0)


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "gone"]), st.floats(0, 3)), max_size=200))
def test_whatever_happens_it_can_be_asked_again_after_a_while(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(LIMITS), 0.0
    for what, pause in steps:
        now += pause
        if breaker.admits(now):
            if what == "ok":
                breaker.succeeded(now)
            elif what == "bad":
                breaker.failed(now)
            else:
                breaker.abandoned()
        assert breaker.wait_s(now) <= LIMITS.most_open_s
    assert breaker.admits(now + LIMITS.most_open_s)
