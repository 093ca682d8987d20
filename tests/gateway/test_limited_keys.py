"""A key that is for one task opens nothing else: what a holder of one tries on a running gateway."""

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
from tests.gateway.serving import Gateway, asked, copied, issue, serving, soon, sure, unsure

POEM = [{"role": "user", "content": "Write a poem about the sea."}]
NAMED = {"x-stepdown-workload": TASK}
LETTERS = "Say in one sentence what this letter to the company is about."


def ticket(content: Any, **fields: Any) -> list[dict[str, Any]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content, **fields}]


@pytest.fixture(scope="module")
def limited(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose client has a key for the tickets and for another task, that was never recorded or built."""
    home = copied(certified, tmp_path_factory.mktemp("limited") / "home")
    parts = (("system", Part(text=LETTERS)), ("user", Part(slot="input")))
    template = Template(messages=tuple(MessageTemplate(role=role, parts=(part,)) for role, part in parts))
    letters = Task(name="letters", family="classify", match=Match(workload="letters"), template=template)
    with open_home(home).store() as store:
        store.put_task(letters, at=1.0)
    key = ("key", "create", "desk", "--tasks", f"{TASK},letters", "--home", str(home), "--json")
    token = stepdown(*key).json["token"]
    with serving(home, "--upstream", upstream.url) as running:
        running.client.headers["authorization"] = f"Bearer {token}"
        yield running


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TOOL = {"type": "function", "function": {"name": "poem", "parameters": {"type": "object"}}}
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "a poem": ({"messages": POEM}, "template"),
    "a poem after the prompt": ({"messages": [*ticket("hello"), *POEM]}, "template"),
    "another prompt": ({"messages": [{"role": "system", "content": "Write poems."}, *POEM]}, "template"),
    "another model": ({"model": "gpt-5-pro"}, "gpt-5-pro"),
    "no model": ({"model": None}, "model"),
    "an image": ({"messages": ticket([{"type": "text", "text": "hello"}, IMAGE])}, "template"),
    "a long input": ({"messages": ticket("sea " * 10_000)}, "length"),
    "many tokens": ({"max_tokens": 100_000}, "max_tokens"),
    "many tokens, in another word": ({"max_completion_tokens": 100_000}, "max_tokens"),
    "no tokens": ({"max_tokens": -1}, "max_tokens"),
    "many answers": ({"n": 100}, "n:"),
    "tools": ({"tools": [TOOL]}, "tools"),
    "a format": ({"response_format": {"type": "json_object"}}, "format"),
    "sound": ({"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "mp3"}}, "modalities"),
    "a search": ({"web_search_options": {}}, "web_search_options"),
    "thought": ({"reasoning_effort": "high"}, "reasoning_effort"),
    "a name": ({"messages": ticket("hello", name="Write a poem about the sea")}, "messages"),
    "calls": ({"messages": ticket("hello", tool_calls=[{"function": {"name": "x" * 9000}}])}, "messages"),
    "a part with more": ({"messages": ticket([{"type": "text", "text": "hello", "x": "poem"}])}, "messages"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_naming_the_task_is_not_enough(limited: Gateway, upstream: LargeModel, attack: str) -> None:
    body, said = ATTACKS[attack]
    before = len(upstream.seen)
    got = limited.ask(unsure(), headers=NAMED, **body)
    assert got.status_code == 403, got.text
    assert got.json()["error"]["code"] == "request_not_allowed"
    assert said in got.json()["error"]["message"]
    assert len(upstream.seen) == before


PLAIN: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "system": SYSTEM,
    "messages": ticket(unsure())[1:],
    "max_tokens": 99,
    "tools": [],
    "thinking": None,
    "mcp_servers": None,
}


@pytest.mark.parametrize(
    "more",
    [
        {"messages": POEM, "system": "Write poems."},
        {"max_tokens": 100_000},
        {"thinking": {"type": "enabled", "budget_tokens": 50_000}},
        {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"model": "claude-opus-4"},
    ],
    ids=str,
)
def test_nor_is_it_on_anthropics_wire(limited: Gateway, upstream: LargeModel, more: dict[str, Any]) -> None:
    before = len(upstream.seen)
    body = {"model": "gpt-4o-mini", "max_tokens": 99, "system": SYSTEM, **{"messages": ticket(unsure())[1:], **more}}
    got = limited.client.post("/v1/messages", json=body, headers=NAMED)
    assert got.status_code == 403, got.text
    assert got.json()["error"]["type"] == "permission_error"
    assert len(upstream.seen) == before
    assert limited.client.post("/v1/messages", json={**body, **PLAIN}, headers=NAMED).status_code == 200


def test_what_the_task_asks_goes_through(limited: Gateway, upstream: LargeModel) -> None:
    for more in ({}, {"stream": True}, {"temperature": 0, "max_tokens": 300, "user": "u1", "stop": ["\n"]}):
        for text, rung in ((sure()[0], "linear"), (unsure(), "incumbent")):
            for headers in ({}, NAMED):
                got = limited.ask(text, headers=headers, **more)
                assert (got.status_code, got.headers["x-stepdown-rung"]) == (200, rung), got.text
    assert upstream.last().json["messages"] == asked(unsure())["messages"]


def test_a_task_that_was_never_recorded(limited: Gateway) -> None:
    """Its template holds, and the key says which models it may ask for."""
    messages = [{"role": "system", "content": LETTERS}, {"role": "user", "content": "Dear all"}]
    got = limited.ask("", messages=messages)
    assert got.status_code == 403
    assert "the model 'gpt-4o-mini'" in got.json()["error"]["message"]
    home = str(limited.home)
    made = stepdown("key", "create", "m", "--tasks", "letters", "--models", "gpt-4o-mini", "--home", home, "--json")
    headers = {"authorization": f"Bearer {made.json['token']}"}
    assert soon(lambda: limited.ask("", messages=messages, headers=headers).status_code == 200)
    assert limited.ask("", messages=POEM, headers={**headers, "x-stepdown-workload": "letters"}).status_code == 403


def test_a_lapsed_certificate_closes_no_key(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    issue(home, expires_at=1.0)
    token = stepdown("key", "create", "desk", "--tasks", TASK, "--home", str(home), "--json").json["token"]
    with serving(home, "--upstream", upstream.url) as running:
        got = running.ask(sure()[0], headers={"authorization": f"Bearer {token}"})
        assert (got.status_code, got.headers["x-stepdown-rung"]) == (200, "incumbent")
