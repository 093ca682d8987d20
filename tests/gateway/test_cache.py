"""The response cache: the same request, the same answer; bounded in bytes and in time; never past a certificate."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.inputs import Input
from stepdown.core.keys import Key
from stepdown.gateway.cache import AnswerCache, caching
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Response
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import outcome_of
from stepdown.gateway.served import ServedTask
from stepdown.runtime.cascade import Decision
from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.event_stream import events
from tests.gateway.exchanges import AT, KEY, answer, exchange, task


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def decide(input: Input, insist: bool) -> Decision:
    raise AssertionError("nobody is asked")


def cached_task(**fields: Any) -> ServedTask:
    return replace(task(), cache_s=60.0, **fields)


CERTIFIED = cached_task(decide=decide, certificate="c1", valid_from=AT - 10, valid_until=AT + 10)


def asked(**fields: Any) -> Exchange:
    return exchange(served=fields.pop("served", cached_task()), **fields)


def keep(cache: AnswerCache, *exchanges: Exchange) -> None:
    for one in exchanges:
        cache(one, outcome_of(one, lambda call: 0.0))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> AnswerCache:
    return AnswerCache(clock)


def test_a_repetition_is_found_whatever_asks_for_no_other_answer(cache: AnswerCache) -> None:
    keep(cache, asked())
    again = asked()
    again.body = {"stream": True, "user": "u", "metadata": {"a": 1}, **dict(reversed(again.body.items()))}
    found = cache.find(again)
    assert found is not None
    assert found.body == answer()


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.body.update(temperature=0.5),
        lambda one: setattr(one, "wire", anthropic_messages),
        lambda one: setattr(one, "route", "incumbent"),
        lambda one: setattr(one, "key", Key(**{**msgspec.structs.asdict(KEY), "tasks": ("intent",)})),
        lambda one: setattr(one, "task", replace(cached_task(), task=task("other").task)),
        lambda one: setattr(one, "task", task()),
        lambda one: setattr(one, "task", None),
    ],
)
def test_another_request_wire_route_scope_or_task_finds_nothing(cache: AnswerCache, change: Any) -> None:
    keep(cache, asked(key=KEY))
    other = asked(key=KEY)
    assert cache.find(other) is not None
    change(other)
    assert cache.find(other) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 500},
        {"status": 201},
        {"reply": b""},
        {"reply": b"{}"},
        {"error": "the client went away"},
        {"rung": "abstained"},
        {"rung": "cache"},
        {"reply": answer(usage=None)},
        {"served": task()},
    ],
)
def test_only_whole_good_answers_are_kept(cache: AnswerCache, fields: dict[str, Any]) -> None:
    reply = fields.get("reply")
    fields = {**fields, "reply": msgspec.json.encode(reply) if isinstance(reply, dict) else reply}
    keep(cache, asked(**{name: value for name, value in fields.items() if value is not None}))
    assert len(cache) == cache.held_bytes == 0


def test_an_answer_ages_on_the_clock_that_is_passed_in(cache: AnswerCache, clock: Clock) -> None:
    keep(cache, asked())
    clock.now += 59.9
    assert cache.find(asked()) is not None
    clock.now += 0.1
    assert cache.find(asked()) is None
    assert cache.held_bytes == 0


def test_a_students_answer_lapses_with_its_certificate(cache: AnswerCache) -> None:
    keep(cache, asked(served=CERTIFIED, rung="linear", upstream=""))
    assert cache.find(asked(served=CERTIFIED)) is not None
    assert cache.find(asked(served=CERTIFIED, at=AT + 10)) is None
    assert cache.find(asked(served=replace(CERTIFIED, certificate="c2"))) is None
    assert cache.find(asked(served=replace(CERTIFIED, decide=None))) is None
    # The incumbent's own answer needs no certificate.
    keep(cache, asked(served=CERTIFIED))
    assert cache.find(asked(served=CERTIFIED, at=AT + 10)) is not None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 900)), max_size=60))
def test_bytes_are_bounded_and_counted(puts: list[tuple[int, int]]) -> None:
    cache = AnswerCache(Clock(), max_bytes=4000)
    for name, size in puts:
        keep(cache, asked(said=str(name), reply=msgspec.json.encode(answer("x" * size))))
        assert cache.held_bytes <= 4000
        assert cache.find(asked(said=str(name))) is not None
    assert (cache.held_bytes == 0) == (len(cache) == 0)


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = AnswerCache(Clock(), max_bytes=2500)
    first, second, third = (asked(said=said, reply=msgspec.json.encode(answer("x" * 400))) for said in "abc")
    keep(cache, first, second)
    assert cache.find(first) is not None
    keep(cache, third)
    assert cache.find(second) is None
    assert cache.find(first) is not None


async def never(exchange: Exchange) -> Response:
    raise AssertionError("the cache has the answer")


def streamed(wire: ModuleType, body: dict[str, Any]) -> list[bytes]:
    whole = b"".join(wire.stream_of(body, True) if wire is openai_chat else wire.stream_of(body))
    return [whole[start : start + 37] for start in range(0, len(whole), 37)]


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "text", "text": "hé"},
        {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"where": ["here", 1]}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


@pytest.mark.parametrize(("wire", "body"), [(openai_chat, answer("hé")), (anthropic_messages, MESSAGE)])
def test_streams_are_kept_whole_and_replayed_either_way(wire: ModuleType, body: dict[str, Any]) -> None:
    cache, metrics = AnswerCache(Clock()), Metrics("1")
    keep(cache, asked(wire=wire, reply=streamed(wire, body), streamed=True))
    look = caching(cache, metrics)
    plain, stream = asked(wire=wire), asked(wire=wire)
    stream.body["stream"] = True
    whole = asyncio.run(look(plain, never))
    assert isinstance(whole.body, bytes)
    assert (
        wire.response(msgspec.json.decode(whole.body))["choices"][0]["message"]
        == (wire.response(body)["choices"][0]["message"])
    )
    again = asyncio.run(look(stream, never))
    assert isinstance(again.body, bytes)
    assert wire.response(wire.joined(events(again.body.decode())))["choices"] == wire.response(body)["choices"]
    assert dict(again.headers)[b"x-stepdown-rung"] == b"cache"
    assert plain.rung == stream.rung == "cache"
    assert b'stepdown_cache_lookups_total{result="hit"} 2.0' in metrics.render()
