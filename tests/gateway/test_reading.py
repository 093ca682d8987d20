"""A body is read as every other reader reads it, or refused: a field that comes twice, numbers out of range."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.gateway.errors import Refused
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.reading import MOST_VALUES, read_request
from stepdown.wires import openai_chat
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway

JSON = {"content-type": "application/json"}
TEXT = st.text(st.sampled_from('ab:",\\{}[] \n\u00e9/'), max_size=8)
PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | TEXT


@st.composite
def objects(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON text of an object, with fields that may come twice, spelled in any way."""
    fields = []
    for key in draw(st.lists(st.sampled_from(["a", "b", "a:", '"', "\\", ":", ""]), max_size=4)):
        spelled = json.dumps(key)
        if key == "a" and draw(st.booleans()):
            spelled = '"\\u0061"'
        value = json.dumps(draw(PLAIN), ensure_ascii=draw(st.booleans()))
        if depth and draw(st.booleans()):
            inner = [draw(objects(depth=depth - 1)) for _ in range(draw(st.integers(1, 2)))]
            value = f"[{', '.join(inner)}]" if draw(st.booleans()) else inner[0]
        fields.append(f"{spelled}{draw(st.sampled_from(['', ' ', chr(10)]))}:{draw(st.sampled_from(['', ' ']))}{value}")
    return "{" + ",".join(fields) + "}"


def is_refused(body: bytes) -> bool:
    exchange = Exchange(
        Request("POST", "/v1/chat/completions", "", {b"content-type": b"application/json"}, body), openai_chat, 0.0, 0.0
    )
    try:
        read_request(exchange)
    except Refused as refused:
        assert refused.status == 400
        return True
    return False


@given(objects())
def test_a_field_that_comes_twice_anywhere_is_refused_and_nothing_else(text: str) -> None:
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice = twice or len(dict(found)) < len(found)
        return dict(found)

    json.loads(text, object_pairs_hook=pairs)
    assert is_refused(f'{{"messages": [], "x": {text}}}'.encode()) == twice


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "gpt-4o-mini", "messages": [], "model": "gpt-5"}',
        '{"messages": [{"role": "user", "content": "a", "\\u0063ontent": "b"}]}',
        '{"messages": [], "max_tokens" :1, "max_tokens": 2}',
        '{"messages": [], "temperature": 1e999}',
        '{"messages": [], "temperature": -1e999}',
        '{"messages": [], "temperature": NaN}',
        '{"messages": [], "temperature": Infinity}',
        '{"messages": [], "x": [' + "[]," * MOST_VALUES + "1]}",
        '{"messages": [], "x": [' + "1," * MOST_VALUES + "1]}",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_what_readers_differ_in_goes_nowhere(gateway: Gateway, upstream: LargeModel, body: str, path: str) -> None:
    before = len(upstream.seen)
    got = gateway.client.post(path, content=body.encode(), headers=JSON)
    assert got.status_code == (413 if len(body) > MOST_VALUES else 400)
    assert got.json()["error"]["message"]
    assert len(upstream.seen) == before
