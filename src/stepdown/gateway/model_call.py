"""The way of one model call: read it, find its task, let the middleware see it, answer here or ask the incumbent."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from stepdown.core.inputs import Input
from stepdown.core.keys import Key
from stepdown.core.served import INCUMBENT
from stepdown.core.tasks import input_text, is_empty
from stepdown.gateway.answers import chat_completion, choices_asked, header_text, student_headers, wire_response
from stepdown.gateway.cascades import BUSY, StudentFailed
from stepdown.gateway.direct_call import DirectCall, DirectlyAsked
from stepdown.gateway.envelope import on_wire
from stepdown.gateway.errors import Refused, error_response
from stepdown.gateway.exchange import ABSTAINED, REFUSED, Exchange, Middleware, Next, Reply
from stepdown.gateway.http.messages import PendingResponse, Request, Response
from stepdown.gateway.limits import Refusal
from stepdown.gateway.middleware.holdback import HOLDBACK
from stepdown.gateway.reading import read_request
from stepdown.gateway.request_compatibility import incompatibility
from stepdown.gateway.routing import Routes
from stepdown.gateway.served import ServedTask
from stepdown.gateway.shape import answer_shape, choice_of_tools, may_choose
from stepdown.runtime.cascade import MOST_CHARACTERS

log = logging.getLogger("stepdown.gateway")


_NOT_RECOGNISED = (
    "A task here is local-only, and this request is not known to be another task's: nothing may leave this machine. "
    "Send another task's requests as its template has them, or with a key that is limited to that task "
    "(`stepdown key create … --tasks`); `[gateway] unmatched` says what may leave all the same."
)


class Asking(DirectlyAsked, Protocol):
    """What a model call asks of the incumbent's side."""

    def begin(self, exchange: Exchange, listener: Callable[[], None]) -> bool:
        """Ask without a task, where that can be done now; the listener is told of the answer, for `taken`."""

    async def ask(self, exchange: Exchange) -> Reply:
        """The incumbent's answer in the client's wire."""


Reserve = Callable[[Exchange], Refusal | None]
"""Sets aside what the model's answer may cost; the refusal where a budget is taken up."""
Identify = Callable[[Request], Key | None]
"""The virtual key of a request, None where none is needed. Raises Refused."""


@dataclass(frozen=True)
class Clocks:
    """Time, passed in. wall: seconds since the epoch; monotonic: seconds that only go forward."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


class ModelCalls:
    """Answers model calls. `routes` is replaced as a whole when tasks or certificates change: that is a hot swap."""

    def __init__(
        self, incumbent: Asking, clocks: Clocks, middleware: Sequence[Middleware], identify: Identify, reserve: Reserve
    ) -> None:
        """reserve: sets aside what the large model may cost, where admission did not: a student might have answered."""
        self.routes = Routes(())
        self._incumbent, self._clocks, self._identify, self._reserve = incumbent, clocks, identify, reserve
        innermost: Next = self._answer
        self._through = functools.reduce(_wrapped, reversed(middleware), innermost)

    def __call__(self, wire: ModuleType, request: Request) -> PendingResponse | Awaitable[Response]:
        exchange = Exchange(request, wire, self._clocks.wall(), self._clocks.monotonic())
        exchange.key = self._identify(request)
        read_request(exchange)
        exchange.task, exchange.value = self.routes.find(exchange)
        return self._through(exchange)

    def _answer(self, exchange: Exchange) -> PendingResponse | Awaitable[Response]:
        task = exchange.task
        exchange.reason = self._why_not(exchange, task) if task is not None else "no task"
        is_plain = exchange.privacy == "any" and exchange.route != "students" and exchange.reserved is None
        if exchange.reason and is_plain:
            _ask_for_task(exchange, task)
            direct = DirectCall(exchange, self._incumbent, _headers, self._answer_in_task)
            if self._incumbent.begin(exchange, direct.came):
                return direct
        return self._answer_in_task(exchange)

    async def _answer_in_task(self, exchange: Exchange) -> Response:
        task = exchange.task
        try:
            if task is not None and not exchange.reason:
                response = await self._answer_here(exchange, task)
                if response is not None:
                    return response
            _needs_no_student(exchange)
            return await self._escalate(exchange, task)
        except Refused as refused:
            exchange.error = exchange.error or refused.code
            return error_response(exchange.wire, refused, _headers(exchange))

    def _why_not(self, exchange: Exchange, task: ServedTask) -> str:
        """Why no student may be asked, "" where one may."""
        if exchange.selection == HOLDBACK:
            return HOLDBACK
        if exchange.route == "incumbent":
            return "asked for"
        if task.decide is None or task.template is None:
            return task.why_not
        if not task.is_in_force(exchange.at):
            return "certificate lapsed"
        model = str(exchange.chat.get("model"))
        if model not in task.template.models and model != task.task.match.model:
            return "model differs"
        if exchange.value is None:
            return "prompt differs"
        if answer_shape(exchange.chat) not in task.template.shapes:
            return "answer shape differs"
        if not may_choose(choice_of_tools(exchange.chat), task.template.choices):
            return "tool_choice"
        if exchange.chat.get("logprobs") or exchange.chat.get("top_logprobs"):
            return "logprobs asked"
        if not choices_asked(exchange.chat):
            return "n"
        return ""

    async def _answer_here(self, exchange: Exchange, task: ServedTask) -> Response | None:
        """A student's answer; None, and the reason noted, where none is sure enough."""
        assert task.decide is not None
        assert task.template is not None
        assert exchange.value is not None
        input = Input(input_text(exchange.value), exchange.chat)
        if len(input.text) > MOST_CHARACTERS or is_empty(exchange.value):
            exchange.reason = "input empty or too long"
            return None
        try:
            decision = await task.decide(input, False)
            exchange.own_usd = 0.0 if decision is BUSY else task.own_usd(decision.rung)
            if decision.answer is None:
                exchange.reason = "busy" if decision is BUSY else "unsure"
                if exchange.route == "students" and decision is not BUSY:
                    decision = await task.decide(input, True)
                    exchange.own_usd += task.own_usd(INCUMBENT)  # Every rung was asked, twice.
        except StudentFailed:
            exchange.reason = "student failed"
            return None
        exchange.confidence, exchange.asked = decision.confidence, decision.asked
        if decision.answer is None:
            return None
        completion = chat_completion(exchange, task, decision)
        other = incompatibility(exchange.chat, completion, task.template)
        if other:
            exchange.reason = other
            return None
        exchange.rung = decision.rung
        body = on_wire(task.template.envelope, exchange.wire.NAME, completion)
        return wire_response(exchange, body, student_headers(exchange, task))

    async def _escalate(self, exchange: Exchange, task: ServedTask | None) -> Response:
        if exchange.privacy == "local-only":
            exchange.rung = ABSTAINED
            if exchange.reason == "busy":
                raise _busy()
            if task is None or task.privacy != "local-only":
                raise Refused(422, _NOT_RECOGNISED, "not_recognised")
            raise Refused(
                422,
                f"No student may answer this request of the task {task.name!r} ({exchange.reason}), and its contract "
                'says privacy = "local-only": nothing may leave this machine.',
                "abstained",
            )
        _ask_for_task(exchange, task)
        refusal = self._reserve(exchange)
        if refusal is not None:
            exchange.rung, exchange.reason, exchange.error = REFUSED, "rate_limited", refusal.reason
            raise Refused(429, refusal.reason, "rate_limited", refusal.retry_after_s)
        reply = await self._incumbent.ask(exchange)
        return Response(reply.status, [*reply.headers, *_headers(exchange)], reply.body)


def may_cost_nothing(exchange: Exchange) -> bool:
    """Whether a student or the cache may answer, so that the model's price is not to be set aside yet."""
    task = exchange.task
    if task is None or exchange.route == "incumbent":
        return False
    return task.is_in_force(exchange.at) or task.cache_s > 0


def _ask_for_task(exchange: Exchange, task: ServedTask | None) -> None:
    """Note why the incumbent is asked, and the name that it is asked under."""
    if task is not None:
        if not exchange.selection and task.is_in_force(exchange.at):
            exchange.selection = "escalated"
        if task.incumbent and exchange.body.get("model") == task.task.match.model:
            exchange.outgoing = {**exchange.body, "model": task.incumbent}


def _needs_no_student(exchange: Exchange) -> None:
    if exchange.route == "students":
        exchange.rung = ABSTAINED
        if exchange.reason == "busy":
            raise _busy()
        raise Refused(422, f"x-stepdown-route asks for students, and none can answer: {exchange.reason}.", "no_student")


def _busy() -> Refused:
    """Unlike the other reasons this one passes."""
    return Refused(503, "Too much waits for the students, and nobody else may answer.", "students_busy", 1.0)


def _headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """What is said of an answer that is no student's."""
    headers = [(b"x-stepdown-id", exchange.id.encode()), (b"x-stepdown-rung", exchange.rung.encode())]
    if exchange.reason:
        headers.append((b"x-stepdown-reason", header_text(exchange.reason)))
    if exchange.task is not None:
        headers.append((b"x-stepdown-task", header_text(exchange.task.name)))
        if exchange.confidence is not None:
            headers.append((b"x-stepdown-confidence", b"%.4f" % exchange.confidence))
    return headers


def _wrapped(inner: Next, layer: Middleware) -> Next:
    return functools.partial(layer, proceed=inner)
