"""What crosses to the recording process arrives as it was, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.keys import Key
from stepdown.core.wires import anthropic_messages, openai_chat
from stepdown.gateway.channel import Charge, Frames, Report, fill_in, framed, pack, unpack, unpack_report
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
SAME = (
    "id",
    "at",
    "workload",
    "rung",
    "reason",
    "confidence",
    "upstream",
    "status",
    "streamed",
    "error",
    "first_byte_s",
    "latency_s",
    "upstream_s",
    "selection",
    "selection_probability",
)


def finished(reply: bytes | list[bytes] = b"{}") -> Exchange:
    headers = {b"traceparent": b"00-1-2-01", b"authorization": b"Bearer sk-secret"}
    request = Request("POST", "/v1/chat/completions", "", headers, BODY)
    request.client = "10.1.2.3"
    exchange = Exchange(request, openai_chat, 1_700_000_000.5, 3.0)
    exchange.key = Key(id="k1", name="team", digest="d", prefix="p", created_at=0.0)
    exchange.workload, exchange.rung, exchange.reason = "w", "incumbent", "unsure"
    exchange.confidence, exchange.upstream, exchange.status = 0.25, "up", 200
    exchange.latency_s, exchange.upstream_s, exchange.reply = 0.5, 0.4, reply
    exchange.selection, exchange.selection_probability = "holdback", 0.02
    return exchange


def test_an_exchange_arrives_as_it_was_and_no_secret_with_it() -> None:
    sent = finished([b"data: 1\n\n", b"data: 2\n\n"])
    frame = pack(sent)
    assert b"sk-secret" not in frame
    (got,) = (unpack(one) for one in Frames().feed(frame))
    assert {name: getattr(got, name) for name in SAME} == {name: getattr(sent, name) for name in SAME}
    assert (got.wire, got.reply, got.request.body) == (openai_chat, b"data: 1\n\ndata: 2\n\n", BODY)
    assert (got.request.client, got.request.headers) == ("10.1.2.3", {b"traceparent": b"00-1-2-01"})
    assert got.key is not None
    assert (got.key.id, got.key.name, got.task) == ("k1", "team", None)
    fill_in(got)
    assert got.chat["messages"][0]["content"] == "hi"


def test_the_other_wire_is_filled_in_as_chat() -> None:
    sent = finished()
    sent.wire = anthropic_messages
    (got,) = (unpack(one) for one in Frames().feed(pack(sent)))
    fill_in(got)
    assert got.wire is anthropic_messages
    assert got.chat["messages"] == [{"role": "user", "content": "hi"}]


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 900), min_size=1, max_size=9))
def test_frames_are_the_same_however_they_are_cut(replies: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(pack(finished(reply)) for reply in replies)
    frames, got, place = Frames(), [], 0
    for size in itertools.cycle(sizes):
        got += [unpack(frame).reply for frame in frames.feed(stream[place : place + size])]
        place += size
        if place >= len(stream):
            break
    assert got == replies


def test_a_length_that_no_frame_has_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(Frames().feed(b"\xff\xff\xff\xff"))


def test_a_report_arrives_as_it_was() -> None:
    report = Report([Charge("k", "t", 12, 0.5)], False, "The disk is full.", 3)
    (got,) = (unpack_report(frame) for frame in Frames().feed(framed(report)))
    assert got == report
