"""Answers with fields through the gateway, as the vendors' own clients and LangChain see them: content or tool calls in
the incumbent's exact shape, and what must not be answered here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from jsonschema import Draft202012Validator
from langchain_openai import ChatOpenAI

from stepdown.project.home import open_home
from tests.cli.bookings import BOOKING, SCHEMA, SETTINGS, SYSTEM, TOOLS, WORDS, booking, message, request, tool
from tests.cli.conftest import stepdown
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, copied, kept, serving

NUMBER = 90_001
TEXT, ANSWER = booking(NUMBER)
CHAT = "Thanks a lot, see you soon! Ada Jones"
CANCEL = "Please cancel the booking of Ada Jones on May 3, 2026."
CANCELLED = {"name": "Ada Jones", "date": "2026-05-03"}
PARAMETERS = {each["function"]["name"]: each["function"]["parameters"] for each in TOOLS}
CLAUDE_TOOLS: Any = [
    {"name": each["function"]["name"], "description": each["function"]["description"], "input_schema": parameters}
    for each, parameters in zip(TOOLS, PARAMETERS.values(), strict=True)
]


@pytest.fixture(scope="module")
def json_gateway(booked: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = copied(booked, tmp_path_factory.mktemp("json") / "home", SETTINGS)
    with serving(home, "--upstream", upstream.url) as running:
        yield running


@pytest.fixture(scope="module")
def tools_gateway(
    booked_by_tools: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    home = copied(booked_by_tools, tmp_path_factory.mktemp("tools") / "home", SETTINGS)
    with serving(home, "--upstream", upstream.url) as running:
        yield running


def ask(gateway: Gateway, body: dict[str, Any], **headers: str) -> httpx.Response:
    return gateway.client.post("/v1/chat/completions", json=body, headers=headers)


def client_of(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)


def claude_of(gateway: Gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)


@pytest.mark.parametrize("number", range(NUMBER, NUMBER + 12))
def test_content_is_what_the_incumbent_writes_to_the_letter(json_gateway: Gateway, number: int) -> None:
    text, right = booking(number)
    got = ask(json_gateway, request(text))
    assert got.headers["x-stepdown-rung"] == "crf", got.headers
    assert got.json()["choices"][0]["message"] == {"role": "assistant", "refusal": None, **message(right)}


def test_a_stream_of_fields_says_the_same(json_gateway: Gateway) -> None:
    chunks = client_of(json_gateway).chat.completions.create(**request(TEXT), stream=True, n=2)
    said = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == [message(ANSWER)["content"]] * 2


OTHER = {**BOOKING, "properties": {**BOOKING["properties"], "phone": {"type": "string"}}}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"response_format": {**SCHEMA, "json_schema": {"name": "booking", "schema": OTHER}}}, "answer shape differs"),
        ({"response_format": {"type": "json_object"}}, "answer shape differs"),
        ({"response_format": None}, "answer shape differs"),
        ({"tools": TOOLS}, "answer shape differs"),
        ({"stop": ['"name"']}, "stop"),
        ({"max_tokens": 3}, "max_tokens"),
    ],
)
def test_another_form_is_the_incumbents(json_gateway: Gateway, more: dict[str, Any], reason: str) -> None:
    got = ask(json_gateway, {**request(TEXT), **more})
    assert (got.headers["x-stepdown-rung"], got.headers["x-stepdown-reason"]) == ("incumbent", reason)


def test_a_tool_call_has_the_incumbents_shape(tools_gateway: Gateway) -> None:
    completion = client_of(tools_gateway).chat.completions.create(**request(CANCEL, "tools"), n=2)
    for choice in completion.choices:
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        (called,) = list(choice.message.tool_calls or ())
        assert called.type == "function"
        assert called.function.name == "cancel_booking"
        assert called.function.arguments == json.dumps(CANCELLED)
    ids = [each.id for choice in completion.choices for each in choice.message.tool_calls or ()]
    again = client_of(tools_gateway).chat.completions.create(**request(CANCEL, "tools"))
    ids += [each.id for each in again.choices[0].message.tool_calls or ()]
    assert len(set(ids)) == 3
    assert all(5 < len(each) <= 40 for each in ids)
    assert completion.usage is not None
    assert completion.usage.completion_tokens >= 2


@pytest.mark.parametrize("number", range(NUMBER, NUMBER + 12))
def test_arguments_are_right_and_validate(tools_gateway: Gateway, number: int) -> None:
    text, right = booking(number, "tools")
    got = ask(tools_gateway, request(text, "tools"))
    if got.headers["x-stepdown-rung"] == "incumbent":
        assert not right, "only words are left to the incumbent"
        return
    function = got.json()["choices"][0]["message"]["tool_calls"][0]["function"]
    arguments = json.loads(function["arguments"])
    assert {"tool": function["name"], "arguments": arguments} == right
    assert Draft202012Validator(PARAMETERS[function["name"]]).is_valid(arguments)


def test_a_streamed_tool_call_through_openais_own_helper(tools_gateway: Gateway) -> None:
    with client_of(tools_gateway).chat.completions.stream(**request(CANCEL, "tools")) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    (choice,) = final.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert json.loads((choice.message.tool_calls or [])[0].function.arguments) == CANCELLED


def test_langchain_binds_tools(tools_gateway: Gateway) -> None:
    chat = ChatOpenAI(model="gpt-4o-mini", base_url=tools_gateway.url + "/v1", api_key="k", max_retries=0)
    bound = chat.bind(tools=TOOLS)
    messages = [("system", SYSTEM), ("human", CANCEL)]
    answer = bound.invoke(messages)
    assert [(each["name"], each["args"]) for each in answer.tool_calls] == [("cancel_booking", CANCELLED)]
    pieces = list(bound.stream(messages))
    whole: Any = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert [(each["name"], each["args"]) for each in whole.tool_calls] == [("cancel_booking", CANCELLED)]


def test_an_anthropic_client_gets_tool_use(tools_gateway: Gateway) -> None:
    said: Any = {"model": "gpt-4o-mini", "max_tokens": 200, "system": SYSTEM, "tools": CLAUDE_TOOLS}
    said["messages"] = [{"role": "user", "content": CANCEL}]
    raw = claude_of(tools_gateway).messages.with_raw_response.create(**said)
    assert raw.headers["x-stepdown-rung"] == "crf"
    whole = raw.parse()
    with claude_of(tools_gateway).messages.stream(**said) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        streamed = stream.get_final_message()
    assert json.loads("".join(pieces)) == CANCELLED
    finals: tuple[Any, Any] = whole, streamed
    for final in finals:
        (block,) = final.content
        assert block.type == "tool_use"
        assert (block.name, block.input, final.stop_reason) == ("cancel_booking", CANCELLED, "tool_use")
        assert list(block.input) == list(CANCELLED)
        assert block.id


BOOK = {"type": "function", "function": {"name": "book_table"}}
CANCELS = {"type": "function", "function": {"name": "cancel_booking"}}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tool_choice": "auto"}, ""),
        ({"tool_choice": "required"}, ""),
        ({"tool_choice": CANCELS}, ""),
        ({"parallel_tool_calls": False}, ""),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"tool_choice": BOOK}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [BOOK]}}}, "tool_choice"),
        ({"tools": TOOLS[:1]}, "answer shape differs"),
        ({"tools": [TOOLS[0], tool("cancel_booking", BOOKING)]}, "answer shape differs"),
        ({"tools": [TOOLS[0], {**TOOLS[1], "function": {**TOOLS[1]["function"], "description": "Never."}}]}, "answer"),
        ({"tools": [*TOOLS, TOOLS[1]]}, "answer shape differs"),
        ({"tools": None}, "answer shape differs"),
        ({"response_format": SCHEMA}, "answer shape differs"),
        ({"stop": "2026-05"}, "stop"),
        ({"max_completion_tokens": 1}, "max_tokens"),
    ],
)
def test_what_tools_are_offered_and_chosen_decides_who_answers(
    tools_gateway: Gateway, more: dict[str, Any], reason: str
) -> None:
    got = ask(tools_gateway, {**request(CANCEL, "tools"), **more})
    assert got.status_code == 200
    assert got.headers["x-stepdown-rung"] == ("incumbent" if reason else "crf")
    assert got.headers.get("x-stepdown-reason", "").startswith(reason)


def test_words_are_the_incumbents_to_say(tools_gateway: Gateway) -> None:
    got = ask(tools_gateway, request(CHAT, "tools"))
    assert got.headers["x-stepdown-rung"] == "incumbent"
    insisted = ask(tools_gateway, request(CHAT, "tools"), **{"x-stepdown-route": "students"})
    assert insisted.status_code in (200, 422)
    if insisted.status_code == 200:
        assert insisted.json()["choices"][0]["message"]["content"] == WORDS


def test_what_comes_after_a_tools_result_is_the_incumbents(tools_gateway: Gateway) -> None:
    first = ask(tools_gateway, request(CANCEL, "tools")).json()["choices"][0]["message"]
    later = request(CANCEL, "tools")
    later["messages"] += [first, {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "done"}]
    assert ask(tools_gateway, later).headers["x-stepdown-rung"] == "incumbent"


@pytest.mark.parametrize("stream", [False, True])
def test_calls_of_tools_are_recorded_as_they_were(tools_gateway: Gateway, stream: bool) -> None:
    got = ask(tools_gateway, {**request(CANCEL, "tools"), "stream": stream})
    call = kept(tools_gateway.home, got.headers["x-stepdown-id"])
    assert call.rung == "crf"
    assert call.message is not None
    (called,) = call.message["tool_calls"]
    assert called["function"] == {"name": "cancel_booking", "arguments": json.dumps(CANCELLED)}
    assert (call.response or {})["choices"][0]["finish_reason"] == "tool_calls"
    assert not call.error


def test_feedback_with_an_object_is_gold(tools_gateway: Gateway, json_gateway: Gateway) -> None:
    for gateway, body, gold, wrong in (
        (json_gateway, request(TEXT), {**ANSWER, "seat": None}, "no object"),
        (tools_gateway, request(CANCEL, "tools"), {"tool": "cancel_booking", "arguments": CANCELLED}, 7),
    ):
        name = ask(gateway, body).headers["x-stepdown-id"]
        kept(gateway.home, name)
        refused = gateway.client.post("/v1/feedback", json={"id": name, "gold": wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_gold")
        assert gateway.client.post("/v1/feedback", json={"id": name, "gold": gold}).json()["became"] == "gold"
        with open_home(gateway.home).store() as store:
            assert store.gold()[name].gold == {key: value for key, value in gold.items() if value is not None}
        accepted = gateway.client.post("/v1/feedback", json={"id": name, "accepted": True})
        assert accepted.json()["became"] == "gold"
    assert stepdown("tasks", "--home", str(json_gateway.home)).code == 0
