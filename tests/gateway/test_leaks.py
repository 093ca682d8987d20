"""What may not leave this machine does not: attacks on a gateway that serves a "local-only" task beside another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import SYSTEM, TASK
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import SETTINGS, Gateway, asked, copied, serving, sure, unsure

SURE = sure()[0]
LETTERS = "Say in one sentence what this letter to the company is about."
OTHER = "letters"
SECRET = "the-secret-of-the-ticket"


def chat(*messages: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in messages]


def add_letters(home: Path) -> None:
    """Another task of the project, not built, with a template that says enough, and one whose template says nothing."""
    messages = (
        MessageTemplate(role="system", parts=(Part(text=LETTERS),)),
        MessageTemplate(role="user", parts=(Part(slot="input"),)),
    )
    anything = (MessageTemplate(role="user", parts=(Part(slot="input"),)),)
    with open_home(home).store() as store:
        for name, template in ((OTHER, messages), ("anything", anything)):
            match = Match(workload=name)
            store.put_task(
                Task(name=name, family="classify", match=match, template=Template(messages=template)), at=1.0
            )


@pytest.fixture(scope="module")
def private(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = copied(certified, tmp_path_factory.mktemp("leaks") / "home", SETTINGS + 'privacy = "local-only"\n')
    add_letters(home)
    with serving(home, "--upstream", upstream.url) as running:
        yield running


TICKET = f"{unsure()} {SECRET}"
LEAKS: dict[str, tuple[dict[str, str], list[dict[str, Any]]]] = {
    "an unknown workload": ({"x-stepdown-workload": "no-such"}, chat(("system", SYSTEM), ("user", TICKET))),
    "another workload": ({"x-stepdown-workload": OTHER}, chat(("system", SYSTEM), ("user", TICKET))),
    "a workload that fits anything": ({"x-workload-id": "anything"}, chat(("user", f"{SYSTEM}\n{TICKET}"))),
    "a workload that fits anything, without the prompt": ({"x-workload-id": "anything"}, chat(("user", TICKET))),
    "a message more": ({}, chat(("system", SYSTEM), ("user", TICKET), ("assistant", "refund"), ("user", "sure?"))),
    "a space more": ({}, chat(("system", SYSTEM.replace("ticket into", "ticket  into")), ("user", TICKET))),
    "another prompt": ({}, chat(("system", SYSTEM.replace("Classify", "Sort")), ("user", TICKET))),
    "no prompt": ({}, chat(("user", TICKET))),
    "in another task's prompt": ({}, chat(("system", LETTERS), ("user", f"{SYSTEM.upper()} {TICKET}"))),
    "in another task's prompt, named": (
        {"x-stepdown-workload": OTHER},
        chat(("system", LETTERS), ("user", f"{SYSTEM} {TICKET}")),
    ),
    "a prompt before the prompt": ({}, chat(("system", "Be kind."), ("system", SYSTEM), ("user", TICKET))),
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_what_is_not_known_to_be_anothers_stays_here(
    private: Gateway, upstream: LargeModel, leak: str, path: str
) -> None:
    headers, messages = LEAKS[leak]
    body = {"model": "gpt-4o-mini", "messages": messages, "max_tokens": 9}
    if path == "/v1/messages":
        system = [{"type": "text", "text": each["content"]} for each in messages if each["role"] == "system"]
        body |= {"messages": [each for each in messages if each["role"] != "system"], "system": system}
    before = len(upstream.seen)
    got = private.client.post(path, json=body, headers=headers)
    assert got.status_code == 422, got.text
    assert got.headers["x-stepdown-rung"] == "abstained"
    assert len(upstream.seen) == before


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", [f"/v1/files?who={SECRET}", f"/v1/{SECRET}", "/v1/files", "/v1/responses"])
def test_other_paths_stay_here(private: Gateway, upstream: LargeModel, method: str, path: str) -> None:
    before = len(upstream.seen)
    headers = {"x-note": SECRET, "content-type": "application/json"}
    got = private.client.request(method, path, headers=headers, content=b"" if method == "GET" else b"{}")
    # What is no path of a provider's is nothing here for anybody.
    assert (got.status_code, got.json()["error"]["code"]) == (
        (404, "unknown_path") if SECRET in path and "?" not in path else (403, "path_not_allowed")
    )
    assert len(upstream.seen) == before


def test_models_are_told_from_what_is_here(private: Gateway, upstream: LargeModel) -> None:
    before = len(upstream.seen)
    assert private.client.get(f"/v1/models?who={SECRET}", headers={"x-note": SECRET}).json()["data"] == []
    assert private.client.get(f"/v1/models/{SECRET}").status_code == 404
    assert len(upstream.seen) == before


def test_another_tasks_requests_leave(private: Gateway, upstream: LargeModel) -> None:
    messages = chat(("system", LETTERS), ("user", "Dear all, thank you for the parcel."))
    for headers in ({}, {"x-stepdown-workload": OTHER}):
        got = private.ask("", messages=messages, headers={**headers, "cookie": SECRET, "x-note": SECRET})
        assert got.status_code == 200
        assert got.headers["x-stepdown-task"] == OTHER
        assert upstream.last().json["messages"] == messages
        assert SECRET not in upstream.last().everything


@pytest.mark.parametrize(
    "more", [{"prediction": {"type": "content", "content": SYSTEM}}, {"metadata": {"x": f"{SYSTEM} {TICKET}"}}], ids=str
)
def test_not_in_other_fields_of_another_tasks_request(
    private: Gateway, upstream: LargeModel, more: dict[str, Any]
) -> None:
    before = len(upstream.seen)
    messages = chat(("system", LETTERS), ("user", "Dear all"))
    assert private.ask("", messages=messages, **more).status_code == 422
    assert len(upstream.seen) == before


def test_students_still_answer(private: Gateway) -> None:
    for headers in ({}, {"x-stepdown-workload": "no-such"}, {"x-stepdown-workload": OTHER}):
        assert private.ask(SURE, headers=headers).headers["x-stepdown-rung"] == "linear"
    told = private.ask("", messages=chat(("user", "hello"))).json()["error"]
    assert told["code"] == "not_recognised"
    assert "unmatched" in told["message"]


def test_a_setting_lets_pass_what_no_task_is_like(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    settings = SETTINGS + 'privacy = "local-only"\n[gateway]\nunmatched = "pass"\n'
    home = copied(certified, tmp_path / "home", settings)
    add_letters(home)
    with serving(home, "--upstream", upstream.url) as running:
        assert running.ask("", messages=chat(("user", "hello"))).status_code == 200
        assert running.client.post("/v1/embeddings", json={"input": "x"}).status_code == 200
        before = len(upstream.seen)
        for leak in (
            "an unknown workload",
            "another workload",
            "a message more",
            "a space more",
            "a prompt before the prompt",
        ):
            headers, messages = LEAKS[leak]
            assert running.ask("", messages=messages, headers=headers).status_code == 422, leak
        assert len(upstream.seen) == before


def test_a_key_for_another_task_tells_whose_its_requests_are(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    home = copied(certified, tmp_path / "home", SETTINGS + 'privacy = "local-only"\n')
    add_letters(home)
    made = {}
    for name, tasks in (("own", "anything"), ("both", f"anything,{TASK}"), ("free", "")):
        options = ("--tasks", tasks, "--models", "gpt-4o-mini") if tasks else ()
        made[name] = stepdown("key", "create", name, *options, "--home", str(home), "--json").json["token"]
    with serving(home, "--upstream", upstream.url) as running:
        status = {}
        for name, token in made.items():
            headers = {"authorization": f"Bearer {token}", "x-stepdown-workload": "anything"}
            status[name] = running.ask("", messages=chat(("user", "hello")), headers=headers).status_code
        assert status == {"own": 200, "both": 422, "free": 422}
        headers = {"authorization": f"Bearer {made['own']}", "x-stepdown-workload": "anything"}
        before = len(upstream.seen)
        assert running.ask("", messages=chat(("user", f"{SYSTEM} {TICKET}")), headers=headers).status_code == 403
        assert running.client.post("/v1/chat/completions", json=asked(SURE), headers=headers).status_code == 403
        assert len(upstream.seen) == before
