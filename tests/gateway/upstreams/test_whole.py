"""What passes through untouched is an answer, or is called none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.gateway.http.messages import BrokenReply
from stepdown.gateway.upstreams._whole import StreamEnd, whole_body, whole_stream


class Said:
    """An answer as the HTTP client gives it."""

    def __init__(self, *pieces: bytes, status: int = 200, encoding: bytes = b"") -> None:
        self._pieces, self.status, self._encoding = pieces, status, encoding

    def header(self, name: bytes) -> bytes:
        return self._encoding if name == b"content-encoding" else b""

    async def read(self) -> bytes:
        return b"".join(self._pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def streamed(wire: str, *pieces: bytes) -> bytes:
    return b"".join([piece async for piece in whole_stream(Said(*pieces), wire)])  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"{}", b'{"a": [1, {"b": null}]}', b' {"a":1}\n'])
def test_an_object_passes_as_it_is(body: bytes) -> None:
    assert asyncio.run(whole_body(Said(body))) == body  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": 1', b"[1]", b"null", b"[" * 5000])
def test_what_is_no_object_is_no_answer_unless_it_is_an_error_or_packed(body: bytes) -> None:
    with pytest.raises(BrokenReply):
        asyncio.run(whole_body(Said(body)))  # type: ignore[arg-type]
    assert asyncio.run(whole_body(Said(body, status=500))) == body  # type: ignore[arg-type]
    assert asyncio.run(whole_body(Said(body, encoding=b"gzip"))) == body  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wire", "pieces"),
    [
        ("openai", [b'data: {"choices":[]}\n\ndata: [DO', b"NE]\n\n"]),
        ("openai", [b'data: {"choices":[{"finish_', b'reason": "stop"}]}\n\n']),
        ("openai", [b'data: {"error": {"message": "no"}}\n\n']),
        ("anthropic", [b"event: message_st", b'op\ndata: {"type":"message_stop"}\n\n']),
    ],
)
def test_a_stream_that_came_to_its_end_is_whole_however_it_was_cut(wire: str, pieces: list[bytes]) -> None:
    assert asyncio.run(streamed(wire, *pieces)) == b"".join(pieces)


TRICKS = {
    "openai": [
        b'data: {"choices":[{"delta":{"content":"[DONE]"},"finish_reason":null}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"data: [DONE]\\n\\n"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\": \\"stop\\", \\"error\\": 1"}}]}\n\n',
        b"data: so\ndata: [DONE]\n\n",
        b": [DONE]\n\nevent: [DONE]\n\n",
        b"data: " + b"x" * 70_000 + b" [DONE]\n\n",
    ],
    "anthropic": [
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"message_stop"}}\n\n',
        b'data: {"type":"content_block_delta","delta":{"text":"{\\"type\\":\\"message_stop\\"}"}}\n\n',
        b"event: message_stop\n\n",
    ],
}
ENDS = {"openai": b"data: [DONE]\n\n", "anthropic": b'event: message_stop\ndata: {"type":"message_stop"}\n\n'}


@pytest.mark.parametrize(("wire", "said"), [(wire, said) for wire, tricks in TRICKS.items() for said in tricks])
def test_what_a_text_says_of_an_end_is_none(wire: str, said: bytes) -> None:
    with pytest.raises(BrokenReply):
        asyncio.run(streamed(wire, said))
    # Cut just before what looks like the end.
    place = max(said.find(b"[DONE]"), said.find(b"message_stop"), 1)
    with pytest.raises(BrokenReply):
        asyncio.run(streamed(wire, said[:place], said[place:]))


@given(
    st.sampled_from(sorted(TRICKS)), st.lists(st.integers(0, 400), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"])
)
def test_the_end_is_seen_in_the_piece_that_completes_it_however_a_stream_is_cut(
    wire: str, cuts: list[int], line_end: bytes
) -> None:
    said = b"".join(TRICKS[wire][:3])
    before, whole = said.replace(b"\n", line_end), (said + ENDS[wire]).replace(b"\n", line_end)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    end, fed = StreamEnd(wire), 0
    for start, stop in itertools.pairwise(places):
        ended = end.feed(whole[start:stop])
        fed = stop
        assert not ended or fed > len(before)
    assert end.close()


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("piece", [b"", b"data: {", b'data: {"choices":[{"finish_reason":null}]}\n\n'])
def test_a_stream_without_its_end_is_broken(wire: str, piece: bytes) -> None:
    with pytest.raises(BrokenReply):
        asyncio.run(streamed(wire, piece))
