"""A random share of the requests goes to the incumbent whatever the cascade and the cache would say, and is kept."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scipy.stats import binomtest

from stepdown.core.calls import Call, as_production_makes_them, incumbent_calls
from stepdown.core.inputs import Input
from stepdown.gateway.cache import AnswerCache, caching
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import JSON, Response
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.middleware.holdback import holdback
from stepdown.gateway.outcome import outcome_of
from stepdown.gateway.served import ServedTask
from stepdown.project.discovery import calls_of
from stepdown.project.home import open_home
from stepdown.runtime.cascade import Decision
from tests.cli.conftest import stepdown
from tests.cli.tickets import SYSTEM, TASK
from tests.gateway.exchanges import AT, answer, exchange, task
from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import SETTINGS, Gateway, copied, issue, kept, launch, serving, soon, sure, unsure

SURE = sure()[0]
CACHED = f'[tasks.{TASK}]\ncache = "10m"\n{SETTINGS}'
RARE = 1e-6
"""How improbable a count must be, if the share is right, before a test fails."""


def held_back(share: float, settings: str = SETTINGS) -> str:
    return settings.replace("holdback = 0.0", f"holdback = {share}")


def selection(gateway: Gateway, got: Any) -> tuple[str, float]:
    call = kept(gateway.home, got.headers["x-stepdown-id"])
    return call.selection, call.served.probability if call.served else 1.0


def is_typical(count: int, n: int, share: float) -> bool:
    return bool(binomtest(count, n, share).pvalue > RARE)


@pytest.fixture(scope="module")
def all_held_back(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = copied(certified, tmp_path_factory.mktemp("all") / "home", held_back(1.0, CACHED))
    with serving(home, "--upstream", upstream.url) as running:
        yield running


def test_a_holdback_of_one_sends_everything_to_the_incumbent(all_held_back: Gateway, upstream: LargeModel) -> None:
    """Repetitions too: the cache, which has their answer, is not asked."""
    before = len(upstream.seen)
    for more in ({}, {}, {"stream": True}, {"headers": {"x-stepdown-route": "incumbent"}}, {"logprobs": True}):
        got = all_held_back.ask(SURE, **more)
        assert got.status_code == 200
        assert got.headers["x-stepdown-rung"] == "incumbent"
        assert got.headers["x-stepdown-reason"] == "holdback"
        assert "x-stepdown-certificate" not in got.headers
        assert selection(all_held_back, got) == ("holdback", 1.0)
    messages = [{"role": "user", "content": SURE}]
    claude = {"model": "gpt-4o-mini", "max_tokens": 99, "system": SYSTEM, "messages": messages}
    got = all_held_back.client.post("/v1/messages", json=claude)
    assert got.headers["x-stepdown-reason"] == "holdback"
    assert selection(all_held_back, got) == ("holdback", 1.0)
    assert len(upstream.seen) == before + 6
    counted = f'stepdown_escalations_total{{reason="holdback",task="{TASK}"}} 6.0'
    assert soon(lambda: counted in all_held_back.client.get("/metrics").text)


def test_who_insists_on_students_is_not_held_back(all_held_back: Gateway, upstream: LargeModel) -> None:
    before = len(upstream.seen)
    got = all_held_back.ask(SURE, headers={"x-stepdown-route": "students"})
    assert got.headers["x-stepdown-rung"] == "linear"
    assert selection(all_held_back, got) == ("", 1.0)
    assert len(upstream.seen) == before


def test_requests_of_no_task_are_as_production_made_them(all_held_back: Gateway) -> None:
    got = all_held_back.ask("", messages=[{"role": "user", "content": "hello"}])
    assert got.headers["x-stepdown-reason"] == "no task"
    assert selection(all_held_back, got) == ("", 1.0)


def test_without_a_holdback_what_no_student_answers_is_escalated(gateway: Gateway) -> None:
    for text, more in (
        (unsure(), {}),
        (SURE, {"logprobs": True}),
        (SURE, {"response_format": {"type": "json_object"}}),
        (SURE, {"headers": {"x-stepdown-route": "incumbent"}}),
        (SURE, {"max_tokens": 1, "stream": True}),
    ):
        got = gateway.ask(text, **more)
        assert got.headers["x-stepdown-rung"] == "incumbent"
        assert selection(gateway, got) == ("escalated", 1.0)
    got = gateway.ask(SURE)
    assert got.headers["x-stepdown-rung"] == "linear"
    assert selection(gateway, got) == ("", 1.0)


def test_while_no_certificate_is_in_force_calls_are_as_production_made_them(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    home = copied(certified, tmp_path / "home", held_back(1.0, CACHED))
    issue(home, verdict="refused")
    with serving(home, "--upstream", upstream.url) as gateway:
        first, again = gateway.ask(SURE), gateway.ask(SURE)
        assert "refused" in first.headers["x-stepdown-reason"]
        assert selection(gateway, first) == ("", 1.0)
        assert again.headers["x-stepdown-rung"] == "cache"
        repeated = kept(home, again.headers["x-stepdown-id"])
        assert (repeated.provider, repeated.rung, repeated.is_cached, repeated.selection) == ("", "", True, "")
        assert repeated.cost_usd == 0.0
        assert repeated.content == SAID
        with open_home(home).store() as store:
            made = {call.id for call in as_production_makes_them(store.calls_kept_under([TASK], [TASK]))}
        assert {first.headers["x-stepdown-id"], again.headers["x-stepdown-id"]} <= made


def test_a_repeated_answer_of_a_cascades_is_no_sample(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", CACHED)
    with serving(home, "--upstream", upstream.url) as gateway:
        for text, first, rung, why in ((unsure(), "incumbent", "", "escalated"), (SURE, "linear", "linear", "")):
            assert gateway.ask(text).headers["x-stepdown-rung"] == first
            again = gateway.ask(text)
            assert again.headers["x-stepdown-rung"] == "cache"
            call = kept(home, again.headers["x-stepdown-id"])
            assert (call.provider, call.rung, call.is_cached, call.selection) == ("", rung, True, why)
            assert call.served
            assert call.served.certificate
            assert list(as_production_makes_them([call])) == []


def test_half_of_the_requests(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", held_back(0.5))
    with serving(home, "--upstream", upstream.url) as gateway:
        answers = [gateway.ask(SURE) for _ in range(200)]
        rungs = Counter(got.headers["x-stepdown-rung"] for got in answers)
        assert set(rungs) == {"incumbent", "linear"}
        assert is_typical(rungs["incumbent"], 200, 0.5)
        for got in answers[:20]:
            held = got.headers["x-stepdown-rung"] == "incumbent"
            assert selection(gateway, got) == (("holdback", 0.5) if held else ("", 1.0))


@pytest.mark.parametrize("certified_for", ["local-only", "any"])
def test_what_may_not_leave_is_never_held_back(
    certified: Path, upstream: LargeModel, tmp_path: Path, certified_for: str
) -> None:
    settings = held_back(1.0) + 'privacy = "local-only"\n'
    home = copied(certified, tmp_path / "home", settings)
    if certified_for == "any":
        (home / "stepdown.toml").write_text(settings.replace("local-only", "any"))
    before = len(upstream.seen)
    with serving(home, "--upstream", upstream.url) as gateway:
        if certified_for == "any":
            (home / "stepdown.toml").write_text(settings)
            assert soon(lambda: gateway.ask(SURE).status_code == 200)
            before = len(upstream.seen)
        for _ in range(20):
            assert gateway.ask(SURE).headers["x-stepdown-rung"] == "linear"
        assert gateway.ask(unsure()).json()["error"]["code"] == "abstained"
    assert len(upstream.seen) == before


def test_where_no_upstream_can_be_asked_students_answer(certified: Path, tmp_path: Path) -> None:
    with serving(copied(certified, tmp_path / "home", held_back(1.0))) as gateway:
        got = gateway.ask(SURE)
        assert got.headers["x-stepdown-rung"] == "linear"
        assert selection(gateway, got) == ("", 1.0)


def test_masked_calls_carry_their_selection_too(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", held_back(1.0) + 'privacy = "redact"\n')
    with serving(home, "--upstream", upstream.url) as gateway:
        got = gateway.ask(f"{SURE} jane.doe@example.com")
        call = kept(home, got.headers["x-stepdown-id"])
        assert call.served
        assert (call.served.selection, call.served.probability) == ("holdback", 1.0)
        assert "jane.doe" not in str(call.request)
    assert "jane.doe" not in upstream.last().everything


@pytest.mark.parametrize("settings", [SETTINGS, CACHED], ids=["plain", "cached"])
def test_after_a_step_down_the_sample_is_of_the_traffic(
    certified: Path, upstream: LargeModel, tmp_path: Path, settings: str
) -> None:
    """A quarter of the requests is hard; the students take the easy ones, and the cache the repetitions."""
    share, n = 0.3, 500
    home = copied(certified, tmp_path / "home", held_back(share, settings))
    with open_home(home).store() as store:
        before = {call.id for call in store.calls_kept_under([TASK], [TASK])}
    dice = random.Random(7)
    texts = [unsure(dice.randrange(3)) if dice.random() < 0.25 else sure(dice.randrange(40))[0] for _ in range(n)]
    hard = sum("hmm" in text for text in texts)
    with serving(home, "--upstream", upstream.url) as gateway:
        for text in texts:
            assert gateway.ask(text).status_code == 200
        last = gateway.ask(SURE).headers["x-stepdown-id"]
        kept(home, last)
    project = open_home(home)
    with project.store() as store:
        calls = [call for call in calls_of(store, store.tasks()[TASK]) if call.id not in before | {last}]
    sample = list(as_production_makes_them(calls))
    assert {call.selection for call in sample} == {"holdback"}
    assert is_typical(len(sample), n, share)
    assert is_typical(_hard(sample), len(sample), hard / n), "the easy inputs are depleted"
    assert sum(1 / call.served.probability for call in sample if call.served) == pytest.approx(n, rel=0.3)
    if settings == SETTINGS:  # What the incumbent answered in all is another population.
        answered = list(incumbent_calls(calls))
        assert not is_typical(_hard(answered), len(answered), hard / n)


def _hard(calls: list[Call]) -> int:
    return sum("hmm" in call.request["messages"][-1]["content"] for call in calls)


def test_gateways_of_several_processes_draw_apart(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", held_back(0.5))
    gateway = launch(home, "--upstream", upstream.url, "--workers", "2")
    try:
        rungs = Counter(gateway.ask(SURE).headers["x-stepdown-rung"] for _ in range(60))
        assert is_typical(rungs["incumbent"], 60, 0.5)
    finally:
        assert gateway.end() == 0


def test_settings_are_read_again(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    toml = home / "stepdown.toml"

    def reason() -> str:
        return gateway.ask(SURE).headers.get("x-stepdown-reason", "")

    with serving(home, "--upstream", upstream.url) as gateway:
        assert reason() == ""
        toml.write_text(SETTINGS.replace("0.05", "0.01"))
        assert soon(lambda: "asks for margin = 0.01" in reason())
        assert selection(gateway, gateway.ask(SURE)) == ("", 1.0)
        toml.write_text(held_back(1.0))
        assert soon(lambda: reason() == "holdback"), "a holdback needs no other certificate"
        toml.write_text("[tasks")
        assert soon(lambda: "settings_not_read" in gateway.log)
        assert reason() == "holdback"


def test_a_build_for_another_contract_is_not_served_until_the_settings_say_so_and_somebody_promotes_it(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    home = copied(certified, tmp_path / "home")
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "linear"
        built = stepdown(
            "build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", "0.1", "--home", str(home), "--json"
        )
        assert built.code == 0, built.err
        before = gateway.ask(SURE).headers["x-stepdown-certificate"]
        time.sleep(1.5)  # more than one look at the builds
        assert gateway.ask(SURE).headers["x-stepdown-certificate"] == before
        early = stepdown("promote", TASK, built.json["build"], "--home", str(home))
        assert early.code == 1
        assert "margin" in early.err
        (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.1"))
        assert soon(lambda: gateway.ask(SURE).headers["x-stepdown-rung"] == "incumbent")
        assert stepdown("promote", TASK, built.json["build"], "--home", str(home)).code == 0
        assert soon(lambda: gateway.ask(SURE).headers.get("x-stepdown-certificate", before) != before)
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "linear"


# The draw on its own, with a generator that is known.


async def decide(input: Input, insist: bool) -> Decision:
    raise AssertionError("no rung is asked")


def served(**fields: Any) -> ServedTask:
    found = {"decide": decide, "certificate": "c", "valid_from": AT - 10, "valid_until": AT + 10, **fields}
    return replace(task(), **found)


def drawn(n: int, can_ask: bool = True, **fields: Any) -> list[Exchange]:
    """Exchanges as they are after the draw."""
    layer = holdback(random.Random(5), lambda: can_ask)

    async def proceed(one: Exchange) -> Response:
        return Response(200, [JSON], b"{}")

    async def all_of_them() -> list[Exchange]:
        found = [exchange(served=fields.get("served"), at=fields.get("at", AT)) for _ in range(n)]
        for one in found:
            await layer(one, proceed)
        return found

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_the_share_that_is_drawn(share: float) -> None:
    found = drawn(4000, served=served(holdback=share))
    held = [one for one in found if one.selection == "holdback"]
    assert is_typical(len(held), 4000, share)
    assert {one.selection_probability for one in held} <= {share}
    assert {(one.selection, one.selection_probability) for one in found if one not in held} <= {("", 1.0)}


@pytest.mark.parametrize(
    "fields",
    [
        {"served": None},
        {"served": served(holdback=1.0, decide=None)},
        {"served": served(holdback=1.0, template=None)},
        {"served": served(holdback=1.0, privacy="local-only")},
        {"served": served(holdback=1.0), "at": AT + 10},
        {"served": served(holdback=1.0), "can_ask": False},
    ],
)
def test_nothing_is_drawn_where_no_cascade_is_in_force_or_nobody_may_be_asked(fields: dict[str, Any]) -> None:
    assert {one.selection for one in drawn(5, **fields)} == {""}


def test_the_cache_is_not_looked_at_and_is_filled() -> None:
    cache, asked = AnswerCache(lambda: 0.0), []
    look = caching(cache, Metrics("1"))
    of_task = served(holdback=1.0, cache_s=60.0)

    async def proceed(one: Exchange) -> Response:
        asked.append(one)
        return Response(200, [JSON], msgspec.json.encode(answer()))

    for _ in range(2):
        held = exchange(served=of_task)
        held.selection, held.selection_probability = "holdback", 1.0
        asyncio.run(look(held, proceed))
        cache(held, outcome_of(held, lambda call: None))
    assert len(asked) == 2
    other = exchange(served=of_task)
    asyncio.run(look(other, proceed))
    assert len(asked) == 2, "the incumbent's answer to a request that was held back is given again"
    assert (other.rung, other.upstream, other.selection) == ("cache", "cache", "escalated")
