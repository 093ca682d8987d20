"""Spend and savings: wherever they are shown they are what the stored calls add up to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepdown.core.calls import Call
from stepdown.project.builds import latest
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import EVENTS, LargeModel, Says, Seen, usual_answer
from tests.gateway.serving import Gateway, asked, copied, puzzle, serving, soon, sure

COUNT, AT_ONCE = 5000, 16
PER_MTOK = (150.0, 600.0)
"""Of the large model's answers: dear, so that a cent is far above what sums of fractions leave over."""
SETTINGS = f"""
[prices."gpt-4o-mini-2024"]
input_per_mtok = {PER_MTOK[0]}
output_per_mtok = {PER_MTOK[1]}

[tasks.tickets]
cache = "1h"

[tasks.tickets.contract]
margin = 0.05
holdback = 0.1
"""
MYSTERY = "no-list-has-this-one"
USED = (40, 9)
ODD = ("silent", "cut", "mystery", "refusing", "flaky")


@dataclass(frozen=True)
class Got:
    """One answer as its client saw it."""

    name: str
    rung: str
    reason: str
    tried: bool
    asked: str


def odd_model() -> LargeModel:
    """A large model that does what its model's name says. "flaky" refuses each request once."""
    refused: set[bytes] = set()

    def answer(seen: Seen) -> Says:
        if seen.method == "GET":
            return usual_answer(seen)
        request = seen.json
        said = usual_answer(seen)
        kind = request["model"]
        if kind == "flaky" and seen.body not in refused:
            refused.add(seen.body)
            return Says(b'{"error": {"message": "slow down"}}', 429, {"retry-after": "0", "content-type": "text/json"})
        if kind == "refusing":
            return Says(b'{"error": {"message": "never"}}', 400)
        if kind == "mystery" and isinstance(said.body, bytes):
            return replace(said, body=said.body.replace(b"gpt-4o-mini-2024", MYSTERY.encode()))
        if kind == "silent":
            pieces = [piece.replace(b', "usage": null', b"") for piece in said.body if b"prompt_tokens" not in piece]
            return replace(said, body=pieces)
        if kind == "cut":
            return Says(list(said.body)[:4], headers=dict(EVENTS), breaks_off=True)
        return said

    return LargeModel(answer).start()


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """(what is odd about it, its body), mixed."""
    for number in range(COUNT):
        place = number % 10
        if place < 4:
            yield "", {**asked(sure(number)[0]), "stream": place == 3}
        elif place == 4:  # What was asked before: a cached answer.
            yield "", asked(sure(number - 14)[0] if number % 20 == 4 else puzzle(7001))
        elif place < 8:
            stream: dict[str, Any] = {} if place == 5 else {"stream": True}
            yield "", {**asked(puzzle(5001 + number)), **stream, **_usage(place == 7)}
        elif place == 8:
            kind = ODD[number // 10 % len(ODD)]
            # A stream cut off is an upstream's failure: so many in a row would have it left alone.
            kind = "silent" if kind == "cut" and number // 50 % 5 else kind
            stream = {"stream": True} if kind in ("silent", "cut") else {}
            yield kind, {**asked(puzzle(5001 + number)), "model": kind, **stream}
        else:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"a chat, number {number}"}]}
            yield "", {**body, "stream": number % 20 == 9}


def _usage(asks: bool) -> dict[str, Any]:
    return {"stream_options": {"include_usage": True}} if asks else {}


async def ask_all(url: str) -> list[Got]:
    got: list[Got] = []
    left = requests()
    async with httpx.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as client:

        async def work() -> None:
            for kind, body in left:
                try:
                    answer = await client.post("/v1/chat/completions", json=body)
                except httpx.RemoteProtocolError:
                    assert kind == "cut"
                    continue
                assert answer.status_code == (400 if kind == "refusing" else 200), answer.text
                if kind != "refusing":
                    asks = not body.get("stream") or "stream_options" in body
                    assert (b'"usage"' in answer.content) == asks, "a client gets what it asked for"
                got.append(_got(kind, answer.headers))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return got


def _got(kind: str, headers: httpx.Headers) -> Got:
    return Got(
        headers["x-stepdown-id"],
        headers["x-stepdown-rung"],
        headers.get("x-stepdown-reason", ""),
        "x-stepdown-confidence" in headers,
        kind,
    )


@pytest.fixture(scope="module")
def served(certified: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, list[Got]]]:
    model = odd_model()
    home = copied(certified, tmp_path_factory.mktemp("accounts") / "home", SETTINGS)
    try:
        with serving(home, "--upstream", model.url) as gateway:
            got = asyncio.run(ask_all(gateway.url))
            assert soon(lambda: sum(one["requests"] for one in status(gateway)["served"]) == COUNT, 60.0)
            yield gateway, got
    finally:
        model.stop()


def status(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = stepdown("status", "--json", "--home", str(gateway.home)).json
    return found


def stored(gateway: Gateway) -> list[Call]:
    with open_home(gateway.home).store() as store:
        return [call for call in store.calls() if call.source == "gateway"]


def test_the_calls_are_of_every_kind(served: tuple[Gateway, list[Got]]) -> None:
    gateway, got = served
    rungs = Counter(one.rung for one in got)
    assert min(rungs["linear"], rungs["incumbent"], rungs["cache"]) > 300, rungs
    reasons = Counter(one.reason for one in got)
    assert min(reasons["unsure"], reasons["holdback"], reasons["model differs"], reasons["no task"]) > 100, reasons
    calls = stored(gateway)
    assert len(calls) == COUNT
    assert Counter(bool(call.error) for call in calls)[True] > 100
    cut = [call for call in calls if "cut" in call.error]
    assert len(cut) == sum(kind == "cut" for kind, _ in requests()) > 5
    assert all(call.account and call.account.estimated and call.account.spent_usd > 0.0 for call in cut)


def test_every_call_spent_and_saved_what_its_answer_says(served: tuple[Gateway, list[Got]]) -> None:
    gateway, got = served
    record = latest(open_home(gateway.home), TASK).read_record()
    own = {one.kind: one.speed.cost_per_1k.value / 1000.0 for one in record.students}["linear"]
    assert record.incumbent.cost_per_1k is not None
    usual = record.incumbent.cost_per_1k.value / 1000.0
    asked_up = (USED[0] * PER_MTOK[0] + USED[1] * PER_MTOK[1]) / 1e6
    calls = {call.id: call for call in stored(gateway)}
    for one in got:
        call = calls[one.name]
        account = call.account
        assert account is not None
        tried = own if one.tried and one.rung == "incumbent" else 0.0
        if one.rung == "linear":
            wanted = (own, usual - own)
        elif one.rung == "cache":
            wanted = (0.0, usual if call.rung else asked_up)
        elif one.asked == "silent":
            assert account.estimated
            assert call.cost_usd is None, "a guess is no price"
            assert account.spent_usd > tried
            wanted = (account.spent_usd, -tried)
        elif one.asked in ("mystery", "refusing"):
            wanted = (tried, -tried)
        else:
            assert not account.estimated, "its usage was asked for, whatever the client asked"
            assert (call.prompt_tokens, call.completion_tokens, call.cost_usd) == (*USED, pytest.approx(asked_up))
            wanted = (asked_up + tried, -tried)
        assert (account.spent_usd, account.saved_usd) == (pytest.approx(wanted[0]), pytest.approx(wanted[1])), one


def test_whatever_shows_spend_and_savings_shows_the_sums_of_the_calls(served: tuple[Gateway, list[Got]]) -> None:
    gateway, _ = served
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for call in stored(gateway):
        assert call.account is not None
        task = "tickets" if "Classify the ticket" in json.dumps(call.request) else ""
        sums[task][0] += call.account.spent_usd
        sums[task][1] += call.account.saved_usd
    shown = {one["task"]: [one["cost_usd"], one["saved_usd"]] for one in status(gateway)["served"]}
    assert shown == {task: pytest.approx(usd, abs=1e-6) for task, usd in sums.items()}
    expected = {task: pytest.approx(usd, abs=1e-6) for task, usd in sums.items()}
    assert soon(lambda: in_metrics(gateway, sums) == expected), "what is moved is told of once a second"
    with open_home(gateway.home).store() as store:
        by_rung = [(row.rung, row.cost_usd) for row in store.served() if row.rung == "linear"]
    assert by_rung, "answers of students are sums of their own"


def in_metrics(gateway: Gateway, tasks: Iterable[str]) -> dict[str, list[float]]:
    metrics = gateway.client.get("/metrics").text
    spent, alone = (total(metrics, name) for name in ("stepdown_cost_usd", "stepdown_incumbent_cost_usd"))
    return {task: [spent[task], alone[task] - spent[task]] for task in tasks}


def total(metrics: str, name: str) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(metrics):
        if family.name == name:
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    found[sample.labels["task"]] += sample.value
    return found
