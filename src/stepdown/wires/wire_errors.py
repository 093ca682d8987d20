"""Errors as each wire says them, and what an upstream's error body means, whichever shape it came in.

Sources: the errors page of the Claude API (docs.claude.com/en/api/errors) and of the OpenAI API
(platform.openai.com/docs/guides/error-codes), and the error types in both vendors' Python packages.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_MESSAGE_CHARACTERS = 4000
_CLIENT_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_MESSAGES_KINDS = {
    **_CLIENT_KINDS,
    402: "billing_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUS_OF_KIND = {
    **{kind: status for status, kind in _CLIENT_KINDS.items()},
    "billing_error": 402,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_NAMED_BY_MESSAGES = frozenset(_MESSAGES_KINDS.values()) | {"api_error"}


class WireError(msgspec.Struct, frozen=True, kw_only=True):
    """An error, free of any wire's shape. `kind` is the type as its sender named it, "" where it named none."""

    status: int
    message: str
    kind: str = ""
    code: str | None = None
    param: str | None = None


def chat_error(status: int, kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    """An error body of the OpenAI wire. The type is `kind`, or what the status calls for where that is ""."""
    usual = "server_error" if status >= 500 else _CLIENT_KINDS.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind or usual, "param": None, "code": code}}


def messages_error(status: int, kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    """An error body of the Anthropic wire, which has no place for a code.

    Clients choose what to raise by the type, so a `kind` that this wire has no such type for gives way to the status's.
    """
    usual = _MESSAGES_KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind if kind in _NAMED_BY_MESSAGES else usual, "message": message}}


def read_error(body: Any, status: int | None = None) -> WireError:
    """The error in a body of either wire, or of a roughly compatible server.

    `status` is the HTTP status; an error in the middle of a stream has none and gets its type's, or 500.
    """
    given = body[0] if isinstance(body, list) and body else body
    inner = given.get("error") if isinstance(given, dict) else given
    if inner is None:
        inner = given
    fields = inner if isinstance(inner, dict) else {"message": inner}
    kind = fields["type"] if isinstance(fields.get("type"), str) and fields["type"] != "error" else ""
    code = fields.get("code")
    if status is None:
        status = code if isinstance(code, int) and 400 <= code < 600 else _STATUS_OF_KIND.get(kind, 500)
    return WireError(
        status=status,
        kind=kind,
        message=_message(fields, status),
        code=str(code) if isinstance(code, str | int) else None,
        param=fields["param"] if isinstance(fields.get("param"), str) else None,
    )


def _message(fields: dict[str, Any], status: int) -> str:
    for key in ("message", "detail", "error_description"):
        value = fields.get(key)
        if isinstance(value, str) and value.strip():
            return value[:MAX_MESSAGE_CHARACTERS]
        if value:
            return msgspec.json.encode(value).decode()[:MAX_MESSAGE_CHARACTERS]
    return f"the upstream answered with status {status} and no message"
