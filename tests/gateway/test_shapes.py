"""A student's answer has every field that the incumbent's have, and no other: against real exchanges, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest
import yaml

from stepdown.core.calls import Call
from stepdown.core.family import families
from stepdown.core.tasks import Match, Task
from stepdown.gateway.answers import chat_completion
from stepdown.gateway.envelope import beside, learn, on_wire
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.served import ServedTask
from stepdown.project.response_template import template_of
from stepdown.runtime.cascade import Decision
from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.event_stream import events
from stepdown.wires.wire import Wire
from tests.conftest import SHARED
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import SETTINGS, asked, build_home, copied, serving, sure

CASSETTES = SHARED / "data" / "pydantic_ai_cassettes"
WIRES: dict[str, Any] = {"/chat/completions": openai_chat, "/messages": anthropic_messages}
OF_ONE_ANSWER = {
    *(
        "obfuscation",
        "moderation",
        "iterations",
        "container",
        "context_management",
        "server_tool_use",
        "executed_tools",
    ),
    *("usage_breakdown", "x_groq"),
}
"""What belongs to hosted tools or to one answer's bytes: padding, checks of the text, steps of a tool."""
WRITTEN = {"content", "tool_calls", "arguments", "input", "thinking"}


def exchanges() -> Iterator[tuple[str, Wire, dict[str, Any], Any]]:
    """(name, wire, request, response: an object, or a stream's text) of every recorded model call that went well."""
    for path in sorted(CASSETTES.rglob("*.yaml")) if CASSETTES.is_dir() else ():
        recorded = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
        for number, one in enumerate(recorded.get("interactions", ())):
            where = str(one.get("request", {}).get("uri", "")).split("?")[0]
            wire = next((wire for end, wire in WIRES.items() if where.endswith(end)), None)
            if wire is None or one["response"].get("status", {}).get("code") != 200:
                continue
            request, response = _body(one["request"]), _body(one["response"])
            if isinstance(request, dict) and response:
                yield f"{path.stem}-{number}", wire, request, response


def _body(side: dict[str, Any]) -> Any:
    body = side.get("parsed_body")
    if body is None:
        raw = side.get("body")
        raw = raw.get("string") if isinstance(raw, dict) else raw
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw or ""
        try:
            body = json.loads(text)
        except ValueError:
            body = text
    return body


ALL = list(exchanges())


def paths(value: Any, at: str = "") -> Iterator[str]:
    """The places of all fields, but for what an answer's own text or call decides."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in OF_ONE_ANSWER:
                yield f"{at}.{key}"
                if key not in WRITTEN:
                    yield from paths(each, f"{at}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from paths(each, f"{at}[]")


def student(wire: Wire, request: dict[str, Any], response: Any) -> tuple[dict[str, Any], Exchange] | None:
    """What a student says that learnt from this exchange alone, as it is recorded; None where no student can say it."""
    chat = wire.request(request)
    streamed = isinstance(response, str)
    try:
        body = wire.joined(events(response)) if streamed else response
        wire.response(body)
    except ValueError:
        return None  # Recorded to test how clients take it.
    if any(block.get("type") not in ("text", "tool_use") for block in body.get("content") or ()):
        return None  # What hosted tools did, and thoughts.
    recorded = {**wire.response(body), **beside(wire.NAME, body)}
    call = Call(id="c", request={**chat, "stream": streamed}, response=recorded)
    for name in ("extract", "classify"):
        family = families().load(name)
        shape = family.read_shape([call, call])
        task = Task(name="t", family=name, match=Match(), answer=shape.path, form=shape.form)
        answer = family.read_answer(task, call)
        if answer is None or family.like_key is None:
            continue
        priced: Any = SimpleNamespace(incumbent=SimpleNamespace(cost_per_1k=None))
        template = template_of(task, [call, call], priced)
        assert template is not None
        served = ServedTask(task=task, family=family, template=template, certificate="c" * 64)
        one = Exchange(Request("POST", ""), wire, 1.8e9, 0.0)  # type: ignore[arg-type]
        one.body, one.chat = request, chat
        completion = chat_completion(one, served, Decision(answer=answer, confidence=0.9, rung="linear"))
        return on_wire(template.envelope, wire.NAME, completion), one
    return None


@pytest.mark.skipif(not ALL, reason="the shared data folder is not beside the repository")
def test_an_answer_has_the_fields_of_the_real_one() -> None:
    compared = 0
    for name, wire, request, real in ALL:
        if isinstance(real, str) or (said := student(wire, request, real)) is None:
            continue
        ours, theirs = set(paths(said[0])), set(paths(real))
        compared += 1
        assert ours == theirs, (name, ours ^ theirs)
        assert ended(said[0]) == ended(real), name
    assert compared > 60


@pytest.mark.skipif(not ALL, reason="the shared data folder is not beside the repository")
def test_a_stream_has_the_fields_of_the_real_one() -> None:
    compared = 0
    for name, wire, request, real in ALL:
        if not isinstance(real, str) or (said := student(wire, request, real)) is None:
            continue
        body, one = said
        chunks = list(events(b"".join(wire.stream_of(body, one.wants_usage)).decode()))
        ours, theirs = ({path for chunk in found for path in paths(chunk)} for found in (chunks, events(real)))
        compared += 1
        assert ours == theirs, (name, ours ^ theirs)
    assert compared > 2


def ended(body: dict[str, Any]) -> Any:
    return body["stop_reason"] if "stop_reason" in body else body["choices"][0]["finish_reason"]


def openais(response: dict[str, Any], number: int) -> dict[str, Any]:
    """A recorded response with all that stands around an answer of OpenAI's own API."""
    (choice,) = response["choices"]
    message = {"role": "assistant", "content": choice["message"]["content"], "refusal": None, "annotations": []}
    details = {"cached_tokens": number, "audio_tokens": 0}
    return {
        "id": f"chatcmpl-B{number:029d}",
        "object": "chat.completion",
        "created": 1_750_000_000 + number,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {**response["usage"], "total_tokens": 42, "prompt_tokens_details": details},
        "service_tier": "default",
        "system_fingerprint": f"fp_{number % 3}",
    }


def test_the_real_clients_read_the_incumbents_fields(upstream: LargeModel, tmp_path: Path) -> None:
    home = build_home(tmp_path / "home", SETTINGS, dress=openais)
    real = openais(
        {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, 1
    )
    with serving(home, "--upstream", upstream.url) as gateway:
        client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)
        raw = client.chat.completions.with_raw_response.create(**asked(sure(1)[0]))
        assert raw.headers["x-stepdown-rung"] == "linear"
        assert set(paths(json.loads(raw.text))) == set(paths(real))
        whole = raw.parse()
        assert whole.id.startswith("chatcmpl-")
        assert (whole.service_tier, whole.choices[0].message.annotations) == ("default", [])
        assert whole.usage is not None
        assert whole.usage.prompt_tokens_details is not None
        assert whole.usage.prompt_tokens_details.cached_tokens == 0, "a student reads no cache"
        chunks = list(client.chat.completions.create(**asked(sure(1)[0]), stream=True))
        assert {chunk.service_tier for chunk in chunks} == {"default"}
        claude = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
        body = asked(sure(1)[0])
        message = claude.messages.create(
            model=body["model"], max_tokens=200, system=body["messages"][0]["content"], messages=body["messages"][1:]
        )
        assert message.id.startswith("msg_")
        assert (message.usage.service_tier, message.usage.cache_read_input_tokens) == ("standard", 0)


@pytest.mark.parametrize("said", ["stop", "tool_calls"])
def test_under_a_forced_tool_it_ends_as_the_incumbent_says(said: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}
    forced = {"type": "function", "function": {"name": "f"}}
    messages = [{"role": "user", "content": "red"}]
    request = {"model": "m", "messages": messages, "tools": [tool], "tool_choice": forced}
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "red"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    response = {
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": said}],
    }
    answered = student(openai_chat, request, response)
    assert answered is not None
    body, one = answered
    assert body["choices"][0]["finish_reason"] == said
    last = list(events(b"".join(one.wire.stream_of(body)).decode()))[-1]
    assert last["choices"][0]["finish_reason"] == said
    on_messages = anthropic_messages.from_completion(body)
    assert on_messages["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("recorded", "key", "value"),
    [
        ([{"service_tier": "default"}] * 3, "service_tier", "default"),
        ([{"trace": "of-one"}, {"trace": "of-another"}], "trace", None),
        ([{"trace": "of-one"}], "trace", None),
        ([{"took": {"s": 0.25}}, {"took": {"s": 0.5}}], "took", {"s": 0.0}),
        ([{"found": ["one"]}, {"found": ["two"]}], "found", []),
        ([{"rare": 1}, {}, {}], "rare", "absent"),
    ],
)
def test_what_is_of_one_answer_alone_is_not_said_of_another(
    recorded: list[dict[str, Any]], key: str, value: Any
) -> None:
    message = {"role": "assistant", "content": "x"}
    base = {"object": "chat.completion", "created": 1, "choices": [{"index": 0, "message": message}]}
    found = learn([({**base, **one}, False) for one in recorded])
    assert found.body.get(key, "absent") == value


@pytest.mark.parametrize("found_by", ["", 'workload = "desk", '])
def test_aliases_are_models(certified: Path, upstream: LargeModel, tmp_path: Path, found_by: str) -> None:
    settings = SETTINGS.replace(
        "[tasks.tickets.contract]",
        f'[tasks.tickets]\nmatch = {{ {found_by}model = "tickets-small" }}\nincumbent = "gpt-4o-mini"\n'
        "[tasks.tickets.contract]",
    )
    with serving(copied(certified, tmp_path / "home", settings), "--upstream", upstream.url) as gateway:
        client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)
        listed = {model.id: model for model in client.models.list()}
        assert {"gpt-4o-mini", "tickets-small"} <= listed.keys()
        assert client.models.retrieve("tickets-small").owned_by == "stepdown"
        raw = client.chat.completions.with_raw_response.create(**{**asked(sure(1)[0]), "model": "tickets-small"})
        assert raw.headers["x-stepdown-rung"] == "linear"
