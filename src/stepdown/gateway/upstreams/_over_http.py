"""What upstreams over HTTP have in common: headers and bodies through untouched where both sides speak one wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from stepdown.core.errors import UsageError
from stepdown.core.keys import TOKEN_START
from stepdown.core.wires.wire import wire_named
from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.client import HttpPool, HttpResponse, Origin
from stepdown.gateway.http.messages import HOP_BY_HOP, JSON, BrokenReply, Request
from stepdown.gateway.upstream import UpstreamOptions
from stepdown.gateway.upstreams import _translating
from stepdown.gateway.upstreams._whole import whole_body, whole_stream

CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})
_OURS = HOP_BY_HOP | {b"accept-encoding"}
_OUR_START = b"x-stepdown-"
_IDENTITY = (b"accept-encoding", b"identity")
"""Bodies are recorded, and a certified answer must not depend on who unpacks it: nothing is compressed."""
_VIRTUAL_KEY = TOKEN_START.encode()
_SMALL = 1 << 20
_MODELS_MOST = 8 << 20

Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Manner:
    """How a kind asks over HTTP.

    wire: the name of the wire it speaks. path, models_path: what its requests and the list of its models begin with.
    key: the headers that carry a key. defaults: headers added where the client sent none of that name.
    """

    wire: str
    path: str
    models_path: str
    key: Callable[[str], Pairs]
    defaults: tuple[tuple[bytes, bytes], ...] = ()


class OverHttp:
    """An opened upstream over HTTP."""

    def __init__(self, options: UpstreamOptions, origin: Origin, manner: Manner) -> None:
        self.options, self._manner, self._wire = options, manner, manner.wire
        sweep_s = min(0.25, options.first_byte_s / 4)
        self._pool = HttpPool(Origin(origin.host, origin.port, origin.tls), options.connect_s, sweep_s=sweep_s)
        self._target = manner.path + wire_named(manner.wire).PATH
        self._version = f"api-version={quote(options.api_version)}" if options.api_version else ""
        self._plain_target = self._with_query(self._target, "")
        self._fixed: Pairs = [_IDENTITY]
        self._dropped = _OURS
        if options.key:
            self._fixed += manner.key(_checked_key(options))
        self._passes_key = options.passes_client_key and not options.key
        if not self._passes_key:
            self._dropped |= CREDENTIALS

    async def send(self, exchange: Exchange) -> Reply:
        request = exchange.request
        if self._wire == exchange.wire.NAME:
            outgoing = exchange.outgoing
            body = request.body if outgoing is None else msgspec.json.encode(outgoing)
            response = await self._post(request, self._headers(request), body)
            if response.status < 400 and response.header(b"content-type")[:17] == b"text/event-stream":
                return Reply(response.status, _kept(response.headers), whole_stream(response, self._wire, exchange))
            return Reply(response.status, _kept(response.headers), await whole_body(response))
        body = _translating.outgoing_body(exchange, self._wire)
        response = await self._post(request, self._translated_headers(request), body)
        return await _translating.incoming_reply(exchange, self._wire, response)

    async def forward(self, request: Request) -> Reply:
        path = request.path.removeprefix("/v1") if request.path.startswith("/v1/") else request.path
        target = self._with_query(self._manner.path + path, request.query)
        options = self.options
        response = await self._pool.send(
            request.method, target, self._headers(request), request.body, options.first_byte_s, options.total_s
        )
        length = response.header(b"content-length")
        headers = _kept(response.headers)
        if request.method == "HEAD" or (length.isdigit() and int(length) <= _SMALL):
            return Reply(response.status, headers, await response.read())
        return Reply(response.status, headers, response.pieces())

    async def models(self, request: Request | None = None) -> list[dict[str, Any]]:
        options = self.options
        target = self._with_query(self._manner.models_path, "")
        asked = request if request is not None else Request("GET", target)
        response = await self._pool.send(
            "GET", target, self._headers(asked), b"", options.first_byte_s, options.first_byte_s
        )
        body = await response.read(_MODELS_MOST)
        try:
            listed = msgspec.json.decode(body) if response.status == 200 else None
        except (ValueError, RecursionError):
            listed = None
        entries = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            raise BrokenReply(f"The list of models came with status {response.status} and cannot be read.")
        return [one for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str)]

    async def close(self) -> None:
        await self._pool.close()

    async def _post(self, request: Request, headers: Pairs, body: bytes) -> HttpResponse:
        target = self._with_query(self._target, request.query) if request.query else self._plain_target
        return await self._pool.send("POST", target, headers, body, self.options.first_byte_s, self.options.total_s)

    def _with_query(self, target: str, query: str) -> str:
        if self._version and "api-version=" not in query:
            query = f"{query}&{self._version}" if query else self._version
        return f"{target}?{query}" if query else target

    def _headers(self, request: Request) -> Pairs:
        """The client's headers but for those of its own connection, and ours."""
        given = request.headers
        dropped = self._dropped
        headers = [pair for pair in given.items() if pair[0] not in dropped and pair[0][:11] != _OUR_START]
        headers += self._fixed
        for pair in self._manner.defaults:
            if pair[0] not in given:
                headers.append(pair)
        connection = given.get(b"connection")
        if connection is not None and connection.lower() not in {b"keep-alive", b"close"}:
            named = {name.strip().lower() for name in connection.split(b",")}
            headers = [pair for pair in headers if pair[0] not in named or pair in self._fixed]
        if self._passes_key:
            # A key of ours opens nothing elsewhere, and is nobody else's to see.
            headers = [pair for pair in headers if pair[0] not in CREDENTIALS or _VIRTUAL_KEY not in pair[1]]
        return headers

    def _translated_headers(self, request: Request) -> Pairs:
        """Those of the client's headers that mean the same on any wire, and its key as this wire has it."""
        headers = [pair for pair in self._headers(request) if pair in self._fixed or _is_general(pair[0])]
        given = request.header(b"x-api-key") or request.header(b"authorization").removeprefix("Bearer ")
        if given and self._passes_key and TOKEN_START not in given:
            headers += self._manner.key(given)
        names = {name for name, _ in headers}
        return headers + [pair for pair in (JSON, *self._manner.defaults) if pair[0] not in names]


def _checked_key(options: UpstreamOptions) -> str:
    key = options.key.reveal().strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"The key of upstream {options.name!r} holds characters that no header can.",
            "Expected printable ASCII.",
            "Copy the key again.",
        )
    return key


def _is_general(name: bytes) -> bool:
    return name not in CREDENTIALS and not name.startswith((b"anthropic-", b"openai-", b"x-stainless-"))


def _kept(headers: Pairs) -> Pairs:
    return [pair for pair in headers if pair[0] not in HOP_BY_HOP and pair[0][:11] != _OUR_START]
