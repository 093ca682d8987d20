"""stepdown calls, and gold by the ids that clients see: through the command line and a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from stepdown.core.store import Gold
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, asked, copied, kept, serving, soon, sure, unsure

MOODS, COLOURS = ("glad", "sad", "angry"), ("red", "green", "blue")
COUNT = 60


def call(number: int, system: str, answers: tuple[str, ...]) -> dict[str, Any]:
    """A recorded call that names no workload."""
    given = answers[number % len(answers)]
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{given} as can be, {number}"}]
    response = {
        "id": f"chatcmpl-{system[:4]}{number}",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": given}}],
    }
    name = f"{system.rsplit(maxsplit=1)[-1].strip('.')}-{number}"
    return {"id": name, "timestamp": 1_760_000_000 + number, "request": {"model": "m", "messages": messages}} | {
        "response": response
    }


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with calls of two tasks that name no workload."""
    home = tmp_path_factory.mktemp("two") / "home"
    home.mkdir()
    calls = [call(number, "Say in one word what mood the writer is in: mood.", MOODS) for number in range(COUNT)]
    calls += [call(number, "Name the colour that stands in the text: colour.", COLOURS) for number in range(COUNT)]
    (home / "calls.jsonl").write_text("".join(json.dumps(one) + "\n" for one in calls))
    assert run(home, "import", str(home / "calls.jsonl")).code == 0
    assert run(home, "tasks").code == 0
    return home


def run(home: Path, *arguments: str) -> Said:
    return stepdown(*arguments, "--home", str(home), "--json")


def rows(said: Said) -> list[dict[str, Any]]:
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def gold_of(home: Path, name: str) -> Gold | None:
    with open_home(home).store() as store:
        return store.gold().get(name)


def test_feedback_is_judged_by_the_calls_own_task(two_tasks: Path, upstream: LargeModel) -> None:
    with serving(two_tasks, "--upstream", upstream.url) as gateway:

        def tell(name: str, gold: str) -> int:
            return gateway.client.post("/v1/feedback", json={"id": name, "gold": gold}).status_code

        for name, right, wrong in (("mood-7", "angry", "blue"), ("colour-7", "blue", "angry")):
            assert tell(name, wrong) == 422, "the other task's answer"
            assert tell(name, right) == 200
        found = gateway.client.post("/v1/feedback", json={"id": "chatcmpl-Name8", "gold": "red"})
        assert found.status_code == 200, "by the id of the response"
    assert gold_of(two_tasks, "colour-8") is not None


def test_calls_are_exported_a_line_each(two_tasks: Path) -> None:
    found = rows(run(two_tasks, "calls"))
    assert len(found) == 2 * COUNT
    tasks = {one["task"] for one in found}
    assert len(tasks) == 2
    assert None not in tasks
    task = next(one["task"] for one in found if one["id"] == "colour-4")
    (row,) = [one for one in rows(run(two_tasks, "calls", task)) if one["id"] == "colour-4"]
    assert {key: row[key] for key in ("time", "rung", "input", "answer", "response_id")} == {
        "time": "2025-10-09T08:53:24.000Z",
        "rung": "incumbent",
        "input": row["input"],
        "answer": "green",
        "response_id": "chatcmpl-Name4",
    }
    assert "green as can be, 4" in str(row["input"])
    assert len(rows(run(two_tasks, "calls", task))) == COUNT
    assert len(rows(run(two_tasks, "calls", "--since", "2025-10-09T08:54:10Z"))) == 20
    assert len(rows(run(two_tasks, "calls", "--limit", "3"))) == 3
    assert rows(run(two_tasks, "calls", "--since", "1h")) == []


def test_calls_are_shown_to_people(two_tasks: Path) -> None:
    said = stepdown("calls", "--home", str(two_tasks))
    assert said.code == 0
    assert "The newest 20 of 120" in said.out
    assert "colour-59" in said.out
    assert "mood-5 " not in said.out


@pytest.mark.parametrize("arguments", [("no-such-task",), ("--since", "yesterday"), ("--limit", "0")])
def test_calls_that_cannot_be_meant(two_tasks: Path, arguments: tuple[str, ...]) -> None:
    said = run(two_tasks, "calls", *arguments)
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1 or arguments[0].startswith("--")


@pytest.fixture(scope="module")
def gateway(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = '[tasks.tickets]\ncache = "1h"\n[tasks.tickets.contract]\nmargin = 0.05\nholdback = 0.0\n'
    home = copied(certified, tmp_path_factory.mktemp("serving") / "home", settings)
    with serving(home, "--upstream", upstream.url) as running:
        yield running


def test_gold_by_the_ids_that_clients_see(gateway: Gateway, tmp_path: Path) -> None:
    """A student's and the incumbent's answers, on either wire, each by the id in its body."""
    home = gateway.home
    openais = openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)
    claude = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    seen: dict[str, str] = {}
    for number in (1, 2):
        raw = openais.chat.completions.with_raw_response.create(**asked(sure(number)[0]))
        seen[raw.parse().id] = raw.headers["x-stepdown-id"]
        body = asked(sure(number + 10)[0])
        raw = claude.messages.with_raw_response.create(
            model=body["model"],
            max_tokens=200,
            system=body["messages"][0]["content"],
            messages=body["messages"][1:],
        )
        assert raw.headers["x-stepdown-rung"] == "linear"
        seen[raw.parse().id] = raw.headers["x-stepdown-id"]
    for call_id in seen.values():
        kept(home, call_id)
    path = tmp_path / "gold.csv"
    path.write_text("id,gold\n" + "".join(f"{name},refund\n" for name in seen) + "chatcmpl-none,refund\n")
    done = run(home, "import", "--gold", str(path))
    assert done.code == 0, done.err
    assert (done.json["gold"]["new"], done.json["gold_without_call"], done.json["broken"]) == (5, 1, 0)
    for call_id in seen.values():
        found = gold_of(home, call_id)
        assert found is not None
        assert found.gold == "refund"
    for name in seen:
        assert gateway.client.post("/v1/feedback", json={"id": name, "gold": "refund"}).status_code == 200


def test_a_response_that_the_cache_repeated_is_the_answer_of_each_of_its_calls(
    gateway: Gateway, tmp_path: Path
) -> None:
    home = gateway.home
    got = [gateway.ask(sure(77)[0]) for _ in range(3)]
    assert [one.headers["x-stepdown-rung"] for one in got] == ["linear", "cache", "cache"]
    ids = [one.headers["x-stepdown-id"] for one in got]
    for name in ids:
        kept(home, name)
    (response_id,) = {one.json()["id"] for one in got}
    path = tmp_path / "gold.csv"
    path.write_text(f"id,gold\n{response_id},refund\n")
    assert run(home, "import", "--gold", str(path)).json["gold"]["new"] == 3
    assert {gold_of(home, name) is not None for name in ids} == {True}


def test_a_response_id_that_different_calls_have_is_set_aside(gateway: Gateway, tmp_path: Path) -> None:
    """The large model of these tests says the same id to everybody."""
    home = gateway.home
    for number in (0, 1):
        kept(home, gateway.ask(unsure(number)).headers["x-stepdown-id"])
    path = tmp_path / "gold.csv"
    path.write_text("id,gold\nchatcmpl-up,refund\n")
    done = run(home, "import", "--gold", str(path))
    assert done.json["broken"] == 1
    assert "name one by its own id" in done.json["examples"][0]["reason"]
    assert done.json["gold"]["new"] == 0


def test_a_gateways_calls_say_who_answered_and_what_it_saved(gateway: Gateway) -> None:
    name = gateway.ask(sure(55)[0]).headers["x-stepdown-id"]
    assert soon(lambda: any(one["id"] == name for one in rows(run(gateway.home, "calls", "tickets"))))
    (row,) = [one for one in rows(run(gateway.home, "calls", "tickets")) if one["id"] == name]
    assert (row["rung"], row["answer"], row["task"]) == ("linear", sure(55)[1], "tickets")
    assert row["saved_usd"] > 0.0
