"""What is not a model call: the list of models, and any other path below /v1/, which passes through untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from stepdown.core.contract import Privacy
from stepdown.gateway.errors import Refused, wire_of_path
from stepdown.gateway.exchange import Reply
from stepdown.gateway.http.messages import JSON, Request, Response
from stepdown.gateway.model_call import Identify

FORWARDED_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_ALLOWED = [(b"allow", ", ".join(sorted(FORWARDED_METHODS)).encode())]
_KNOWN = (
    "assistants",
    "audio",
    "batches",
    "complete",
    "completions",
    "conversations",
    "embeddings",
    "files",
    "fine_tuning",
    "images",
    "messages/batches",
    "messages/count_tokens",
    "models",
    "moderations",
    "responses",
    "threads",
    "uploads",
    "vector_stores",
)
"""What OpenAI's and Anthropic's clients ask for. An upstream may have more, which its key opens and a client has no
business with."""


class Forwarding(Protocol):
    """What is asked of the incumbent's side."""

    async def models(self, request: Request | None = None, ask: bool = True) -> list[dict[str, Any]]: ...
    async def forward(self, request: Request, wire: ModuleType) -> Reply: ...


class OtherPaths:
    """aliases: the model names that stand for tasks, now. unmatched: the privacy of what is not known to be a task's,
    now. Nothing on other paths can be told from a task's requests, so that nothing passes where it is not "any". paths:
    what is passed on beside what is known."""

    def __init__(
        self,
        incumbent: Forwarding,
        identify: Identify,
        aliases: Callable[[], list[str]],
        unmatched: Callable[[], Privacy],
        paths: Iterable[str] = (),
    ) -> None:
        self._known = (*(f"/v1/{name}" for name in _KNOWN), *(path.rstrip("/") for path in paths))
        self._incumbent, self._identify, self._aliases, self._unmatched = incumbent, identify, aliases, unmatched

    async def models(self, request: Request) -> Response:
        """The upstreams' models, and the aliases of tasks."""
        return Response(200, [JSON], msgspec.json.encode({"object": "list", "data": await self._entries(request)}))

    async def model(self, request: Request) -> Response:
        """One model's entry."""
        name = unquote(request.path.split("/models/", 1)[1])
        entry = next((entry for entry in await self._entries(request) if entry.get("id") == name), None)
        if entry is None:
            raise Refused(404, f"There is no model {name[:100]!r}.", "model_not_found")
        return Response(200, [JSON], msgspec.json.encode(entry))

    async def forward(self, request: Request) -> Response:
        """Whatever else an upstream offers (embeddings, files): passed through, not recorded, under no certificate."""
        if request.method not in FORWARDED_METHODS:
            raise Refused(405, f"{request.method} is not passed on.", "method_not_allowed", headers=_ALLOWED)
        if not any(request.path == known or request.path.startswith(known + "/") for known in self._known):
            raise Refused(
                404,
                f"There is nothing at {request.path[:200]!r}. Expected a path of OpenAI's or Anthropic's API; an "
                "upstream's own are passed on when [gateway] paths names them.",
                "unknown_path",
            )
        if request.path.startswith("/v1/models/") and request.method == "GET":
            return await self.model(request)
        key = self._identify(request)
        if key is not None and (key.tasks or key.models or key.limits.any()):
            raise Refused(
                403,
                "This key is limited to tasks, models or amounts, which other paths cannot honour.",
                "path_not_allowed",
            )
        if self._unmatched() != "any":
            raise Refused(
                403,
                "A task here is local-only or redacted, and what this path carries cannot be told from that task's "
                "requests: use chat completions or messages.",
                "path_not_allowed",
            )
        reply = await self._incumbent.forward(request, wire_of_path(request.path))
        return Response(reply.status, reply.headers, reply.body)

    async def _entries(self, request: Request) -> list[dict[str, Any]]:
        key = self._identify(request)
        entries = list(await self._incumbent.models(request, self._unmatched() != "local-only"))
        known = {entry.get("id") for entry in entries}
        new = [alias for alias in self._aliases() if alias not in known]
        entries += [{"id": alias, "object": "model", "created": 0, "owned_by": "stepdown"} for alias in new]
        return [entry for entry in entries if key is None or key.allows_model(str(entry.get("id")))]
