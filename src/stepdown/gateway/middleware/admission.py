"""Who may ask for what, and how much: virtual keys, allow-lists, rate limits and budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NamedTuple, Protocol

from stepdown.core.keys import Key, token_digest
from stepdown.gateway.errors import Refused, error_response
from stepdown.gateway.exchange import REFUSED, Exchange, Middleware, Next, answered
from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.request_compatibility import what_differs

SECRET_HEADERS = (b"authorization", b"x-api-key", b"api-key")

Authenticate = Callable[[str], Key]
"""The key of a token. Raises Refused."""


class Refusal(Protocol):
    """A limit that was reached. retry_after_s: seconds until asking again can help."""

    @property
    def reason(self) -> str: ...
    @property
    def retry_after_s(self) -> float: ...


Admit = Callable[[Exchange], Refusal | None]
"""Counts one request of a key for a task, and sets aside what it may use; the refusal where a limit is reached."""


def admission(admit: Admit) -> Middleware:
    """Allow-lists first, then limits; what is refused is refused in the wire's own shape."""

    def admitted(exchange: Exchange, proceed: Next) -> Awaitable[Response]:
        try:
            check_allowed(exchange)
            refusal = admit(exchange)
            if refusal is not None:
                raise Refused(429, refusal.reason, "rate_limited", refusal.retry_after_s)
        except Refused as refused:
            exchange.rung, exchange.reason, exchange.error = REFUSED, refused.code, str(refused)
            if exchange.privacy == "redact":  # It is masked only once it is admitted.
                exchange.body, exchange.chat, exchange.request.body = {}, {}, b""
            return answered(error_response(exchange.wire, refused, [(b"x-stepdown-id", exchange.id.encode())]))
        return proceed(exchange)

    return admitted


def identify(request: Request, authenticate: Authenticate) -> Key:
    """The key of a request. It goes no further: no upstream ever sees a virtual key. Raises Refused."""
    token = request.header(b"authorization")
    if token[:7].lower() == "bearer ":
        token = token[7:]
    token = token.strip() or request.header(b"x-api-key") or request.header(b"api-key")
    if not token:
        raise Refused(401, "No key was given. Send it as a bearer token or as x-api-key.", "missing_key")
    key = authenticate(token)
    for name in SECRET_HEADERS:
        request.headers.pop(name, None)
    return key


def check_allowed(exchange: Exchange) -> None:
    """Raises Refused where the key's allow-lists leave out the task or the model, or the request is not as the task's
    recorded ones are: to name a task is not enough."""
    key, task = exchange.key, exchange.task
    if key is None:
        return
    if key.tasks and (task is None or not key.allows_task(task.name)):
        what = f"the task {task.name!r}" if task else "requests that belong to no task"
        raise Refused(403, f"This key has no access to {what}.", "task_not_allowed")
    if key.tasks and task is not None:
        other = what_differs(exchange.body, exchange.chat, exchange.value, task, key.models)
        if other:
            message = f"This key is for the task {task.name!r} alone, and the request differs from that in {other}."
            raise Refused(403, message, "request_not_allowed")
    model = str(exchange.chat.get("model") or "")
    if not key.allows_model(model):
        raise Refused(403, f"This key has no access to the model {model[:100]!r}.", "model_not_allowed")


Standing = Literal["", "unknown", "revoked", "expired"]


class Found(NamedTuple):
    """key: None for a token that is none. why: "" where the key may be used, else why not."""

    key: Key | None
    why: Standing


_UNKNOWN = Found(None, "unknown")


class KeyRing:
    """The keys of one moment; a new ring takes its place when keys change. `bool(ring)`: whether keys are asked for.

    Revoked and expired keys count: a gateway whose last key was revoked must not be open to all. closed: nor one whose
    keys are all gone from the store, though the journal knows of some.
    """

    def __init__(self, keys: Iterable[Key], closed: bool = False) -> None:
        self._by_digest = {key.digest: key for key in keys}
        self._closed = closed

    def find(self, token: str, now: float) -> Found:
        """The key of a token, in constant time. now: seconds since the epoch.

        The token is hashed before anything is compared, so that the time taken says nothing about any real token.
        """
        key = self._by_digest.get(token_digest(token))
        if key is None:
            return _UNKNOWN
        return Found(key, key.standing(now))

    def ids(self) -> frozenset[str]:
        return frozenset(key.id for key in self._by_digest.values())

    def __bool__(self) -> bool:
        return self._closed or bool(self._by_digest)
