"""Whether the gateway lives, and whether it is ready for traffic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from stepdown.gateway.http.messages import JSON, Request, Response


async def alive(request: Request) -> Response:
    """The process answers."""
    return Response(200, [JSON], b'{"status":"ok"}')


def readiness(
    why_not: Callable[[], str], warnings: Callable[[], list[str]]
) -> Callable[[Request], Awaitable[Response]]:
    """200 when requests may come, else 503 with the reason in plain words. warnings: what is wrong and keeps no request
    from being answered."""

    async def ready(request: Request) -> Response:
        reason = why_not()
        body: dict[str, object] = {"status": "ready"} if not reason else {"status": "not ready", "reason": reason}
        if told := warnings():
            body["warnings"] = told
        return Response(503 if reason else 200, [JSON], msgspec.json.encode(body))

    return ready
