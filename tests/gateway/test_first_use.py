"""A gateway that knows no task, clients that name none: until students answer, and go on answering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from openai import OpenAI

from stepdown.core.tasks import Match
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import label, lines, response, ticket
from tests.gateway.serving import Gateway, serving
from tests.gateway.waiting import wait_until as until

pytestmark = pytest.mark.slow

CALLS, LATER = 630, 40
CONTRACT = "[tasks.{}.contract]\nlatency_p95_ms = 50\nmargin = 0.05\nholdback = 0.0\n"


def request(number: int) -> dict[str, Any]:
    """A ticket in one short line; of the later ones the month is another."""
    text = ticket(number)["request"]["messages"][1]["content"]
    month = "November" if number < CALLS else "December"
    messages = [
        {"role": "system", "content": f"It is {month} {1 + number % 28}, 2026."},
        {"role": "user", "content": f"Desk? {text}"},
    ]
    return {"model": "gpt-4o-mini", "messages": messages}


def chat(number: int) -> dict[str, Any]:
    words = ("weather", "music", "history", "cooking", "trains")
    text = (
        f"{('Why', 'How', 'When')[number % 3]} is the {words[number % 5]} of year {number * 37} so {words[number % 4]}"
    )
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}


def recorded() -> list[dict[str, Any]]:
    asked = [(request(number), label(number)) for number in range(CALLS + 2 * LATER)]
    asked += [
        (chat(number), f"It is so because of {number} reasons, {'and ' * 20}more.") for number in range(CALLS // 7)
    ]
    return [{"request": one, "response": response({"content": answer})} for one, answer in asked]


def ask(client: OpenAI, numbers: range) -> list[tuple[str, str, str]]:
    """(id, task, rung) of each answer; every other one is streamed."""
    found = []
    for number in numbers:
        said = client.chat.completions.with_raw_response.create(**request(number), stream=number % 2 == 1)
        if number % 2:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in said.parse() if chunk.choices)
        else:
            text = said.parse().choices[0].message.content or ""
        headers = said.headers
        assert headers["x-stepdown-rung"] != "incumbent" or text == label(number)
        assert text in ("account", "praise", "refund", "shipping")
        found.append((headers["x-stepdown-id"], headers.get("x-stepdown-task", ""), headers["x-stepdown-rung"]))
    return found


def client_of(gateway: Gateway) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


def stored(home: Path, count: int) -> bool:
    with open_home(home).store() as store:
        return store.count_calls() == count


def said(home: Path, *arguments: str) -> Any:
    done = stepdown(*arguments, "--home", str(home), "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def names(home: Path) -> dict[str, int]:
    return {one["task"]["name"]: one["calls"] for one in said(home, "tasks")}


def leave_a_twin(home: Path) -> None:
    """As earlier versions did, of a task that is certified: by its name as a workload, and by its template."""
    with open_home(home).store() as store:
        task = store.tasks()["tickets"]
        assert task.template is not None
        store.put_task(replace(task, name=f"tickets-{task.template.fingerprint[:6]}"), 1.0)
        store.put_task(replace(task, match=Match(workload="tickets")), 1.0)


def test_from_no_task_to_students_that_go_on_answering(tmp_path: Path) -> None:
    (tmp_path / "recorded.jsonl").write_bytes(lines(recorded()))
    upstream = ("--upstream", f"replay:{tmp_path / 'recorded.jsonl'}")
    home = tmp_path / "home"
    home.mkdir()
    with serving(home, *upstream) as gateway:
        client = client_of(gateway)
        first = ask(client, range(CALLS))
        assert {(task, rung) for _, task, rung in first} == {("", "incumbent")}
        for number in range(CALLS // 7):
            client.chat.completions.create(**chat(number))
        until(lambda: stored(home, CALLS + CALLS // 7))
        found = names(home)
        assert sorted(found.values()) == [CALLS // 7, CALLS]
        (name,) = [one for one, calls in found.items() if calls == CALLS]
        (home / "gold.csv").write_text("id,gold\n" + "".join(f"{row[0]},{label(n)}\n" for n, row in enumerate(first)))
        said(home, "task", "rename", name, "tickets")
        said(home, "import", "--gold", str(home / "gold.csv"))
        (home / "stepdown.toml").write_text(CONTRACT.format("tickets"))
        assert said(home, "build", "tickets", "--kinds", "linear", "--budget", "40s")["verdict"] == "certified"
        until(lambda: "in force" in gateway.log)
        for change in (("rename", "tickets", "other"), ("merge", "tickets", "unmatched")):
            refused = stepdown("task", *change, "--home", str(home))  # What was built keeps its name.
            assert (refused.code, "built" in refused.err) == (2, True)
        live = ask(client, range(CALLS, CALLS + LATER))
        assert {task for _, task, _ in live} == {"tickets"}
        answered = [row for row in live if row[2] != "incumbent"]
        assert len(answered) > LATER / 2
        until(lambda: stored(home, CALLS + CALLS // 7 + LATER))
    after = names(home)
    assert set(after) == {"tickets", *(set(found) - {name})}
    assert after["tickets"] == CALLS + LATER - len(answered)
    leave_a_twin(home)
    with serving(home, *upstream) as gateway:
        again = ask(client_of(gateway), range(CALLS + LATER, CALLS + 2 * LATER))
        assert {task for _, task, _ in again} == {"tickets"}
        assert sum(rung != "incumbent" for _, _, rung in again) > LATER / 2
    assert set(names(home)) == set(after)
    with open_home(home).store() as store:
        kept = [call for call in store.calls() if call.task]
    assert {(call.task, call.workload_id) for call in kept} == {("tickets", "")}
    assert len(kept) == 2 * LATER
