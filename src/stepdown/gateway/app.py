"""The gateway's paths: which handler answers what, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from stepdown.gateway.errors import Refused, error_response, wire_of_path
from stepdown.gateway.http.messages import JSON, Answer, PendingResponse, Request, Response

Handler = Callable[[Request], Answer]


class App:
    """Answers requests by path and method. fallback: what takes other paths below /v1/, None where nothing does."""

    def __init__(self, fallback: Handler | None = None) -> None:
        self._paths: dict[str, dict[str, Handler]] = {}
        self._fallback = fallback

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Answer a path with `handler`; a handler for GET answers HEAD too."""
        self._paths.setdefault(path, {})[method] = handler

    @property
    def paths(self) -> dict[str, list[str]]:
        """Every path with its methods."""
        return {path: sorted(methods) for path, methods in self._paths.items()}

    def __call__(self, request: Request) -> Answer:
        try:
            handler = (self._paths.get(request.path) or {}).get(request.method) or self._find(request)
            answer = handler(request)
        except Refused as refused:
            return error_response(wire_of_path(request.path), refused)
        return answer if isinstance(answer, Response | PendingResponse) else _or_refused(request, answer)

    def _find(self, request: Request) -> Handler:
        methods = self._paths.get(request.path) or self._paths.get(request.path.rstrip("/"))
        if methods is None:
            if self._fallback is None or not request.path.startswith("/v1/"):
                raise Refused(404, f"There is nothing at {request.path[:200]!r}.", "unknown_path")
            return self._fallback
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(sorted(methods))
            raise Refused(
                405,
                f"{request.method} is not for {request.path[:200]!r}, which takes {allowed}.",
                "method_not_allowed",
                headers=[(b"allow", allowed.encode())],
            )
        return handler


async def _or_refused(request: Request, answer: Awaitable[Response]) -> Response:
    try:
        return await answer
    except Refused as refused:
        return error_response(wire_of_path(request.path), refused)


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
