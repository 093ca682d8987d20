"""anthropic: Claude's own wire, or any server that speaks it.

Source: docs.claude.com/en/api/overview (x-api-key, anthropic-version) and /en/api/beta-headers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from stepdown.core.secret import Secret
from stepdown.gateway.http.client import parse_origin
from stepdown.gateway.http.messages import Request
from stepdown.gateway.upstream import Upstream, UpstreamOptions
from stepdown.gateway.upstreams._over_http import Manner, OverHttp, Pairs

EXTRA = ""
WIRE = "anthropic"
VERSION = b"2023-06-01"


class _Anthropic(OverHttp):
    async def models(self, request: Request | None = None) -> list[dict[str, Any]]:
        return [_as_openai(one) for one in await super().models(request)]


def open(options: UpstreamOptions) -> Upstream:
    """Raises UsageError for a URL that is none. One without a path is completed by /v1."""
    origin = parse_origin(options.url)
    path = origin.path or "/v1"
    header = options.key_header.lower().encode() or b"x-api-key"

    def key(text: str) -> Pairs:
        return [(header, (b"Bearer " if header == b"authorization" else b"") + text.encode())]

    defaults = ((b"anthropic-version", VERSION),)
    return _Anthropic(options, origin, Manner(WIRE, path, path + "/models", key, defaults))


def examples() -> list[UpstreamOptions]:
    return [UpstreamOptions(url="http://127.0.0.1:9", kind="anthropic", key=Secret("k"))]


def _as_openai(entry: dict[str, Any]) -> dict[str, Any]:
    try:
        created = int(datetime.fromisoformat(str(entry.get("created_at"))).timestamp())
    except (ValueError, OverflowError):
        created = 0
    return {**entry, "object": "model", "created": created, "owned_by": "anthropic"}
