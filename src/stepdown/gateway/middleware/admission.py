"""Who may ask for what, and how much: virtual keys, allow-lists, rate limits and budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from stepdown.core.keys import Key
from stepdown.gateway.errors import Refused, error_response
from stepdown.gateway.exchange import REFUSED, Exchange, Middleware, Next, Reply, answered
from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.model_call import Asking
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
        raise Refused(403, f"This key may not ask for {what}.", "task_not_allowed")
    if key.tasks and task is not None:
        other = what_differs(exchange.body, exchange.chat, exchange.value, task, key.models)
        if other:
            message = f"This key is for the task {task.name!r} alone, and the request differs from that in {other}."
            raise Refused(403, message, "request_not_allowed")
    model = str(exchange.chat.get("model") or "")
    if not key.allows_model(model):
        raise Refused(403, f"This key may not ask for the model {model[:100]!r}.", "model_not_allowed")


Reserve = Admit
"""The same of what the large model's answer may cost, once it is about to be asked."""


class Reserving:
    """An incumbent that is asked where there is money for it."""

    def __init__(self, incumbent: Asking, reserve: Reserve) -> None:
        self._incumbent, self._reserve = incumbent, reserve

    def begin(self, exchange: Exchange, listener: Callable[[], None]) -> bool:
        return exchange.reserved is None and self._incumbent.begin(exchange, listener)

    def taken(self, exchange: Exchange) -> Reply | None:
        return self._incumbent.taken(exchange)

    def abandoned(self, exchange: Exchange) -> None:
        self._incumbent.abandoned(exchange)

    async def ask(self, exchange: Exchange) -> Reply:
        """The incumbent's answer. Raises Refused where a budget is taken up, or as the incumbent does."""
        refusal = self._reserve(exchange)
        if refusal is not None:
            exchange.rung, exchange.reason, exchange.error = REFUSED, "rate_limited", refusal.reason
            raise Refused(429, refusal.reason, "rate_limited", refusal.retry_after_s)
        return await self._incumbent.ask(exchange)


def may_cost_nothing(exchange: Exchange) -> bool:
    """Whether a student or the cache may answer, so that the model's price is not to be set aside yet."""
    task = exchange.task
    if task is None or exchange.route == "incumbent":
        return False
    return task.is_in_force(exchange.at) or task.cache_s > 0
