"""A tool whose one argument is a choice is a classification: the ladder of labels, answered as the same tool call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.cli.conftest import stepdown
from tests.cli.tickets import PHRASES, TASK, label, lines, ticket
from tests.fixture_cache import KeptFolder
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import SETTINGS, Gateway, serving, sure

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"department": {"type": "string", "enum": sorted(PHRASES), "description": "Who answers."}},
    "required": ["department"],
}
ROUTE = {"name": "route", "description": "Send the ticket on.", "parameters": PARAMETERS}
TOOLS: Any = [{"type": "function", "function": ROUTE}]
FORCED: Any = {"type": "function", "function": {"name": "route"}}


def call(number: int) -> dict[str, Any]:
    """A ticket that is sent on by a call of the tool; wrongly now and then."""
    made = ticket(number)
    right = label(number) if number % 12 else "praise"
    function = {"name": "route", "arguments": json.dumps({"department": right})}
    choice = made["response"]["choices"][0]
    choice["message"] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}],
    }
    made["request"] |= {"tools": TOOLS, "tool_choice": FORCED}
    return made


@pytest.fixture(scope="module")
def home(kept_folder: KeptFolder) -> Path:
    return kept_folder("routed", build_routed)


def build_routed(folder: Path) -> None:
    (folder / "stepdown.toml").write_text(SETTINGS)
    (folder / "calls.jsonl").write_bytes(lines(call(number) for number in range(1_000)))
    rows = [f"c{number},{label(number)}\n" for number in range(1_000)]
    (folder / "gold.csv").write_text("id,gold\n" + "".join(rows))
    read = stepdown("import", str(folder / "calls.jsonl"), "--gold", str(folder / "gold.csv"), "--home", str(folder))
    assert read.code == 0, read.err
    built = stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--home", str(folder), "--json")
    assert built.code == 0, built.err
    kinds = {one["kind"] for one in built.json["students"]}
    assert "linear" in kinds, "the ladder of labels"


@pytest.fixture(scope="module")
def gateway(home: Path, upstream: LargeModel) -> Iterator[Gateway]:
    with serving(home, "--upstream", upstream.url) as running:
        yield running


def test_the_task_is_one_of_labels_at_the_tools_argument(home: Path) -> None:
    (found,) = stepdown("tasks", "--home", str(home), "--json").json
    assert (found["task"]["family"], found["task"]["answer"]) == ("classify", "route(department)")
    assert found["task"]["labels"] == sorted(PHRASES)
    said = stepdown("answer", TASK, sure(1)[0], "--home", str(home), "--json")
    assert said.json["answer"] == sure(1)[1]


def body(text: str, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {**ticket(0, text)["request"], "tools": TOOLS, "tool_choice": FORCED}
    return {**asked, **more}


@pytest.mark.parametrize("number", range(4))
def test_the_answer_is_the_incumbents_tool_call(gateway: Gateway, number: int) -> None:
    text, right = sure(number)
    client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)
    raw = client.chat.completions.with_raw_response.create(**body(text))
    assert raw.headers["x-stepdown-rung"] not in ("incumbent", ""), raw.headers
    message = raw.parse().choices[0].message
    assert message.content is None
    (called,) = list(message.tool_calls or ())
    assert (called.type, called.function.name) == ("function", "route")
    assert called.function.arguments == json.dumps({"department": right})


def test_a_stream_has_the_same_call(gateway: Gateway) -> None:
    text, right = sure(2)
    client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)
    name = arguments = content = ""
    for chunk in client.chat.completions.create(**body(text), stream=True):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            for each in choice.delta.tool_calls or ():
                name += each.function.name or ""
                arguments += each.function.arguments or ""
    assert (name, json.loads(arguments), content) == ("route", {"department": right}, "")


def claude(text: str) -> dict[str, Any]:
    system, user = (message["content"] for message in ticket(0, text)["request"]["messages"])
    tool = {"name": "route", "description": ROUTE["description"], "input_schema": PARAMETERS}
    return {
        "model": "gpt-4o-mini",
        "max_tokens": 200,
        "system": system,
        "messages": [{"role": "user", "content": user}],
        "tools": [tool],
        "tool_choice": {"type": "tool", "name": "route"},
    }


def test_anthropics_wire_gets_a_tool_use_whole_and_streamed(gateway: Gateway) -> None:
    text, right = sure(3)
    client = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    raw = client.messages.with_raw_response.create(**claude(text))
    assert raw.headers["x-stepdown-rung"] not in ("incumbent", ""), raw.headers
    for message in (raw.parse(), _streamed(client, text)):
        assert message.stop_reason == "tool_use"
        (used,) = message.content
        assert (used.type, used.name, used.input) == ("tool_use", "route", {"department": right})


def _streamed(client: anthropic.Anthropic, text: str) -> Any:
    with client.messages.stream(**claude(text)) as events:
        return events.get_final_message()


def test_a_choice_that_forbids_the_tool_is_the_incumbents(gateway: Gateway) -> None:
    got: httpx.Response = gateway.client.post("/v1/chat/completions", json=body(sure(0)[0], tool_choice="none"))
    assert got.headers["x-stepdown-rung"] == "incumbent"
    got = gateway.client.post("/v1/chat/completions", json={**body(sure(0)[0]), "tools": None, "tool_choice": None})
    assert got.headers["x-stepdown-rung"] == "incumbent"
