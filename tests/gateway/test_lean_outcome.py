"""The short way to an outcome says what the long way says, and leaves to it what it cannot take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.calls import Call, EncodedCall, Selection
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.gateway.channel import fill_in
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.lean_outcome import lean_or_whole
from stepdown.gateway.outcome import outcome_of
from stepdown.gateway.served import Manners, ServedTask
from stepdown.stores.store import open_store
from tests.gateway.test_channel import finished

REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "x": 1}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
    "unknown": {"deep": [1, 2.5, None]},
}


def cost(call: Call) -> float | None:
    usage = (call.response or {})["usage"]
    details = usage.get("prompt_tokens_details") or {}
    return float((call.prompt_tokens or 0) - details.get("cached_tokens", 0) + 3 * (call.completion_tokens or 0))


@contextlib.contextmanager
def store() -> Iterator[Store]:
    opened = open_store("memory:")
    try:
        yield opened
    finally:
        opened.close()


def both(exchange: Exchange) -> tuple[Any, Any]:
    short = lean_or_whole(exchange, cost)
    fill_in(exchange)
    return short, outcome_of(exchange, cost)


def stored(call: Call | EncodedCall) -> Call:
    with store() as opened:
        opened.add_calls([call])
        return next(opened.calls())


@pytest.mark.parametrize(
    ("rung", "selection", "probability"),
    [
        ("incumbent", "", 1.0),
        ("incumbent", "holdback", 0.02),
        ("incumbent", "escalated", 1.0),
        ("encoder", "", 1.0),
    ],
)
def test_both_ways_store_the_same_call(rung: str, selection: Selection, probability: float) -> None:
    exchange = finished(msgspec.json.encode(REPLY))
    exchange.rung, exchange.selection, exchange.selection_probability = rung, selection, probability
    manners = Manners(like={}, cost_usd=0.5)
    task = Task(name="t", family="", match=Match())
    exchange.task = ServedTask(task=task, family=None, manners=manners, student_cost_usd=0.1)
    short, long = both(exchange)
    assert isinstance(short.call, EncodedCall)
    assert stored(short.call) == stored(long.call)
    assert (b'"selection"' in short.call.body) == bool(selection), "what is usual takes no room"
    assert (stored(short.call).selection, stored(short.call).selection_probability) == (selection, probability)
    assert (short.prompt_tokens, short.completion_tokens) == (long.prompt_tokens, long.completion_tokens)
    assert (short.cost_usd, short.saved_usd) == (long.cost_usd, long.saved_usd)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"{",
        b"<html>",
        b"data: {}\n\n",
        msgspec.json.encode({**REPLY, "usage": None}),
        msgspec.json.encode({**REPLY, "error": {"message": "no"}}),
        msgspec.json.encode({**REPLY, "usage": {"prompt_tokens": -1, "completion_tokens": 2}}),
        msgspec.json.encode({**REPLY, "choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}]}),
        msgspec.json.encode({**REPLY, "choices": []})[:-5],
    ],
)
def test_what_is_out_of_the_ordinary_goes_the_long_way(reply: bytes) -> None:
    short, long = both(finished(reply))
    assert isinstance(short.call, Call)
    assert short == long


def test_what_must_be_masked_is_read() -> None:
    exchange = finished(msgspec.json.encode(REPLY))
    exchange.task = ServedTask(task=Task(name="t", family="", match=Match()), family=None, privacy="redact")
    assert isinstance(lean_or_whole(exchange, cost).call, Call)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*REPLY, "other"]), JSON, max_size=5))
def test_any_answer_amounts_to_the_same_either_way(changes: dict[str, Any]) -> None:
    short, long = both(finished(msgspec.json.encode({**REPLY, **changes})))
    assert (short.prompt_tokens, short.completion_tokens, short.cost_usd) == (
        long.prompt_tokens,
        long.completion_tokens,
        long.cost_usd,
    )
    if isinstance(short.call, EncodedCall):
        assert not long.call.error
        assert msgspec.json.decode(short.call.body)["response"] == long.call.response
