"""Personal data planted anywhere in a request to a "redact" task reaches no upstream and no store, however written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.curation.personal_data import mask_json
from stepdown.gateway.redaction import masked_body
from tests.cli.tickets import SYSTEM, TASK
from tests.gateway.large_model import LargeModel, Seen
from tests.gateway.serving import SETTINGS, Gateway, copied, kept, serving, unsure

CANARIES = ["zelda.quix@example.org", "+44 20 7946 0958", "DE89370400440532013000", "4000056655665556"]
NUMBERS = [442079460958, 4000056655665556, 4000056655665556.0]
JSON = {"content-type": "application/json"}


def spellings(canary: str) -> list[str]:
    escaped = "".join(f"\\u{ord(each):04x}" for each in canary)
    digits = "".join(each for each in canary if each.isdigit())
    found = [canary, quote(canary, safe=""), quote(canary), escaped, escaped.upper(), json.dumps(canary)[1:-1]]
    return [*found, canary.replace("@", "\\u0040"), *([digits] if len(digits) > 8 else [])]


def leaks(text: str) -> list[str]:
    told = [one for canary in CANARIES for one in spellings(canary) if one in text]
    return [one for one in told if one.strip("+0123456789.") or len(one) > 8]


@pytest.fixture(scope="module")
def redacting(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = copied(certified, tmp_path_factory.mktemp("redact") / "home", SETTINGS + 'privacy = "redact"\n')
    with serving(home, "--upstream", upstream.url, STEPDOWN_UPSTREAM_KEY="sk-the-upstreams") as running:
        yield running


@st.composite
def planted(draw: st.DrawFn) -> Any:
    """A canary as a text among others, a number, a field's name, or within JSON or escapes in a text."""
    canary = draw(st.sampled_from(CANARIES))
    number = draw(st.sampled_from(NUMBERS))
    inner: dict[str, Any] = {"a": [1, {"who": canary}], canary: number, "b": canary}
    # Two more ways than json.dumps has: percent signs, and every sign of it as an escape.
    escaped = json.dumps({"to": canary}).replace(canary, spellings(canary)[3])
    return draw(
        st.sampled_from(
            [
                canary,
                f"Write to {canary}, please.",
                number,
                [canary, {"x": {canary: True}}],
                {canary: 1, "y": number},
                json.dumps(inner),
                escaped,
                escaped[:-1] + ', "to": "nobody"}',
                json.dumps({"inner": escaped}),
                f"https://example.com/?to={quote(canary, safe='')}",
                f"see {spellings(canary)[3]} there",
                "&#" + ";&#".join(str(ord(each)) for each in canary) + ";",
            ]
        )
    )


def text_of(value: Any) -> str:
    """Digits alone in a text are a card's number, or nothing that can be told."""
    return value if isinstance(value, str) else json.dumps(NUMBERS[1] if value in NUMBERS else value)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[str, str], str]:
    """(path, body, headers, query) of a valid request with a canary somewhere in it."""
    some = draw(planted())
    text, name = text_of(some), draw(st.sampled_from(CANARIES))
    schema = {"type": "object", "properties": {name: {"type": "string", "enum": [some], "description": text}}}
    function = {"name": "send", "description": text, "parameters": schema}
    call = {"id": name, "type": "function", "function": {"name": "send", "arguments": json.dumps({"to": some})}}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": text, "name": name},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": text[: len(text) // 2]},
                {"type": "text", "text": text[len(text) // 2 :]},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [call], name: some},
        {"role": "assistant", "content": text, "refusal": text, "reasoning_content": text},
        {"role": "tool", "tool_call_id": name, "content": text},
        {"role": name, "content": "hello"},
    ]
    fields: list[dict[str, Any]] = [
        {"user": name},
        {"metadata": {"workload": TASK, name: text}},
        {"tools": [{"type": "function", "function": function}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}},
        {"seed": 4000056655665556},
        {"stop": [text]},
        {"zz_unknown": some},
        {"logit_bias": {name: 1}},
        {"prediction": {"type": "content", "content": text}},
        {"model": name},
        {name: some},
        {"max_tokens": 442079460958},
    ]
    claude = [
        {
            "role": "user",
            "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "x": some}}],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": "send", "input": {name: some}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": name, "content": [{"type": "text", "text": text}]}],
        },
        {"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": text}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": text, "signature": "c2ln"}]},
    ]
    headers = {
        "x-stepdown-workload": TASK,
        **draw(st.sampled_from([{}, {"x-note": name}, {"cookie": name}, {"anthropic-beta": "a-4000056655665556"}])),
        **draw(st.sampled_from([{}, {"idempotency-key": name}, {"x-workload-id": name}])),
    }
    query = draw(st.sampled_from(["", "?to=" + quote(name), "?beta=true"]))
    if draw(st.booleans()):
        messages = [
            {"role": "system", "content": SYSTEM},
            *draw(st.lists(st.sampled_from(turns), min_size=1, max_size=4)),
        ]
        body = {"model": "gpt-4o-mini", "messages": messages, **draw(st.sampled_from([{}, *fields]))}
        return "/v1/chat/completions", body, headers, query
    more = draw(
        st.sampled_from(
            [{}, {"metadata": {"user_id": name}}, {"system": [{"type": "text", "text": text}]}, *fields[2:3]]
        )
    )
    messages = draw(st.lists(st.sampled_from(claude), min_size=1, max_size=4))
    body = {"model": "claude", "max_tokens": 9, "system": SYSTEM, "messages": messages, **more}
    if "tools" in body:
        body["tools"] = [{"name": "send", "description": text, "input_schema": schema}]
    return "/v1/messages", body, headers, query


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests())
def test_no_canary_leaves_or_is_kept(
    redacting: Gateway, upstream: LargeModel, asked: tuple[str, dict[str, Any], dict[str, str], str]
) -> None:
    path, body, headers, query = asked
    before = len(upstream.seen)
    got = redacting.client.post(path + query, content=json.dumps(body).encode(), headers={**JSON, **headers})
    assert got.status_code in (200, 400, 422), got.text
    if got.status_code == 422:
        assert got.json()["error"]["type"] == "invalid_request_error"
    sent: list[Seen] = upstream.seen[before:]
    assert bool(sent) == (got.status_code == 200), got.text
    for seen in sent:
        assert leaks(seen.everything) == []


def test_nothing_of_it_is_in_the_home(redacting: Gateway, upstream: LargeModel) -> None:
    """Run last: what the trials above left behind, in the store and in every other file."""
    kept(redacting.home, redacting.ask(f"{unsure()} {CANARIES[0]}").headers["x-stepdown-id"])
    written = b"".join(path.read_bytes() for path in sorted(redacting.home.rglob("*")) if path.is_file())
    assert leaks(written.decode("latin-1")) == []


def test_what_is_no_persons_stays_as_it_is() -> None:
    body = {
        "model": "gpt-4o-mini-2024-07-18",
        "messages": [
            {"role": "user", "content": '{"a": [1, 2.5, "x"], "b": null}'},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{ "n": 5 }'}}],
            },
            {
                "role": "user",
                "content": [{"type": "text", "text": "100% sure & \\n fine"}, {"type": "text", "text": "yes"}],
            },
        ],
        "temperature": 0.7,
        "max_tokens": 4096,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["n"]}}}],
        "stream": True,
    }
    assert masked_body(body, mask_json) == body


def test_ids_become_others_that_still_meet(redacting: Gateway, upstream: LargeModel) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    assert redacting.ask("", messages=messages, headers={"x-stepdown-workload": TASK}).status_code == 200
    sent = upstream.last().json["messages"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] != "call_1"
    assert sent[2]["tool_calls"][0]["function"] == call["function"]


@pytest.mark.parametrize(
    "more",
    [
        {"model": ["m"]},
        {"messages": [{"role": ["user"], "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": ["text"]}]}]},
        {"metadata": 7, "user": {"a": [1]}, "seed": None},
        {"messages": [{"role": "assistant", "tool_calls": [7, {"id": 3}], "content": 5}]},
    ],
    ids=str,
)
def test_fields_of_no_known_type(redacting: Gateway, more: dict[str, Any]) -> None:
    assert redacting.ask(unsure(), headers={"x-stepdown-workload": TASK}, **more).status_code in (200, 422)


def test_what_is_no_tasks_is_masked_too(redacting: Gateway, upstream: LargeModel) -> None:
    got = redacting.ask("", messages=[{"role": "user", "content": f"Who is {CANARIES[0]}?"}])
    assert got.headers["x-stepdown-reason"] == "no task"
    assert upstream.last().json["messages"][0]["content"] == "Who is [EMAIL]?"
    assert isinstance(got, httpx.Response)
