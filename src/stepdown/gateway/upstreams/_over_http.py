"""What upstreams over HTTP have in common: few headers, and bodies untouched where both sides speak one wire."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from stepdown.core.errors import UsageError
from stepdown.core.keys import TOKEN_START
from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.client import HttpPool, Origin
from stepdown.gateway.http.messages import JSON, BrokenReply, Request
from stepdown.gateway.http.upstream_connection import MAX_WHOLE, UpstreamConnection
from stepdown.gateway.upstream import UpstreamOptions
from stepdown.gateway.upstreams import _translating, _usage
from stepdown.gateway.upstreams._echoes import Unechoed, masked, returned, secrets_of
from stepdown.gateway.upstreams._whole import is_object, whole_body, whole_stream
from stepdown.wires.wire import wire_named

CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})
_VERSION = re.compile(rb"[\w.-]{1,40}").fullmatch
_BETA = re.compile(rb"[\w.,= -]{1,500}").fullmatch
_FREE = re.compile(rb"[\t -~\x80-\xff]{0,8192}").fullmatch
_PASSED = {b"anthropic-version": _VERSION, b"anthropic-beta": _BETA, b"openai-beta": _BETA, b"idempotency-key": _FREE}
"""The client's headers that go upstream, each where its value has the form of one; all others stay here."""
_PASSED_ELSEWHERE = {b"content-type": _FREE, b"accept": _FREE}
"""Beside these, where a path is passed through whose bodies may be of any kind."""
_QUERIES = frozenset({"beta=true"})
"""The queries of model calls that go upstream: Anthropic's clients add this one."""
_OWN: tuple[tuple[bytes, bytes], ...] = ((b"accept-encoding", b"identity"), (b"user-agent", b"stepdown"))
"""Bodies are recorded, and a certified answer must not depend on who unpacks it: nothing is compressed."""
_VIRTUAL_KEY = TOKEN_START.encode()
_SMALL = 1 << 20
_NOT_UNDERSTOOD = frozenset({400, 404, 422})
"""What servers answer to an option that they do not know."""
_MODELS_MOST = 8 << 20
_MOST_KEPT = 64
"""Clients' keys for which a connection keeps what its answers' headers come to."""
_EVENT_STREAM = b"text/event-stream"

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


class _Sent(NamedTuple):
    """A request under way. keys: what the answer must not repeat."""

    connection: UpstreamConnection
    keys: tuple[bytes, ...]


class OverHttp:
    """An opened upstream over HTTP."""

    def __init__(self, options: UpstreamOptions, origin: Origin, manner: Manner) -> None:
        self.options, self._manner, self._wire = options, manner, manner.wire
        sweep_s = min(0.25, options.first_byte_s / 4)
        self._pool = HttpPool(Origin(origin.host, origin.port, origin.tls), options.connect_s, sweep_s=sweep_s)
        self._target = manner.path + wire_named(manner.wire).PATH
        self._version = f"api-version={quote(options.api_version)}" if options.api_version else ""
        self._plain_target = self._with_query(self._target, "")
        self._key = _checked_key(options)
        self._fixed: Pairs = [*_OWN, *(manner.key(self._key) if self._key else ())]
        own = {name.lower().encode(): _FREE for name in options.pass_headers}
        self._passed = [*({**_PASSED, **own}).items()]
        passes_key = options.passes_client_key and not options.key
        self._asks_usage = options.ask_usage
        self._key_headers = [b"x-api-key", b"authorization"] if passes_key else []
        if passes_key and options.key_header:
            self._key_headers.append(options.key_header.lower().encode())

    async def send(self, exchange: Exchange) -> Reply:
        request = exchange.request
        if self._wire == exchange.wire.NAME:
            if self._asks_usage and _usage.is_missing(exchange):
                reply = await self._with_usage(exchange)
                if reply is not None:
                    return reply
            outgoing = exchange.outgoing
            body = request.body if outgoing is None else msgspec.json.encode(outgoing)
            response = await self._post_alike(request, body, exchange)
            if _is_stream(response):
                return Reply(response.status, response.headers, whole_stream(response, self._wire, exchange))
            return Reply(response.status, response.headers, await whole_body(response))
        body = _translating.outgoing_body(exchange, self._wire)
        given = self._given(request)
        response = await self._post(request, [*self._translated_headers(request, given), JSON], body, given)
        return await _translating.incoming_reply(exchange, self._wire, response)

    def begin(self, exchange: Exchange, listener: Callable[[], None]) -> _Sent | None:
        if self._wire != exchange.wire.NAME or exchange.wants_stream:
            return None
        request, outgoing, memo = exchange.request, exchange.outgoing, exchange.request.memo
        # Without keys of ours the headers that carry one are the client's own, for the upstream.
        place = (self, exchange.key is None)
        found = memo.get(place) if memo is not None else None
        if found is None:
            given = self._given(request)
            headers = [*self._headers(request, given), JSON]
            found = (self._pool.head("POST", self._target_of(request), headers), tuple(self._keys(given)))
            if memo is not None:
                memo[place] = found
        body = request.body if outgoing is None else msgspec.json.encode(outgoing)
        options = self.options
        connection = self._pool.begin(found[0], body, options.first_byte_s, options.total_s, listener)
        return None if connection is None else _Sent(connection, found[1])

    def taken(self, sent: _Sent) -> Reply | None:
        connection, keys = sent
        if not connection.complete or not 200 <= connection.status < 300:
            return None
        found = connection.memo.get(keys)
        if found is None:
            names = dict(connection.headers)
            if names.get(b"content-type", b"")[:17] == _EVENT_STREAM or b"content-encoding" in names:
                return None
            secrets = secrets_of(keys)
            if len(connection.memo) >= _MOST_KEPT:
                connection.memo.clear()
            found = connection.memo[keys] = (returned(connection.headers, secrets), secrets)
        body = b"".join(connection.pieces)
        if len(body) > MAX_WHOLE or not is_object(body):
            return None
        connection.release()
        headers, secrets = found
        return Reply(connection.status, headers, masked(body, connection.status, secrets) if secrets else body)

    def abandon(self, sent: _Sent) -> None:
        sent.connection.listener = None
        sent.connection.abort()

    async def _with_usage(self, exchange: Exchange) -> Reply | None:
        """The answer to a request whose usage is asked for beside; None where the server does not know that option: it
        is asked again without it, and not for it any more."""
        body = _usage.with_usage(exchange)
        response = await self._post_alike(exchange.request, body, exchange)
        if _is_stream(response):
            pieces = _usage.told_as_it_comes(exchange, whole_stream(response, self._wire, exchange))
            return Reply(response.status, response.headers, pieces)
        said = await whole_body(response)
        if response.status in _NOT_UNDERSTOOD and _usage.OPTION in said:
            self._asks_usage = False
            return None
        return Reply(response.status, response.headers, said)

    async def forward(self, request: Request) -> Reply:
        path = request.path.removeprefix("/v1") if request.path.startswith("/v1/") else request.path
        target = self._with_query(self._manner.path + path, request.query)
        given = self._given(request)
        headers = self._headers(request, given) + _fitting(request, _PASSED_ELSEWHERE.items())
        response = await self._asked(given, request.method, target, headers, request.body, self.options.total_s)
        length = response.header(b"content-length")
        if request.method == "HEAD" or (length.isdigit() and int(length) <= _SMALL):
            return Reply(response.status, response.headers, await response.read())
        return Reply(response.status, response.headers, response.pieces())

    async def models(self, request: Request | None = None) -> list[dict[str, Any]]:
        options = self.options
        target = self._with_query(self._manner.models_path, "")
        asked = request if request is not None else Request("GET", target)
        given = self._given(asked)
        response = await self._asked(given, "GET", target, self._headers(asked, given), b"", options.first_byte_s)
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

    async def _post_alike(self, request: Request, body: bytes, exchange: Exchange) -> Unechoed:
        """Ask in the client's wire, or go on with what was begun so."""
        given, begun = self._given(request), exchange.begun
        headers = [*self._headers(request, given), JSON]
        if begun is None:
            return await self._post(request, headers, body, given)
        exchange.begun = None
        target, options = self._target_of(request), self.options
        first_byte_s, sent = options.first_byte_s, begun.sent.connection
        response = await self._pool.send("POST", target, headers, body, first_byte_s, options.total_s, sent)
        return Unechoed(response, self._keys(given))

    def _post(self, request: Request, headers: Pairs, body: bytes, given: Pairs) -> Awaitable[Unechoed]:
        return self._asked(given, "POST", self._target_of(request), headers, body, self.options.total_s)

    def _target_of(self, request: Request) -> str:
        return self._with_query(self._target, request.query) if request.query in _QUERIES else self._plain_target

    async def _asked(
        self, given: Pairs, method: str, target: str, headers: Pairs, body: bytes, total_s: float
    ) -> Unechoed:
        """given: the client's own key, where it goes through."""
        response = await self._pool.send(method, target, headers, body, self.options.first_byte_s, total_s)
        return Unechoed(response, self._keys(given))

    def _keys(self, given: Pairs) -> list[bytes]:
        return [self._key.encode()] if self._key else [value.removeprefix(b"Bearer ") for _, value in given]

    def _with_query(self, target: str, query: str) -> str:
        if self._version and "api-version=" not in query:
            query = f"{query}&{self._version}" if query else self._version
        return f"{target}?{query}" if query else target

    def _headers(self, request: Request, given: Pairs) -> Pairs:
        """Those of the client's headers that go upstream, and ours."""
        headers = self._fixed + _fitting(request, self._passed) + given
        for pair in self._manner.defaults:
            if all(name != pair[0] for name, _ in headers):
                headers.append(pair)
        return headers

    def _given(self, request: Request) -> Pairs:
        """The client's own key, where it goes through. A key of ours opens nothing elsewhere, and is nobody else's to
        see."""
        given = request.headers
        return [(name, given[name]) for name in self._key_headers if _VIRTUAL_KEY not in given.get(name, _VIRTUAL_KEY)]

    def _translated_headers(self, request: Request, given: Pairs) -> Pairs:
        """Those of the client's headers that mean the same on any wire, and its key as this wire has it."""
        headers = [pair for pair in self._headers(request, given) if pair in self._fixed or _is_general(pair[0])]
        keys = {name: value.decode("latin-1").removeprefix("Bearer ") for name, value in given}
        if key := keys.get(b"x-api-key") or keys.get(b"authorization"):
            headers += self._manner.key(key)
        return headers + [pair for pair in self._manner.defaults if pair not in headers]


def _is_stream(response: Unechoed) -> bool:
    return response.status < 400 and response.header(b"content-type")[:17] == _EVENT_STREAM


def _fitting(request: Request, passed: Iterable[tuple[bytes, Callable[[bytes], object]]]) -> Pairs:
    given = request.headers
    return [(name, given[name]) for name, fits in passed if name in given and fits(given[name])]


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
    return name not in CREDENTIALS and not name.startswith((b"anthropic-", b"openai-"))
