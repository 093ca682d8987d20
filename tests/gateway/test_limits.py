"""No more is admitted than a limit says, waiting as told suffices, and several gateways agree on what was spent."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import accumulate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.keys import Key
from stepdown.core.limits import Limits
from stepdown.core.store import ServedHour, Store
from stepdown.gateway.limits import Bucket, Limiter, Refusal
from stepdown.gateway.spending import month_start_hour, period_end_s, period_of, read_totals
from stepdown.stores.store import open_store

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
HOUR = int(NOON) // 3600
RATES = st.floats(0.01, 100_000.0)


def key(name: str = "k", **limits: float) -> Key:
    return Key(id=name, name=name, digest=name, prefix="", created_at=0.0, limits=Limits(**limits))


def limiter(**tasks: Limits) -> Limiter:
    return Limiter(tasks)


def refused(limits: Limiter, who: Key | None, now: float, task: str = "") -> Refusal | None:
    got = limits.admit(now, who, task)
    return got if isinstance(got, Refusal) else None


def admitted(limits: Limiter, who: Key | None, now: float, task: str = "") -> bool:
    return refused(limits, who, now, task) is None


@given(RATES, st.lists(st.floats(0.0, 30.0), max_size=80), st.integers(1, 20))
def test_no_window_holds_more_than_its_share_and_one_burst(rate: float, gaps: list[float], tries: int) -> None:
    limits, who = limiter(), key(requests_per_minute=rate)
    taken = [now for now in accumulate(gaps, initial=NOON) for _ in range(tries) if admitted(limits, who, now)]
    burst = max(1.0, rate)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * rate / 60 + 1e-3


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(1.0, 100.0))
def test_a_clock_that_jumps_gives_away_one_burst_a_jump_at_most(jumps: list[float], rate: float) -> None:
    bucket, now, taken = Bucket(rate, NOON), NOON, 0
    for jump in jumps:
        now += jump
        while bucket.wait_s(1.0, now) == 0.0:
            bucket.take(1.0, now)
            taken += 1
    assert taken <= rate * (len(jumps) + 1) + 1
    assert bucket.wait_s(1.0, now) <= 60.0 / rate + 1.0


@given(RATES, st.lists(st.integers(0, 200_000), max_size=20), st.floats(0.0, 1e6))
def test_waiting_as_long_as_told_suffices(rate: float, tokens: list[int], later: float) -> None:
    limits, who = limiter(), key(requests_per_minute=rate, tokens_per_minute=rate * 10)
    now = NOON + later
    for used in (0, *tokens):
        refusal = refused(limits, who, now)
        if refusal is not None:
            assert refusal.status == 429
            now += refusal.retry_after_s
            assert admitted(limits, who, now)
        limits.charge(who.id, "", used, 0.0, now)


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    limits, who = limiter(), key(requests_per_minute=60)
    assert [admitted(limits, who, NOON) for _ in range(61)] == [True] * 60 + [False]
    refusal = refused(limits, who, NOON)
    assert refusal is not None
    assert (refusal.limit, round(refusal.retry_after_s, 2)) == ("requests_per_minute", 1.0)
    assert "60 requests a minute" in refusal.reason
    assert admitted(limits, who, NOON + 1)
    assert not admitted(limits, who, NOON + 1)


def test_a_refused_request_costs_nothing() -> None:
    limits = limiter(t=Limits(requests_per_minute=1))
    who = key(requests_per_minute=10)
    for _ in range(50):
        limits.admit(NOON, who, "t")
    assert [admitted(limits, who, NOON) for _ in range(10)] == [True] * 9 + [False]


def test_tokens_are_paid_off_after_the_fact() -> None:
    limits, who = limiter(), key(tokens_per_minute=600)
    assert admitted(limits, who, NOON)
    limits.charge(who.id, "", 1200, 0.0, NOON)
    refusal = refused(limits, who, NOON)
    assert refusal is not None
    assert refusal.limit == "tokens_per_minute"
    assert refusal.retry_after_s == pytest.approx(60, abs=1)
    assert admitted(limits, who, NOON + 61)


def test_a_task_is_limited_whoever_asks_and_other_tasks_are_not() -> None:
    limits = limiter(t=Limits(requests_per_minute=2), free=Limits())
    asked = [admitted(limits, who, NOON, "t") for who in (None, key("a"), key("b", requests_per_minute=9))]
    assert asked == [True, True, False]
    assert admitted(limits, None, NOON, "free")
    assert admitted(limits, None, NOON, "made-up")


def test_a_budget_lasts_until_its_period_ends() -> None:
    limits, who = limiter(), key(usd_per_day=1.0, usd_per_month=3.0)
    for day in range(3):
        now = NOON + day * 86400
        assert admitted(limits, who, now)
        limits.charge(who.id, "t", 5, 1.25, now)
        refusal = refused(limits, who, now, "t")
        assert refusal is not None
        if day < 2:
            assert (refusal.limit, refusal.retry_after_s) == ("usd_per_day", 12 * 3600)
    assert refusal.limit == "usd_per_month"
    assert refusal.retry_after_s == (8 * 24 + 12) * 3600  # from the 22nd at noon to December
    assert admitted(limits, who, NOON + 2 * 86400 + refusal.retry_after_s)


@given(st.floats(-1e10, 1e15))
def test_any_clock_has_a_day_and_a_month(now: float) -> None:
    assert 0 <= period_end_s("day", now) <= 86400
    assert period_end_s("day", now) <= period_end_s("month", now) <= 31 * 86400
    if 0 <= now < 1e11:
        later = now + period_end_s("month", now) + 1
        assert period_of("month", later) == period_of("month", now) + 1
        assert period_of("month", month_start_hour(now) * 3600) == period_of("month", now)


def served(who: str, usd: float, hour: int = HOUR, task: str = "") -> ServedHour:
    return ServedHour(hour=hour, key=who, task=task, rung="incumbent", cost_usd=usd)


def test_totals_of_other_days_and_months_do_not_count() -> None:
    limits, who = limiter(), key(usd_per_day=1.0, usd_per_month=2.0)
    limits.load_totals([served("k", 1.5, HOUR - 24), served("k", 9.0, HOUR - 24 * 30), served("x", 9.0)], NOON)
    assert admitted(limits, who, NOON)
    limits.load_totals([served("k", 1.5, HOUR - 24), served("k", 0.5)], NOON)
    refusal = refused(limits, who, NOON)
    assert refusal is not None
    assert refusal.limit == "usd_per_month"


@pytest.mark.parametrize("now", [NOON, NOON - 20 * 86400 + 43200, NOON - 19.6 * 86400])
def test_sums_say_what_all_rows_say(now: float) -> None:
    store = open_store("memory:")
    hours = (0, month_start_hour(now) - 1, month_start_hour(now), int(now) // 3600 - 13, int(now) // 3600)
    store.add_served([served(name, 0.25, hour, task) for hour in hours for name in "ab" for task in ("", "t")])
    verdicts = []
    for rows in (list(store.served()), read_totals(store, now)):
        limits = limiter()
        limits.load_totals(rows, now)
        budgets = [{"usd_per_day": 0.25 * n} for n in range(1, 12)] + [
            {"usd_per_month": 0.25 * n} for n in range(1, 12)
        ]
        verdicts.append([admitted(limits, key("a", **budget), now) for budget in budgets])
    assert verdicts[0] == verdicts[1]
    assert True in verdicts[0]
    assert False in verdicts[0]
    store.close()


def test_what_is_under_way_to_the_store_is_counted_once() -> None:
    limits, who = limiter(), key(usd_per_day=1.0)
    limits.charge("k", "", 0, 0.4, NOON)
    limits.mark()
    limits.charge("k", "", 0, 0.4, NOON)
    assert admitted(limits, who, NOON)
    limits.load_totals([served("k", 0.4)], NOON)
    assert admitted(limits, who, NOON)
    limits.charge("k", "", 0, 0.3, NOON)
    assert not admitted(limits, who, NOON)


def test_a_write_that_failed_is_counted_until_it_succeeds() -> None:
    limits, who = limiter(), key(usd_per_day=1.0)
    limits.charge("k", "", 0, 0.6, NOON)
    limits.mark()
    limits.charge("k", "", 0, 0.5, NOON)
    limits.mark()
    assert not admitted(limits, who, NOON)
    limits.load_totals([served("k", 0.9)], NOON)
    assert admitted(limits, who, NOON)


class Gateway:
    """One process: it admits, charges, writes what it served, and reads what all did."""

    def __init__(self, store: Store, tasks: dict[str, Limits]) -> None:
        self.store, self.limits = store, Limiter(tasks)
        self.unwritten: list[ServedHour] = []

    def spend(self, usd: float) -> None:
        if admitted(self.limits, None, NOON, "t"):
            self.limits.charge("", "t", 1, usd, NOON)
            self.unwritten.append(served("", usd, task="t"))

    def sync(self) -> None:
        self.limits.mark()
        self.store.add_served(self.unwritten)
        self.unwritten = []
        self.limits.load_totals(read_totals(self.store, NOON), NOON)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.floats(0.01, 2.0))), max_size=60))
def test_several_gateways_agree_and_stop_near_the_budget(steps: list[tuple[int, float | None]]) -> None:
    store = open_store("memory:")
    gateways = [Gateway(store, {"t": Limits(usd_per_day=5.0)}) for _ in range(3)]
    for who, usd in steps:
        if usd is None:
            gateways[who].sync()
        else:
            gateways[who].spend(usd)
    for gateway in (*gateways, *gateways):
        gateway.sync()
    total = sum(row.cost_usd for row in store.served())
    # Each may go over by what it did not know yet: its own last request, and the others' since its last reading.
    assert total < 3 * (5.0 + 2.0)
    verdicts = {admitted(gateway.limits, None, NOON, "t") for gateway in gateways}
    assert verdicts == {total < 5.0}
    store.close()


def test_a_limit_that_changes_keeps_what_was_taken() -> None:
    limits, who = limiter(), key(requests_per_minute=10)
    assert all(admitted(limits, who, NOON) for _ in range(8))
    smaller = msgspec.structs.replace(who, limits=Limits(requests_per_minute=9))
    assert [admitted(limits, smaller, NOON) for _ in range(2)] == [True, False]


def test_keys_that_are_gone_are_forgotten() -> None:
    limits, who = limiter(), key(requests_per_minute=1, usd_per_day=1.0)
    admitted(limits, who, NOON)
    limits.charge("k", "", 1, 5.0, NOON)
    limits.keep_keys(frozenset({"k"}))
    assert not admitted(limits, who, NOON)
    limits.keep_keys(frozenset())
    assert admitted(limits, who, NOON)
