"""Budgets hold for requests that come at once: what they may use is set aside before any of them is asked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.limits import Limits
from stepdown.core.tasks import Match, Task
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.limits import Estimate, Limiter, Refusal, Reserved
from stepdown.gateway.outcome import estimate_of
from stepdown.gateway.served import ResponseTemplate, ServedTask
from stepdown.wires import openai_chat
from tests.cli.conftest import stepdown
from tests.gateway.large_model import LargeModel, Says
from tests.gateway.serving import SETTINGS, Gateway, copied, serving, soon, sure, unsure
from tests.gateway.test_limits import NOON, key

# An answer of the large model in these tests has 40 tokens of prompt and 9 of its own: 1 cent.
PRICES = '[prices."gpt-4o-mini"]\ninput_per_mtok = 25.0\noutput_per_mtok = 1000.0\n'
PRICES += '[prices."gpt-4o-mini-2024"]\ninput_per_mtok = 25.0\noutput_per_mtok = 1000.0\n'


@contextmanager
def limited(certified: Path, upstream: LargeModel, folder: Path, *limits: str, task: str = "") -> Iterator[Gateway]:
    home = copied(
        certified,
        folder / "home",
        SETTINGS.replace("[tasks.tickets.contract]", f"{task}[tasks.tickets.contract]") + PRICES,
    )
    token = stepdown("key", "create", "k", *limits, "--home", str(home), "--json").json["token"]
    with serving(home, "--upstream", upstream.url) as running:
        running.client.headers["authorization"] = f"Bearer {token}"
        yield running


def at_once(gateway: Gateway, count: int, **more: object) -> list[int]:
    def ask(number: int) -> int:
        return gateway.ask(unsure(number % 3), max_tokens=9, **more).status_code

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(ask, range(count)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("limits", "task"),
    [
        (("--usd-per-day", "0.042"), ""),
        (("--usd-per-month", "0.042"), ""),
        (("--tokens-per-minute", "170"), ""),
        ((), "[tasks.tickets]\nlimits = { usd_per_day = 0.042 }\n"),
    ],
    ids=["day", "month", "tokens", "task"],
)
def test_of_32_at_once_about_four_pass(
    certified: Path, upstream: LargeModel, tmp_path: Path, limits: tuple[str, ...], task: str, stream: bool
) -> None:
    with limited(certified, upstream, tmp_path, *limits, task=task) as gateway:
        before = len(upstream.seen)
        with upstream.held(), ThreadPoolExecutor(1) as thread:
            asked = thread.submit(at_once, gateway, 32, stream=stream)
            soon(lambda: len(upstream.seen) - before >= 6, within_s=2.0)
            upstream.release()
            statuses = asked.result()
        assert set(statuses) == {200, 429}
        assert 2 <= statuses.count(200) <= 5


def test_what_failed_is_given_back(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    with limited(certified, upstream, tmp_path, "--usd-per-day", "0.042") as gateway:
        for _ in range(8):
            upstream.then(Says(b'{"error": {"message": "no"}}', 400))
            assert gateway.ask(unsure(), max_tokens=9).status_code == 400
        assert gateway.ask(unsure(), max_tokens=9).status_code == 200


def test_one_that_may_use_more_than_there_is_passes_alone(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    with limited(certified, upstream, tmp_path, "--usd-per-day", "0.042") as gateway:
        assert gateway.ask(unsure(), max_tokens=100_000).status_code == 200
        assert soon(lambda: gateway.ask(unsure(), max_tokens=9).status_code == 200)


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from(["admit", "end", "fail", "charge", "wait"]), st.integers(0, 9)), max_size=80))
def test_under_way_and_spent_never_pass_a_budget_by_more_than_one_request(steps: list[Step]) -> None:
    limits, who = Limiter({"t": Limits(usd_per_day=0.5)}), key(usd_per_day=1.0, tokens_per_minute=1000)
    under_way: list[Reserved] = []
    ended: list[Reserved] = []
    spent, now = 0.0, NOON
    for what, number in steps:
        if what == "admit":
            got = limits.admit(now, who, "t", Estimate(10, 0.1))
            if isinstance(got, Reserved):
                under_way.append(got)
                assert spent + 0.1 * (len(under_way) + len(ended)) <= 0.5 + 0.1 + 1e-6
            else:
                assert isinstance(got, Refusal)
                assert got.retry_after_s > 0
        elif what in ("end", "fail") and under_way:
            one = under_way.pop(number % len(under_way))
            limits.end(one, now, charged=what == "end")
            ended += [one] if what == "end" else []
        elif what == "charge" and ended:
            ended.pop(0)
            limits.charge("k", "t", 10, 0.1, now)
            spent += 0.1
        elif what == "wait" and not ended:
            now += number
    for one in under_way:
        limits.end(one, now, charged=False)
    for _ in ended:
        limits.charge("k", "t", 10, 0.1, now)
        spent += 0.1
    assert isinstance(limits.admit(now, who, "t", Estimate(10, 0.1)), Reserved) == (spent < 0.5 - 1e-9)


def test_a_long_prompt_is_set_aside_by_its_length() -> None:
    """Also where nobody says how long the answer may be, and the task's calls usually cost little."""
    task = ServedTask(
        task=Task(name="t", family="", match=Match()), family=None, template=ResponseTemplate({}, cost_usd=0.001)
    )
    usd = {}
    for length in (40, 400_000):
        asked = Exchange(Request("POST", "/v1/chat/completions"), openai_chat, 0.0, 0.0)
        asked.body = asked.chat = {"model": "m", "messages": [{"role": "user", "content": "x" * length}]}
        asked.task = task
        usd[length] = estimate_of(asked, lambda call: (call.prompt_tokens or 0) * 1e-6).usd
    assert usd[40] == 0.001
    assert usd[400_000] == pytest.approx(0.1, rel=1e-4)


def test_what_is_never_charged_is_given_back_in_time() -> None:
    limits, who = Limiter({}), key(usd_per_day=1.0)
    for later in (10.1, -5.0):  # a clock that was set back gives it back too
        got = limits.admit(NOON, who, "", Estimate(1, 0.9))
        assert isinstance(got, Reserved)
        limits.end(got, NOON)
        assert isinstance(limits.admit(NOON, who, "", Estimate(1, 0.9)), Refusal)
        second = limits.admit(NOON + later, who, "", Estimate(1, 0.9))
        assert isinstance(second, Reserved)
        limits.end(second, NOON + later, charged=False)


def test_a_small_budget_lets_many_answers_of_students_come_at_once(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    with limited(certified, upstream, tmp_path, "--usd-per-day", "0.042") as gateway:

        def ask(number: int) -> tuple[int, str]:
            got = gateway.ask(sure(number)[0], max_tokens=200)  # By the model 20 cents.
            return got.status_code, got.headers["x-stepdown-rung"]

        with ThreadPoolExecutor(32) as threads:
            assert set(threads.map(ask, range(200))) == {(200, "linear")}


def test_what_goes_on_to_the_model_is_refused_where_the_budget_is_taken_up(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    with limited(certified, upstream, tmp_path, "--usd-per-day", "0.015") as gateway:
        before = len(upstream.seen)
        with upstream.held(), ThreadPoolExecutor(1) as thread:
            first = thread.submit(gateway.ask, unsure(0), max_tokens=9)
            assert soon(lambda: len(upstream.seen) > before)
            refused = gateway.ask(unsure(1), max_tokens=9)
            upstream.release()
            assert first.result().status_code == 200
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.headers["x-stepdown-rung"] == "refused"
        assert refused.json()["error"]["code"] == "rate_limited"
        assert (
            'stepdown_refusals_total{reason="rate_limited",task="tickets"} 1.0' in gateway.client.get("/metrics").text
        )
