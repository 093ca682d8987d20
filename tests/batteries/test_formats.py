"""Every format of log, discovered: its examples, its sniffing, and whatever can be wrong with a file."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import canonical_json
from stepdown.traffic.format import Format, FormatExample, formats
from stepdown.traffic.read import read_calls
from stepdown.traffic.source import Source

KINDS = formats().all()
EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{example.name}") for name in KINDS for example in KINDS[name].examples()
]
LINES = [case for case in EXAMPLES if case.values[1].name.endswith((".jsonl", ".csv"))]


def _read(kind: Format, data: bytes, name: str = "log", **options: int) -> list[Call | Broken]:
    return list(kind.read([Source(name, io.BytesIO(data))], kind.Options(**options)))


def test_there_are_formats_and_each_has_examples() -> None:
    assert {"native", "openai_batch", "anthropic", "vcr", "columns"} <= set(KINDS)
    assert all(kind.examples() for kind in KINDS.values())


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_reads_as_it_says(name: str, example: FormatExample) -> None:
    assert _read(KINDS[name], example.data, example.name) == list(example.calls)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_a_format_knows_its_own_example_best(name: str, example: FormatExample) -> None:
    sure = {kind: module.sniff(example.data, example.name) for kind, module in KINDS.items()}
    assert max(sure, key=lambda kind: sure[kind]) == name
    assert all(0.0 <= value <= 1.0 for value in sure.values())


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
@pytest.mark.parametrize("packing", ["plain", "gz", "zst"])
def test_packed_or_plain_reads_the_same(name: str, example: FormatExample, packing: str, tmp_path: Path) -> None:
    pack = {"plain": bytes, "gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}[packing]
    path = tmp_path / example.name
    path.write_bytes(pack(example.data))
    calls = list(read_calls([str(path)]))
    assert [msgspec.structs.replace(call, source="") for call in calls if isinstance(call, Call)] == [
        msgspec.structs.replace(call, source="") for call in example.calls
    ]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_calls_can_be_kept_as_json(name: str, example: FormatExample) -> None:
    for call in example.calls:
        assert msgspec.json.decode(canonical_json(call), type=Call) == call


@pytest.mark.parametrize(("name", "example"), LINES)
def test_a_broken_line_in_the_middle_costs_only_itself(name: str, example: FormatExample) -> None:
    body = example.data
    header, first = (body.split(b"\n", 1)[0] + b"\n", body.split(b"\n", 1)[1]) if body[:1] != b"{" else (b"", body)
    wrong = b'{"request": nonsense\n' if not header else b"only,two\n"
    broken = [item for item in _read(KINDS[name], header + first + wrong) if isinstance(item, Broken)]
    assert len(broken) == 1
    assert broken[0].line == 1 + (header + first).count(b"\n")
    assert broken[0].raw.startswith(wrong.decode()[:8])


@pytest.mark.parametrize(("name", "example"), LINES)
def test_a_line_that_is_not_utf8_is_kept_aside(name: str, example: FormatExample) -> None:
    items = _read(KINDS[name], example.data + b'{"request": "\xff\xfe", "x": "\xff,\xff,\xff"}\n')
    assert any(isinstance(item, Broken) and "UTF-8" in item.reason for item in items)
    assert sum(isinstance(item, Call) for item in items) == len(example.calls)


@pytest.mark.parametrize(("name", "example"), LINES)
def test_an_overlong_line_is_reported_and_passed_over(name: str, example: FormatExample) -> None:
    limit = len(example.data)
    data = example.data + b'{"request": "' + b"x" * (4 * limit) + b'"}\n'
    items = _read(KINDS[name], data, max_line_bytes=limit)
    (broken,) = [item for item in items if isinstance(item, Broken)]
    assert "longer than" in broken.reason
    assert len(broken.raw) <= 300
    assert sum(isinstance(item, Call) for item in items) == len(example.calls)


@pytest.mark.parametrize("name", KINDS)
def test_deep_nesting_is_refused(name: str) -> None:
    deep = b'{"custom_id": "a", "prompt": "x", "answer": "y", "request": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    for data in (deep + b"\n", b"interactions: " + b"[" * 50_000):
        items = _read(KINDS[name], data)
        assert items
        assert all(isinstance(item, Broken) for item in items)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_a_truncated_file_keeps_what_came_before(name: str, example: FormatExample, tmp_path: Path) -> None:
    noise = b"".join(b"# %s\n" % os.urandom(40).hex().encode() for _ in range(200))
    packed = gzip.compress(example.data + noise)
    path = tmp_path / (example.name + ".gz")
    path.write_bytes(packed[: len(packed) // 2])
    items = list(read_calls([str(path)], format=name))
    assert any(isinstance(item, Broken) and "truncated" in item.reason for item in items)
    if example.name.endswith((".jsonl", ".csv")):
        assert sum(isinstance(item, Call) for item in items) == len(example.calls)


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_file_is_one_broken_record(name: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"")
    assert list(read_calls([str(path)], format=name)) == [Broken(source=str(path), line=0, reason="empty")]


_KEYS = st.sampled_from(
    [
        "request",
        "response",
        "messages",
        "choices",
        "message",
        "content",
        "role",
        "custom_id",
        "body",
        "error",
        "id",
        "timestamp",
        "prompt",
        "answer",
        "usage",
        "tools",
        "system",
        "input",
        "type",
        "text",
        "interactions",
        "uri",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=25,
)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(st.dictionaries(_KEYS, JSON, max_size=6), min_size=1, max_size=4))
def test_any_json_is_calls_or_broken_records(name: str, values: list[dict[str, object]]) -> None:
    lines = [msgspec.json.encode(value) for value in values]
    items = _read(KINDS[name], b"\n".join(lines))
    assert all(isinstance(item, Call | Broken) for item in items)
    if name in {"native", "anthropic"}:
        assert len(items) == len(values)
    for item in items:
        canonical_json(item)


@pytest.mark.parametrize(("name", "example"), [case for case in EXAMPLES if case.values[1].data[:1] == b"{"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON, place=st.integers(0, 10_000), as_text=st.booleans())
def test_any_value_anywhere_in_an_example_is_calls_or_broken_records(
    name: str, example: FormatExample, value: object, place: int, as_text: bool
) -> None:
    """Where a tool keeps JSON as text inside of JSON, it is changed inside as well."""
    whole = _opened(_first_value(example.data))
    places = list(_places(whole))
    container, key = places[place % len(places)]
    container[key] = value
    changed = msgspec.json.encode(_closed(whole) if as_text else _plain(whole))
    items = _read(KINDS[name], changed + b"\n", example.name)
    assert items
    for item in items:
        assert isinstance(item, Call | Broken)
        canonical_json(item)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(min_size=1, max_size=300), place=st.integers(0, 3000), cut=st.integers(0, 3000))
def test_any_bytes_are_calls_or_broken_records(name: str, data: bytes, place: int, cut: int) -> None:
    for example in KINDS[name].examples():
        damaged = example.data[:place] + data + example.data[cut:]
        for item in _read(KINDS[name], damaged):
            assert isinstance(item, Call | Broken)
            canonical_json(item)
    for module in KINDS.values():
        assert 0.0 <= module.sniff(data, "x") <= 1.0


class _Text(dict[str, object]):
    """An object or list that was text: {"": the value}."""


def _first_value(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return msgspec.json.decode(data.split(b"\n", 1)[0])


def _opened(value: object) -> object:
    if isinstance(value, dict):
        return {key: _opened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_opened(inner) for inner in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        return _Text({"": _opened(msgspec.json.decode(value))})
    return value


def _closed(value: object) -> object:
    if isinstance(value, _Text):
        return msgspec.json.encode(_closed(value[""])).decode()
    if isinstance(value, dict):
        return {key: _closed(inner) for key, inner in value.items()}
    return [_closed(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: object) -> object:
    if isinstance(value, _Text):
        return _plain(value[""])
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)
