"""An exchange with an upstream that speaks another wire than the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.messages import EVENT_STREAM, JSON, BrokenReply, UpstreamError
from stepdown.gateway.upstream import CannotBeSaid, ClientWasTold
from stepdown.gateway.upstreams import _usage
from stepdown.gateway.upstreams._echoes import Unechoed
from stepdown.wires.stream_translator import StreamTranslator
from stepdown.wires.wire import stream_translator, translate_error, translate_request, translate_response

_REPLACED = frozenset({b"content-type", b"content-encoding"})


def outgoing_body(exchange: Exchange, wire: str) -> bytes:
    """The request as the upstream takes it. Raises CannotBeSaid."""
    body = exchange.body if exchange.outgoing is None else exchange.outgoing
    try:
        return msgspec.json.encode(translate_request(body, exchange.wire.NAME, wire))
    except ValueError as error:
        raise CannotBeSaid(str(error)) from None


async def incoming_reply(exchange: Exchange, wire: str, response: Unechoed) -> Reply:
    """The answer as the client takes it. Raises UpstreamError, BrokenReply too for what cannot be translated."""
    headers = [pair for pair in response.headers if pair[0] not in _REPLACED]
    streams = response.header(b"content-type")[:17] == b"text/event-stream"
    if streams and response.status == 200 and exchange.wants_stream:
        translator = stream_translator(wire, exchange.wire.NAME, True, int(exchange.at))
        assert translator is not None, "one wire needs no translation"
        pieces = _translated(exchange, translator, response)
        pieces = _usage.told_as_it_comes(exchange, pieces) if _usage.is_missing(exchange) else pieces
        return Reply(response.status, [*headers, EVENT_STREAM], pieces)
    body = await response.read()
    decoded = _decoded(body)
    client = exchange.wire.NAME
    if response.status != 200:
        told = body.decode("utf-8", "replace") if decoded is None else decoded
        error = translate_error(told, response.status, wire, client)
        return Reply(response.status, [*headers, JSON], msgspec.json.encode(error))
    try:
        if not isinstance(decoded, dict):
            raise ValueError("it is no JSON object")
        answer = translate_response(decoded, wire, client, int(exchange.at))
    except ValueError as error:
        raise BrokenReply(f"The upstream's answer cannot be read: {error}.", retriable=False) from None
    if exchange.wants_stream:
        events = _usage.told(exchange, exchange.wire.stream_of(answer, True))
        return Reply(200, [*headers, EVENT_STREAM], b"".join(events))
    return Reply(200, [*headers, JSON], msgspec.json.encode(answer))


async def _translated(exchange: Exchange, translator: StreamTranslator, response: Unechoed) -> AsyncIterator[bytes]:
    pieces = response.pieces()
    try:
        async for piece in pieces:
            said = translator.feed(piece)
            exchange.whole = translator.ended and translator.error is None
            if said:
                yield said
        was_whole = translator.ended
        said = translator.close()
        exchange.whole = translator.ended and translator.error is None
        yield said
    except (UpstreamError, ValueError) as error:
        yield translator.failed(str(error))
        raise ClientWasTold(str(error)) from None
    finally:
        await pieces.aclose()
    if translator.error is not None:
        if not was_whole:
            raise ClientWasTold(translator.error.message)
        exchange.error = translator.error.message


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
