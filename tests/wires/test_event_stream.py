"""Events from pieces: however a stream is cut, and however its lines end, the same events come out."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.wires.event_stream import EventSplitter, events, frame

_OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=5)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at the places that lie within it."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    objects=_OBJECTS,
    places=st.lists(st.integers(0, 10_000), max_size=30),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_cut_gives_the_same_events(objects: list[dict[str, str]], places: list[int], line_end: str) -> None:
    text = (
        ": a comment\n\n" + "".join(f"event: x\n{frame(one).decode()}id: 4\n\n" for one in objects) + "data: [DONE]\n\n"
    )
    stream = text.replace("\n", line_end).encode()
    splitter = EventSplitter()
    found = [event for piece in cut(stream, places) for event in splitter.feed(piece)]
    assert found == objects == list(events(text))
    assert splitter.done
    assert splitter.close() == []


def test_every_single_byte_on_its_own() -> None:
    stream = '\ufeffdata: {"a":\r\ndata: "ü😀"}\r\n\r\ndata:{"b":1}\r\r'.encode()
    splitter = EventSplitter()
    assert [event for byte in stream for event in splitter.feed(bytes([byte]))] == [{"a": "ü😀"}, {"b": 1}]


def test_an_event_without_its_blank_line_is_the_close_s() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b'data: {"a": 1}') == []
    assert splitter.close() == [{"a": 1}]


@pytest.mark.parametrize(
    "stream",
    [b"data: {\n\n", b"data: [1]\n\n", b'data: {"a": "\xff"}\n\n', b"data: " + b"[" * 100_000 + b"\n\n", b"data:\n\n"],
)
def test_what_is_not_a_json_object_is_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match="an event of the stream is not"):
        EventSplitter().feed(stream)


@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 100, b"data: x\n" * 20, b":" * 100, b"data: " + b"x" * 100 + b"\n\n"]
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_is_bounded(stream: bytes, size: int) -> None:
    splitter = EventSplitter(max_bytes=64)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    with pytest.raises(ValueError, match="larger than 64 bytes"):
        [splitter.feed(piece) for piece in pieces]


def test_the_bound_is_of_one_event_not_of_the_stream() -> None:
    splitter = EventSplitter(max_bytes=64)
    assert sum(len(splitter.feed(b'data: {"a": 1}\n\n')) for _ in range(100)) == 100


def test_a_frame_is_read_back() -> None:
    assert frame({"a": "\n"}, "name") == b'event: name\ndata: {"a":"\\n"}\n\n'
    assert msgspec.json.decode(frame({"a": 1})[6:]) == {"a": 1}
