"""canned: a large model that always says the same. An upstream with an option of its own, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.messages import JSON, Request
from stepdown.gateway.upstream import Unsupported, Upstream, UpstreamOptions

WIRE = "openai"


@dataclass(frozen=True)
class Options:
    """What it says."""

    answer: str = "praise"
    """The text of every answer."""


class _Canned:
    def __init__(self, options: Options) -> None:
        message = {"role": "assistant", "content": options.answer}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._answer = {
            "id": "canned",
            "object": "chat.completion",
            "created": 1,
            "model": "canned",
            "choices": [choice],
        }

    async def send(self, exchange: Exchange) -> Reply:
        return Reply(200, [JSON], msgspec.json.encode(self._answer))

    async def models(self, request: Request | None = None) -> list[dict[str, Any]]:
        return [{"id": "canned", "object": "model", "created": 1, "owned_by": "canned"}]

    async def forward(self, request: Request) -> Reply:
        raise Unsupported(request.path)

    async def close(self) -> None:
        pass


def open(options: UpstreamOptions) -> Upstream:
    return _Canned(options.own)


def examples() -> list[UpstreamOptions]:
    return [UpstreamOptions(url="canned:", kind="canned")]
