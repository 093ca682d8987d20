"""vcr: VCR cassettes (YAML or JSON), as tests record HTTP: the calls to large models in them, streams joined.

Shapes: vcrpy 6 (serializers/yamlserializer.py and jsonserializer.py: `interactions` beside `version`), Ruby's vcr 6 and
betamax (`http_interactions`, bodies {encoding, string or base64_string}, `recorded_at`), go-vcr 4 (cassette.go: `code`
beside `status`, bodies as text).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import yaml
import zstandard

from stepdown.core.calls import Broken, Call
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.record import Record, Wire, call_of, error_text
from stepdown.traffic.source import MAX_DEPTH, Source, too_deep
from stepdown.wires import anthropic_messages, event_stream, openai_chat, openai_responses

EXTRA = ""

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_NODES = 5_000_000
_WIRES = (openai_chat, openai_responses, anthropic_messages)
# Older libyaml recurses once per bracket, so depth is bounded before it is asked.
_INTERACTIONS = ("interactions", "http_interactions")
# A JSON cassette by its beginning, as most are larger than what is sniffed: the list, after scalars at most.
_SCALAR = rb'(?:"(?:[^"\\]|\\.)*"|[-+.\w]+)'
_JSON_CASSETTE = re.compile(
    rb'\s*\{\s*(?:"[^"\\]*"\s*:\s*' + _SCALAR + rb'\s*,\s*){0,20}"(?:http_)?interactions"\s*:\s*\['
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Options(ReadOptions, frozen=True, kw_only=True):
    """Nothing but the bounds."""


def sniff(head: bytes, name: str) -> float:
    if head.lstrip()[:1] == b"{":
        return 0.97 if _JSON_CASSETTE.match(head) else 0.0
    top = [line for line in head.split(b"\n") if line[:1].isalpha()]
    has = any(line.startswith((b"interactions:", b"http_interactions:")) for line in top)
    return 0.95 if has else 0.0


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    for source in sources:
        interactions = _interactions(source, options)
        if isinstance(interactions, Broken):
            yield interactions
            continue
        for number, interaction in enumerate(interactions, start=1):
            try:
                yield _call(source, number, interaction)
            except _NotRead as reason:
                yield source.broken(number, str(reason), _label(interaction).encode())


def examples() -> list[FormatExample]:
    data = (
        b"interactions:\n- request:\n    method: POST\n    headers: {}\n"
        b"    uri: https://api.openai.com/v1/chat/completions\n"
        b'    body: \'{"model":"m","messages":[{"role":"user","content":"Good or bad? Nice"}]}\'\n'
        b"  response:\n    status: {code: 200, message: OK}\n    headers:\n      content-type: [text/event-stream]\n"
        b"      date: ['Tue, 08 Jul 2025 02:35:28 GMT']\n    body:\n      string: |+\n"
        b'        data: {"id":"r-1","model":"m","choices":[{"index":0,"delta":{"content":"go"}}]}\n\n'
        b'        data: {"id":"r-1","model":"m","choices":[{"index":0,"delta":{"content":"od"},'
        b'"finish_reason":"stop"}]}\n\n'
        b"        data: [DONE]\n\nversion: 1\n"
    )
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}
    response = {"object": "chat.completion", "id": "r-1", "model": "m", "choices": [choice]}
    request = {"model": "m", "messages": [{"role": "user", "content": "Good or bad? Nice"}]}
    call = Call(
        id="call-a0408653503e982b8cc2bb79",
        timestamp=1751942128.0,
        provider="openai",
        request=request,
        response=response,
        source="cassette.yaml:1",
    )
    as_json = msgspec.json.encode({"version": 1, "interactions": [_example_interaction(request, response)]})
    from_json = msgspec.structs.replace(call, source="cassette.json:1")
    return [
        FormatExample(name="cassette.yaml", data=data, calls=(call,)),
        FormatExample(name="cassette.json", data=msgspec.json.format(as_json, indent=4), calls=(from_json,)),
    ]


def _example_interaction(request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    uri = "https://api.openai.com/v1/chat/completions"
    request_record = {"method": "POST", "uri": uri, "body": msgspec.json.encode(request).decode(), "headers": {}}
    headers = {"Date": ["Tue, 08 Jul 2025 02:35:28 GMT"], "Content-Type": ["application/json"]}
    body = {"string": msgspec.json.encode(response).decode()}
    return {
        "request": request_record,
        "response": {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": body},
    }


class _NotRead(Exception):
    """Why an interaction is not a call. Never leaves this module."""


def _interactions(source: Source, options: Options) -> list[Any] | Broken:
    raw = source.whole(options.max_document_bytes)
    if isinstance(raw, Broken):
        return raw
    syntax = "JSON" if raw.lstrip()[:1] == b"{" else "YAML"
    try:
        document = _from_json(raw) if syntax == "JSON" else _from_yaml(raw)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError, OverflowError) as error:
        return source.broken(0, f"not a {syntax} cassette: {' '.join(str(error).split())[:200]}", raw)
    lists = [document.get(name) for name in _INTERACTIONS] if isinstance(document, dict) else []
    interactions = next((interactions for interactions in lists if isinstance(interactions, list)), None)
    if interactions is None:
        return source.broken(0, f"a {syntax} file without a list of interactions", raw)
    return interactions or source.broken(0, "empty: the cassette has no interactions", raw)


def _from_json(raw: bytes) -> Any:
    if too_deep(raw):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return msgspec.json.decode(raw)


def _from_yaml(raw: bytes) -> Any:
    _check_nesting(raw)
    document = yaml.load(raw, Loader=_LOADER)  # noqa: S506 (a safe loader, in C where there is one)
    _check_size(document)
    return document


def _check_nesting(raw: bytes) -> None:
    """Raises ValueError where flow brackets or indentation nest deeper than any body does."""
    deepest = max((len(line) - len(line.lstrip(b" -?")) for line in raw.split(b"\n")), default=0)
    if deepest > 40 * MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    depth = 0
    for event in yaml.parse(raw, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _check_size(document: Any) -> None:
    """Raises ValueError where references make a small file into an enormous (or endless) value."""
    waiting, seen = [document], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} values")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)


def _call(source: Source, number: int, interaction: Any) -> Call | Broken:
    request, response = _half(interaction, "request"), _half(interaction, "response")
    url = urlsplit(str(request.get("uri") or request.get("url") or ""))
    wire = next((wire for wire in _WIRES if url.path.rstrip("/").endswith(wire.PATH)), None)
    if str(request.get("method", "POST")).upper() != "POST" or wire is None:
        raise _NotRead(f"not a call to a chat endpoint: {_label(interaction)}")
    headers = {str(key).lower(): value for key, value in _mapping(response.get("headers")).items()}
    asked = _json(_body(request, {}), "request")
    status = _mapping(response.get("status")).get("code", response.get("code"))
    body, error = _answer(response, headers, wire)
    if isinstance(status, int) and status >= 400:
        body, error = None, error or f"status {status}"
    record = Record(
        request=asked,
        response=body,
        timestamp=_date(headers.get("date")) or _date(interaction.get("recorded_at")),
        error=error,
        provider=_provider(url.hostname),
    )
    return call_of(record, source, number, cast(Wire, wire))


def _answer(response: dict[str, Any], headers: dict[str, Any], wire: Any) -> tuple[dict[str, Any] | None, str]:
    given = _body(response, headers)
    try:
        if isinstance(given, str) and event_stream.looks_like(given):
            body = wire.joined(event_stream.events(given))
        else:
            body = _json(given, "response")
    except ValueError as problem:
        raise _NotRead(f"the response cannot be read: {problem}") from None
    failed = body.get("error")
    return (None, error_text(failed)) if failed and "choices" not in body else (body, "")


def _half(interaction: Any, name: str) -> dict[str, Any]:
    half = interaction.get(name) if isinstance(interaction, dict) else None
    if not isinstance(half, dict):
        raise _NotRead(f"an interaction without an HTTP {name}")
    return half


def _body(half: dict[str, Any], headers: dict[str, Any]) -> Any:
    """A body as text, or decoded already; bytes are unpacked and read as UTF-8. Raises _NotRead."""
    if half.get("parsed_body") is not None:
        return half["parsed_body"]
    body = half.get("body")
    if isinstance(body, dict):
        if isinstance(body.get("base64_string"), str | bytes):
            try:
                body = base64.b64decode(body["base64_string"])
            except (binascii.Error, ValueError):
                raise _NotRead("a body that is not base64") from None
        elif "string" in body:
            body = body["string"]
    if isinstance(body, bytes):
        try:
            body = _unpacked(body, str(_first(headers.get("content-encoding")) or "")).decode("utf-8")
        except (OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeDecodeError):
            raise _NotRead("a body that cannot be unpacked as UTF-8 text") from None
    return body


def _unpacked(body: bytes, encoding: str) -> bytes:
    if body[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(body)) as file:
            return file.read(MAX_BODY_BYTES)
    if body[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().stream_reader(body).read(MAX_BODY_BYTES)
    if encoding == "deflate":
        return zlib.decompressobj().decompress(body, MAX_BODY_BYTES)
    return body


def _json(body: Any, side: str) -> dict[str, Any]:
    if isinstance(body, str):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _NotRead(f"the {side}'s body is not JSON") from None
    if not isinstance(body, dict):
        raise _NotRead(f"the {side}'s body is not a JSON object")
    try:
        # What YAML can hold and JSON cannot (dates, sets, keys that are no strings) goes no further.
        return cast(dict[str, Any], msgspec.json.decode(msgspec.json.encode(body)))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        raise _NotRead(f"the {side}'s body is not JSON") from None


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _date(value: Any) -> float | None:
    """The time of an HTTP date or an ISO 8601 text; None where there is none."""
    text = str(_first(value) or "")
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except (ValueError, OverflowError):
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _provider(host: str | None) -> str:
    """The provider's name: the part of the host before its top-level domain."""
    parts = (host or "").split(".")
    return parts[-2] if len(parts) > 1 else ""


def _label(interaction: Any) -> str:
    """Method and address without its query, which may hold a key."""
    request = interaction.get("request") if isinstance(interaction, dict) else None
    if not isinstance(request, dict):
        return ", ".join(str(key) for key in interaction) if isinstance(interaction, dict) else ""
    url = urlsplit(str(request.get("uri") or request.get("url") or ""))
    return f"{request.get('method')} {url.hostname}{url.path}"
