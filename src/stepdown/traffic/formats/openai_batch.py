"""openai_batch: the input file of a batch joined with its output and error files by custom_id, in whatever order.

Requests wait on disk (a temporary SQLite file, packed), not in memory: batches may be larger than it. A custom_id
means something only within its batch, so files of one folder join first, then files of different folders where only
one request can be meant.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
import zstandard

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import canonical_json, digest
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.json_records import Sizes, decoded, peek, records, share
from stepdown.traffic.record import Record, call_of, error_text, wire_of
from stepdown.traffic.source import Source

EXTRA = ""

_TABLE = """
CREATE TABLE request (
    folder TEXT, custom_id TEXT, source INTEGER, line INTEGER, digest TEXT, packed BLOB, used INTEGER
);
CREATE TABLE result (folder TEXT, custom_id TEXT, source INTEGER, line INTEGER, failed INTEGER, packed BLOB);
"""
_INDEX = "CREATE INDEX request_key ON request (custom_id, folder)"
# Results whose request is in their own folder go first, and failed attempts after those that succeeded.
_RESULTS = """
SELECT folder, custom_id, source, line, packed FROM result
ORDER BY NOT EXISTS (
    SELECT 1 FROM request WHERE request.custom_id = result.custom_id AND request.folder = result.folder
), failed, rowid
"""
_REUSED = "SELECT custom_id, COUNT(DISTINCT digest) FROM request GROUP BY custom_id HAVING COUNT(*) > 1"
_UNUSED = "SELECT custom_id, source, line, packed FROM request WHERE used = 0 ORDER BY rowid"


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


class _Line(msgspec.Struct):
    custom_id: str | int
    body: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


def sniff(head: bytes, name: str) -> float:
    objects = peek(head)
    if not objects:
        return 0.9 if head.lstrip()[:1] in {b"{", b"/"} and b'"custom_id"' in head else 0.0
    return 0.95 * share(objects, lambda one: "custom_id" in one and bool({"body", "response", "error"} & one.keys()))


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    with (
        tempfile.TemporaryDirectory(prefix="stepdown-batch-") as folder,
        closing(sqlite3.connect(os.path.join(folder, "join.sqlite"), isolation_level=None)) as join,
    ):
        join.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLE}")
        join.execute("BEGIN")
        yield from _spool(join, sources, options)
        join.execute(_INDEX)
        yield from _joined(join, sources)


def examples() -> list[FormatExample]:
    request = (
        b'{"custom_id":"q-1","method":"POST","url":"/v1/chat/completions",'
        b'"body":{"model":"m","messages":[{"role":"user","content":"Good or bad? Awful"}]}}\n'
    )
    result = (
        b'{"id":"batch_req_1","custom_id":"q-1","response":{"status_code":200,"request_id":"x",'
        b'"body":{"id":"r-1","created":1751942128,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
        b'"message":{"role":"assistant","content":"bad"}}]}},"error":null}\n'
    )
    answer = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "bad"}}
    call = Call(
        id="q-1",
        timestamp=1751942128.0,
        request={"model": "m", "messages": [{"role": "user", "content": "Good or bad? Awful"}]},
        response={"id": "r-1", "created": 1751942128, "model": "m", "choices": [answer]},
        source="both.jsonl:2",
    )
    waiting = msgspec.structs.replace(call, response=None, timestamp=0.0, error=_NO_RESULT, source="input.jsonl:1")
    return [
        FormatExample(name="both.jsonl", data=request + result, calls=(call,)),
        FormatExample(name="input.jsonl", data=request, calls=(waiting,)),
    ]


_NO_RESULT = "no result: the batch's output has no line for this request"


def _spool(join: sqlite3.Connection, sources: Sequence[Source], options: Options) -> Iterator[Broken]:
    pack = zstandard.ZstdCompressor(level=1).compress
    sizes = Sizes(options.max_line_bytes, options.max_document_bytes)
    for position, source in enumerate(sources):
        for item in records(source, sizes):
            line = item if isinstance(item, Broken) else decoded(source, *item, _decode)
            if isinstance(line, Broken):
                yield line
                continue
            number, raw = item if isinstance(item, tuple) else (0, b"")
            key = (source.folder, str(line.custom_id), position, number)
            if line.body is not None:
                row = (*key, digest(canonical_json(line.body)), pack(_encode(line.body)), 0)
                join.execute("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            elif line.response is not None or line.error:
                body, error = _result(line)
                failed = int(bool(error) or body is None or "error" in body)
                join.execute(
                    "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?)", (*key, failed, pack(_encode([body, error])))
                )
            else:
                yield source.broken(number, "neither a request (body) nor a result (response or error)", raw)


def _result(line: _Line) -> tuple[dict[str, Any] | None, str]:
    """The response body and the error of an output line. Some servers leave out the {status_code, body} round it."""
    response = line.response or {}
    body = response.get("body") if "body" in response or "status_code" in response else response
    status = response.get("status_code")
    error = error_text(line.error)
    if not error and isinstance(status, int) and status >= 400:
        error = error_text(body) or f"status {status}"
    return (body if isinstance(body, dict) and body else None), error


def _joined(join: sqlite3.Connection, sources: Sequence[Source]) -> Iterator[Call | Broken]:
    unpack = zstandard.ZstdDecompressor().decompress
    given: dict[str, int] = dict(join.execute(_REUSED))
    for folder, custom_id, position, line, packed in join.execute(_RESULTS):
        source, (body, error) = sources[position], msgspec.json.decode(unpack(packed))
        found = _request_of(join, folder, custom_id)
        if isinstance(found, str):
            if not (error and found == _TAKEN):
                yield source.broken(line, found.format(custom_id=custom_id), _encode([body, error]))
            continue
        row, request_digest, request = found
        join.execute("UPDATE request SET used = 1 WHERE rowid = ?", (row,))
        name = custom_id if given.get(custom_id, 1) == 1 else f"{custom_id}@{request_digest[:8]}"
        record = Record(id=name, request=msgspec.json.decode(unpack(request)), response=body, error=error)
        yield _call(record, source, line)
    for custom_id, position, line, packed in join.execute(_UNUSED):
        request_body = msgspec.json.decode(unpack(packed))
        name = custom_id if given.get(custom_id, 1) == 1 else f"{custom_id}@{digest(canonical_json(request_body))[:8]}"
        record = Record(id=name, request=request_body, error=_NO_RESULT)
        yield _call(record, sources[position], line)


def _call(record: Record, source: Source, line: int) -> Call | Broken:
    return call_of(record, source, line, wire_of(record.request or {}, record.response))


_TAKEN = "a second result for the request {custom_id!r}"
_NO_REQUEST = "no request has the custom_id {custom_id!r}: give the batch's input file as well"
_MANY = "several different requests have the custom_id {custom_id!r}: keep each batch's files in a folder of its own"


def _request_of(join: sqlite3.Connection, folder: str, custom_id: str) -> tuple[int, str, bytes] | str:
    """(row, digest, packed body) of the request that a result answers, or the reason why there is none."""
    query = "SELECT rowid, digest, packed, used FROM request WHERE custom_id = ?"
    rows = join.execute(query + " AND folder = ?", (custom_id, folder)).fetchall()
    rows = rows or join.execute(query, (custom_id,)).fetchall()
    if not rows:
        return _NO_REQUEST
    free = [row for row in rows if not row[3]]
    if not free:
        return _TAKEN
    if len({row[1] for row in rows}) > 1:
        return _MANY
    return free[0][0], free[0][1], free[0][2]
