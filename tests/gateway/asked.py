"""Exchanges to ask, and incumbents to ask them of, with waits that are short."""

from __future__ import annotations

import random
import time
from types import ModuleType
from typing import Any

import msgspec

from stepdown.gateway.asking import Incumbent
from stepdown.gateway.breaker import BreakerLimits
from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.messages import Request, UnfinishedStream
from stepdown.gateway.retry_policy import RetryPolicy
from stepdown.gateway.upstream import UpstreamOptions, open_upstream
from stepdown.wires import openai_chat

COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "large",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}, "x": [1]}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    "unknown": {"kept": True},
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
CHUNKS = b"".join(openai_chat.stream_of(COMPLETION))


def answer(body: Any, status: int = 200, kind: bytes = b"application/json", headers: bytes = b"") -> bytes:
    """An HTTP answer as bytes."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    head = b"HTTP/1.1 %d Said\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (status, kind, len(raw), headers)
    return head + raw


def exchange(wire: ModuleType = openai_chat, headers: dict[bytes, bytes] | None = None, **body: Any) -> Exchange:
    body = {"model": "large", "messages": [{"role": "user", "content": "hello"}], **body}
    if wire.NAME == "anthropic":
        body.setdefault("max_tokens", 10)
    given = {b"content-type": b"application/json", b"authorization": b"Bearer client", **(headers or {})}
    made = Exchange(Request("POST", "/v1" + wire.PATH, "", given, msgspec.json.encode(body)), wire, 1.8e9, 0.0)
    made.body = body
    made.chat = wire.request(body)
    return made


def incumbent(*urls: str | UpstreamOptions, breaker: BreakerLimits | None = None, **options: Any) -> Incumbent:
    """An incumbent behind these upstreams, named "0", "1" … in their order."""
    options = {"first_byte_s": 5.0, "total_s": 10.0, **options}
    made = [
        url if isinstance(url, UpstreamOptions) else UpstreamOptions(url=url, name=str(number), **options)
        for number, url in enumerate(urls)
    ]
    patience = RetryPolicy(backoff_s=0.01, most_backoff_s=0.02, most_retry_after_s=0.5)
    pairs = [(one, open_upstream(one)) for one in made]
    return Incumbent(pairs, time.monotonic, random.Random(7), patience, breaker)


async def whole(reply: Reply) -> tuple[bytes, bool]:
    """A reply's body, and whether it came to its end."""
    if isinstance(reply.body, bytes):
        return reply.body, True
    got = b""
    try:
        async for piece in reply.body:
            got += piece
    except UnfinishedStream:
        return got, False
    return got, True


async def json_of(reply: Reply) -> Any:
    return msgspec.json.decode((await whole(reply))[0])
