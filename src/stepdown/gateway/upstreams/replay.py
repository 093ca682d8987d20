"""replay: recorded calls in the large model's place. The demo's incumbent, and where tests and rehearsals plug in.

A request is answered as it was when it was recorded, whatever else it asks for: by its messages, tools and response
format. What was never recorded is a 404 that says so. The URL is `replay:FILE` with native JSONL(.gz), or `replay:` for
calls that are handed in; `?latency_s=0.2` at its end makes every answer take its time.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from stepdown.core.calls import Call, incumbent_calls
from stepdown.core.canonical import canonical_json, digest
from stepdown.core.errors import InputError, StepdownError, UsageError
from stepdown.gateway.envelope import BESIDE, without_beside
from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.messages import EVENT_STREAM, JSON, BrokenReply, Request
from stepdown.gateway.upstream import CannotBeSaid, Unsupported, Upstream, UpstreamOptions
from stepdown.gateway.upstreams._usage import told
from stepdown.wires.wire import translate_response

EXTRA = ""
WIRE = "openai"
_BESIDE = f'"{BESIDE}"'.encode()
MOST_BYTES = 512 << 20
_MOST_LINE = 64 << 20
_OF_REQUEST = ("messages", "tools", "response_format")


class _Line(msgspec.Struct):
    request: dict[str, Any]
    response: dict[str, Any] | None = None
    provider: str | None = None


class Recordings:
    """Answers by request. Small, for they are much alike: each is compressed against the first."""

    def __init__(self, calls: Iterable[Call]) -> None:
        """Of equal requests the first answer stays. Raises InputError where they do not fit into MOST_BYTES."""
        self.models: dict[str, None] = {}
        self._packed: dict[bytes, bytes] = {}
        self._like = b""
        size = 0
        for call in incumbent_calls(calls):
            key = _key(call.request)
            if call.response is None or key in self._packed:
                continue
            self.models.setdefault(call.model)
            body = msgspec.json.encode(call.response)
            self._like = self._like or body[: 32 << 10]
            packer = zlib.compressobj(level=1, zdict=self._like)
            packed = self._packed[key] = packer.compress(body) + packer.flush()
            size += len(packed)
            if size > MOST_BYTES:
                raise InputError(
                    f"The recorded answers take more than {MOST_BYTES >> 20} MB.", "", "Replay fewer calls."
                )

    def __len__(self) -> int:
        return len(self._packed)

    def find(self, chat: dict[str, Any]) -> bytes | None:
        """The recorded response to a request, both in chat shape; None where there is none."""
        packed = self._packed.get(_key(chat))
        return None if packed is None else zlib.decompressobj(zdict=self._like).decompress(packed)


class _Replay:
    def __init__(self, options: UpstreamOptions, source: Iterable[Call], latency_s: float) -> None:
        self._name, self._source, self._latency_s = options.name, source, latency_s
        self._loading: asyncio.Task[Recordings] | None = None

    async def send(self, exchange: Exchange) -> Reply:
        recordings = await self._recordings()
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        wire = exchange.wire
        found = recordings.find(_chat(exchange))
        if found is None:
            said = wire.error_body(
                404, "", "This request was never recorded, so it cannot be replayed.", "not_recorded"
            )
            return Reply(404, [JSON], msgspec.json.encode(said))
        if wire.NAME == WIRE and not exchange.wants_stream:
            return Reply(200, [JSON], _without_beside(found))
        try:
            answer = translate_response(without_beside(msgspec.json.decode(found)), WIRE, wire.NAME, int(exchange.at))
        except ValueError as error:
            raise BrokenReply(f"The recorded answer cannot be said: {error}.", retriable=False) from None
        if not exchange.wants_stream:
            return Reply(200, [JSON], msgspec.json.encode(answer))
        return Reply(200, [EVENT_STREAM], _spoken(told(exchange, wire.stream_of(answer, True))))

    async def models(self, request: Request | None = None) -> list[dict[str, Any]]:
        del request
        names = (await self._recordings()).models
        return [{"id": name, "object": "model", "created": 0, "owned_by": self._name} for name in names if name]

    async def forward(self, request: Request) -> Reply:
        raise Unsupported(request.path)

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()

    async def _recordings(self) -> Recordings:
        """Read once, at the first question, off the event loop."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(Recordings, self._source))
        try:
            # Shielded: the others wait for it too when the client that asked first goes away.
            return await asyncio.shield(self._loading)
        except StepdownError as error:
            raise BrokenReply(str(error), retriable=False) from None


def open(options: UpstreamOptions) -> Upstream:
    """Raises UsageError and InputError for a URL that names nothing to replay."""
    address, _, query = options.url.removeprefix("replay:").partition("?")
    try:
        latency_s = float(parse_qs(query, strict_parsing=bool(query)).get("latency_s", ["0"])[0])
    except ValueError:
        latency_s = -1.0
    if not 0 <= latency_s < 3600:
        raise UsageError(f"{options.url!r} ends in {query!r}.", "Expected latency_s=SECONDS.", "Correct it.")
    if address:
        path = Path(address)
        if not path.is_file():
            raise InputError(
                f"There is no file {address!r}.", "Expected replay:FILE with recorded calls.", "Correct it."
            )
        return _Replay(options, _Lines(path), latency_s)
    if options.calls is None:
        raise UsageError(
            f"{options.url!r} names no recorded calls.", "Expected replay:FILE.", "Give a JSONL(.gz) of calls."
        )
    return _Replay(options, _Handed(options), latency_s)


def examples() -> list[UpstreamOptions]:
    call = Call(
        id="c1",
        request={"model": "m", "messages": [{"role": "user", "content": "hello"}]},
        response={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        },
    )
    return [UpstreamOptions(url="replay:", kind="replay", calls=lambda: [call])]


class _Handed:
    """The calls that the options hand in, asked for only when they are read."""

    def __init__(self, options: UpstreamOptions) -> None:
        self._options = options

    def __iter__(self) -> Iterator[Call]:
        return iter(self._options.calls() if self._options.calls is not None else ())


class _Lines:
    """The calls of a native JSONL file, plain or gzipped. Raises InputError, naming the line that cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Call]:
        decode = msgspec.json.Decoder(_Line).decode
        number = 0
        try:
            with gzip.open(self._path) if self._path.suffix == ".gz" else self._path.open("rb") as file:
                while raw := file.readline(_MOST_LINE):
                    number += 1
                    if raw.strip():
                        line = decode(raw)
                        provider = line.provider or ""
                        yield Call(id=str(number), request=line.request, response=line.response, provider=provider)
        except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
            raise InputError(
                f"{self._path.name}, line {number}, cannot be replayed: {error}.",
                "Expected a JSON object with request and response on every line, or the same gzipped.",
                "Run `stepdown import` on it, which sets broken lines aside, and replay the project's own calls.",
            ) from None


def _without_beside(found: bytes) -> bytes:
    """A recorded answer as a chat client gets it; most are that as they are."""
    return found if _BESIDE not in found else msgspec.json.encode(without_beside(msgspec.json.decode(found)))


def _key(chat: dict[str, Any]) -> bytes:
    """Equal for requests that a recorded answer answers alike. Half a sha256 is enough to tell calls apart."""
    return bytes.fromhex(digest(canonical_json([chat.get(name) or None for name in _OF_REQUEST]))[:32])


def _chat(exchange: Exchange) -> dict[str, Any]:
    if exchange.outgoing is None and exchange.chat:
        return exchange.chat
    try:
        found: dict[str, Any] = exchange.wire.request(exchange.outgoing or exchange.body)
    except ValueError as error:
        raise CannotBeSaid(str(error)) from None
    return found


async def _spoken(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
