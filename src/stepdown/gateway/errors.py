"""What the gateway itself refuses, in the error shape of the wire that was spoken."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import msgspec

from stepdown.gateway.http.messages import JSON, Response
from stepdown.wires import anthropic_messages, openai_chat

Header = tuple[bytes, bytes]


class Refused(Exception):
    """A request that the gateway answers with an error of its own. retry_after_s: seconds, None where none helps."""

    def __init__(
        self, status: int, message: str, code: str, retry_after_s: float | None = None, headers: Sequence[Header] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s, self.headers = status, code, retry_after_s, headers


def wire_of_path(path: str) -> ModuleType:
    """The wire that a path belongs to; chat.completions where nothing tells."""
    return anthropic_messages if path.removeprefix("/v1").startswith("/messages") else openai_chat


def error_response(wire: ModuleType, refused: Refused, headers: Sequence[Header] = ()) -> Response:
    """A refusal as a response, with `retry-after` in whole seconds where waiting helps."""
    body = wire.error_body(refused.status, "", str(refused), refused.code)
    extra = [*refused.headers, *headers]
    if refused.status == 401:  # RFC 9110, section 15.5.2.
        extra.append((b"www-authenticate", b"Bearer"))
    if refused.retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % max(1, int(refused.retry_after_s + 0.999))))
    return Response(refused.status, [JSON, *extra], msgspec.json.encode(body))


def malformed(path: str, status: int, message: str) -> Response:
    """The answer to what never became a request, or to one that the gateway failed."""
    code = {500: "gateway_failed", 503: "overloaded"}.get(status, "malformed_request")
    refused = Refused(status, message, code, retry_after_s=1.0 if status == 503 else None)
    return error_response(wire_of_path(path), refused)
