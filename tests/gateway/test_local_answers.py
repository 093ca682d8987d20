"""What a student answers, as the vendors' own clients and LangChain see it: the incumbent's exact shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import openai
import pytest
from langchain_openai import ChatOpenAI

from tests.cli.tickets import SYSTEM, TASK
from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import Gateway, asked, sure, unsure

SURE, LABEL = sure(2)


@pytest.fixture
def client(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-clients-own", max_retries=0)


@pytest.fixture
def claude(gateway: Gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key="sk-ant-own", max_retries=0)


def test_a_completion_has_the_incumbents_shape(client: openai.OpenAI, upstream: LargeModel) -> None:
    before = len(upstream.seen)
    raw = client.chat.completions.with_raw_response.create(**asked(SURE))
    completion = raw.parse()
    said = json.loads(completion.choices[0].message.content or "")
    assert list(said) == ["category", "team", "note", "confidence"]
    assert said["category"] == LABEL
    assert said["team"] == f"{LABEL} team", "what follows from the answer is said as the incumbent says it"
    assert said["note"] == "", "what the incumbent said of another ticket is not said of this one"
    assert raw.headers["x-stepdown-confidence"] == f"{said['confidence']:.4f}"
    assert raw.headers["x-stepdown-task"] == TASK
    assert raw.headers["x-stepdown-rung"] == "linear"
    assert len(raw.headers["x-stepdown-certificate"]) == 16
    assert completion.id == "chatcmpl-" + raw.headers["x-stepdown-id"].removeprefix("call-")
    assert "x-stepdown-reason" not in raw.headers
    assert completion.object == "chat.completion"
    assert completion.model == "gpt-4o-mini"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 20
    assert len(upstream.seen) == before


def test_a_stream_says_the_same_as_a_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**asked(SURE))
    chunks = list(client.chat.completions.create(**asked(SURE), stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    plain = list(client.chat.completions.create(**asked(SURE), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)


def test_a_stream_through_with_streaming_response(client: openai.OpenAI) -> None:
    create = client.chat.completions.with_streaming_response.create
    with create(**asked(SURE), stream=True) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-stepdown-rung"] == "linear"
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)


def test_many_at_once_get_each_its_own_answer(gateway: Gateway) -> None:
    async def ask_all() -> list[tuple[str, str]]:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0) as client:
            answers = await asyncio.gather(*(client.chat.completions.create(**asked(sure(n)[0])) for n in range(64)))
        return [(a.id, json.loads(a.choices[0].message.content or "")["category"]) for a in answers]

    got = asyncio.run(ask_all())
    assert [label for _, label in got] == [sure(n)[1] for n in range(64)]
    assert len({name for name, _ in got}) == 64


def test_several_choices_are_said_several_times(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**asked(SURE), n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert {json.loads(choice.message.content or "")["category"] for choice in completion.choices} == {LABEL}
    chunks = list(client.chat.completions.create(**asked(SURE), n=3, stream=True))
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1, 2}


def test_an_anthropic_client_gets_a_message(claude: anthropic.Anthropic) -> None:
    raw = claude.messages.with_raw_response.create(
        model="gpt-4o-mini", max_tokens=100, system=SYSTEM, messages=[{"role": "user", "content": SURE}]
    )
    message = raw.parse()
    assert message.content[0].type == "text"
    said = json.loads(message.content[0].text)
    assert said["category"] == LABEL
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 10
    assert message.usage.output_tokens > 0
    assert raw.headers["x-stepdown-rung"] == "linear"


def test_an_anthropic_client_streams(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="gpt-4o-mini", max_tokens=100, system=SYSTEM, messages=[{"role": "user", "content": SURE}]
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert json.loads(text)["category"] == LABEL
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


def test_langchain_invokes_and_streams(gateway: Gateway) -> None:
    chat = ChatOpenAI(model="gpt-4o-mini", base_url=gateway.url + "/v1", api_key="k", max_retries=0, stream_usage=True)
    messages = [("system", SYSTEM), ("human", SURE)]
    answer = chat.invoke(messages)
    assert json.loads(str(answer.content))["category"] == LABEL
    assert answer.usage_metadata
    assert answer.usage_metadata["total_tokens"] > 20
    pieces = list(chat.stream(messages))
    assert "".join(str(piece.content) for piece in pieces) == answer.content
    assert sum((piece.usage_metadata or {}).get("total_tokens", 0) for piece in pieces) > 20
    assert asyncio.run(chat.ainvoke(messages)).content == answer.content


def test_the_client_may_insist_on_the_incumbent(gateway: Gateway, upstream: LargeModel) -> None:
    got = gateway.ask(SURE, headers={"x-stepdown-route": "incumbent"})
    assert got.json()["choices"][0]["message"]["content"] == SAID
    assert got.headers["x-stepdown-rung"] == "incumbent"
    assert got.headers["x-stepdown-reason"] == "asked for"
    assert "x-stepdown-certificate" not in got.headers
    assert "x-stepdown-route" not in upstream.last().headers


def test_the_client_may_insist_on_students(gateway: Gateway, upstream: LargeModel) -> None:
    """What no student is sure of is answered too, but under no certificate: it speaks of the cascade as it stands."""
    before = len(upstream.seen)
    got = gateway.ask(unsure(), headers={"x-stepdown-route": "students"})
    assert got.status_code == 200
    assert got.headers["x-stepdown-rung"] == "linear"
    assert got.headers["x-stepdown-reason"] == "unsure"
    assert "x-stepdown-certificate" not in got.headers
    covered = gateway.ask(SURE, headers={"x-stepdown-route": "students"})
    assert "x-stepdown-certificate" in covered.headers
    assert covered.json()["choices"] == gateway.ask(SURE).json()["choices"]
    assert len(upstream.seen) == before


@pytest.mark.parametrize(
    ("headers", "more", "reason"),
    [
        ({}, {"logprobs": True}, "logprobs asked"),
        ({"x-stepdown-workload": "no-such"}, {"messages": [{"role": "user", "content": "hi"}]}, "no task"),
        ({"x-stepdown-workload": TASK}, {"messages": [{"role": "user", "content": "hi"}]}, "prompt differs"),
    ],
)
def test_students_alone_are_refused_what_they_cannot_answer(
    gateway: Gateway, upstream: LargeModel, headers: dict[str, str], more: dict[str, Any], reason: str
) -> None:
    before = len(upstream.seen)
    got = gateway.ask(SURE, headers={"x-stepdown-route": "students", **headers}, **more)
    assert got.status_code == 422
    assert got.json()["error"]["code"] == "no_student"
    assert got.headers["x-stepdown-reason"] == reason
    assert len(upstream.seen) == before


SCHEMA = {"type": "json_schema", "json_schema": {"name": "other", "schema": {"type": "object"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"logprobs": True, "top_logprobs": 2}, "logprobs asked"),
        ({"response_format": {"type": "json_object"}}, "answer shape differs"),
        ({"response_format": SCHEMA}, "answer shape differs"),
        ({"tools": [WEATHER]}, "answer shape differs"),
        ({"functions": [WEATHER["function"]]}, "answer shape differs"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "answer shape differs"),
        ({"n": 0}, "n"),
        ({"n": "3"}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"max_completion_tokens": 1}, "max_tokens"),
        ({"stop": ["category"]}, "stop"),
        ({"stop": "fund"}, "stop"),
    ],
)
def test_what_a_student_would_answer_otherwise_is_the_incumbents(
    gateway: Gateway, upstream: LargeModel, more: dict[str, Any], reason: str
) -> None:
    before = len(upstream.seen)
    got = gateway.ask(SURE, **more)
    assert got.status_code == 200
    assert got.headers["x-stepdown-rung"] == "incumbent"
    assert got.headers["x-stepdown-reason"] == reason
    assert len(upstream.seen) == before + 1
    assert {name: upstream.last().json[name] for name in more} == more


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0.7, "top_p": 0.5, "seed": 3, "user": "u-1", "presence_penalty": 0.5},
        {"max_tokens": 200, "stop": ["\n\n"]},
        {"n": None, "stop": None, "max_tokens": None, "logprobs": False, "tools": []},
        {"response_format": {"type": "text"}},
        {"tool_choice": "none"},
    ],
)
def test_what_does_not_change_a_students_answer_does_not_escalate(gateway: Gateway, more: dict[str, Any]) -> None:
    got = gateway.ask(SURE, **more)
    assert got.headers["x-stepdown-rung"] == "linear", got.headers
    assert json.loads(got.json()["choices"][0]["message"]["content"])["category"] == LABEL


def test_anthropics_ways_of_asking_for_another_answer_escalate(gateway: Gateway) -> None:
    body = {
        "model": "gpt-4o-mini",
        "max_tokens": 100,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": SURE}],
    }
    for more in (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"stop_sequences": ["fund"]},
        {"max_tokens": 1},
    ):
        got = gateway.client.post("/v1/messages", json={**body, **more})
        assert got.headers["x-stepdown-rung"] == "incumbent", more
        assert got.json()["content"][0]["text"] == SAID


@pytest.mark.parametrize(
    ("content", "rung"),
    [
        (f"{SURE}  ", "linear"),
        ([{"type": "text", "text": SURE}], "linear"),
        ("", "incumbent"),
        ("   \n", "incumbent"),
        ("x" * 150_000, "incumbent"),
        ([{"type": "text", "text": SURE}, {"type": "image_url", "image_url": {"url": "data:,"}}], "incumbent"),
    ],
)
def test_inputs_of_every_sort(gateway: Gateway, content: Any, rung: str) -> None:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
    got = gateway.ask("", messages=messages, headers={"x-stepdown-workload": TASK})
    assert got.status_code == 200
    assert got.headers["x-stepdown-rung"] == rung


def test_another_prompt_is_another_task(gateway: Gateway) -> None:
    other = [{"role": "system", "content": SYSTEM + " Answer in French."}, {"role": "user", "content": SURE}]
    more = [*asked(SURE)["messages"], {"role": "assistant", "content": "refund"}, {"role": "user", "content": "sure?"}]
    for messages in (other, more):
        got = gateway.ask("", messages=messages)
        assert got.headers["x-stepdown-reason"] == "no task"
        named = gateway.ask("", messages=messages, headers={"x-stepdown-workload": TASK})
        assert named.headers["x-stepdown-reason"] == "prompt differs"
        assert named.headers["x-stepdown-task"] == TASK
