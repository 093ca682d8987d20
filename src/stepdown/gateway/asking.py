"""Asking the large model: the right upstream, again where that may help, then the next; an answer in every case."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from types import ModuleType
from typing import Any

import msgspec

from stepdown.gateway.breaker import Breaker, BreakerLimits, BreakerState
from stepdown.gateway.exchange import Begun, Exchange, Reply
from stepdown.gateway.http.messages import (
    JSON,
    ConnectFailed,
    Request,
    Saturated,
    TimedOut,
    UnfinishedStream,
    UpstreamError,
)
from stepdown.gateway.retry_policy import UPSTREAM_FAULTS, Random, RetryPolicy, may_be_retried, retry_after_s
from stepdown.gateway.upstream import (
    CannotBeSaid,
    ClientWasTold,
    DirectUpstream,
    Unsupported,
    Upstream,
    UpstreamOptions,
)
from stepdown.wires.event_stream import frame


class UpstreamState:
    """An upstream with what is known of its health. retries, failures: counted since the start; failures by kind."""

    __slots__ = ("breaker", "direct", "failures", "name", "options", "retries", "upstream")

    def __init__(self, options: UpstreamOptions, upstream: Upstream, limits: BreakerLimits | None) -> None:
        self.options, self.upstream, self.name = options, upstream, options.name
        self.direct = upstream if isinstance(upstream, DirectUpstream) else None
        self.breaker = Breaker(limits)
        self.retries = 0
        self.failures: Counter[str] = Counter()


class Incumbent:
    """The large model behind its upstreams, asked in their order.

    upstreams: options and what they opened. clock: monotonic seconds. generator: for the jitter of waits.
    """

    def __init__(
        self,
        upstreams: Sequence[tuple[UpstreamOptions, Upstream]],
        clock: Callable[[], float],
        generator: Random,
        retry_policy: RetryPolicy | None = None,
        breaker: BreakerLimits | None = None,
    ) -> None:
        self._clock, self._generator, self._retry_policy = clock, generator, retry_policy or RetryPolicy()
        self.upstreams = [UpstreamState(options, upstream, breaker) for options, upstream in upstreams]
        self._any = [state for state in self.upstreams if not state.options.models]
        named = {model for state in self.upstreams for model in state.options.models}
        self._of_model = {
            model: [state for state in self.upstreams if not state.options.models or model in state.options.models]
            for model in named
        }

    def states(self) -> dict[str, BreakerState]:
        now = self._clock()
        return {state.name: state.breaker.state(now) for state in self.upstreams}

    async def ask(self, exchange: Exchange) -> Reply:
        """The answer in the client's wire, whatever happens. Raises only CancelledError.

        A stream that breaks in its middle ends with an error event and UnfinishedStream.
        """
        upstreams = self._upstreams_for(exchange)
        answer: Reply | None = None
        failure: UpstreamError | None = None
        asked_at = self._clock() if exchange.begun is None else exchange.begun.at
        for state in upstreams:
            if exchange.begun is None and not state.breaker.admits(self._clock()):
                continue
            exchange.upstream = state.name
            got = await self._ask_upstream(state, exchange)
            if isinstance(got, UpstreamError):
                failure = got
                if isinstance(got, TimedOut) and not got.retriable:
                    break
            else:
                answer = got
                if not may_be_retried(got.status, got.headers):
                    break
        exchange.upstream_s = self._clock() - asked_at
        return answer if answer is not None else self._failed(exchange, upstreams, failure)

    def begin(self, exchange: Exchange, listener: Callable[[], None]) -> bool:
        """Ask the first upstream without a task, where its breaker is closed and it can be asked so. The listener is
        told when there is an answer; `taken` has it, or `ask` goes on with it."""
        upstreams = self._upstreams_for(exchange)
        if not upstreams or (direct := upstreams[0].direct) is None or not upstreams[0].breaker.is_closed:
            return False
        sent = direct.begin(exchange, listener)
        if sent is None:
            return False
        exchange.upstream = upstreams[0].name
        exchange.begun = Begun(upstreams[0], direct, sent, self._clock())
        return True

    def taken(self, exchange: Exchange) -> Reply | None:
        """The answer to what was begun, if it is whole and good."""
        begun = exchange.begun
        assert begun is not None
        reply: Reply | None = begun.upstream.taken(begun.sent)
        if reply is not None:
            exchange.begun, now = None, self._clock()
            exchange.upstream_s = now - begun.at
            begun.state.breaker.succeeded(now)
        return reply

    def abandoned(self, exchange: Exchange) -> None:
        """Nobody waits for the answer to what was begun."""
        begun = exchange.begun
        assert begun is not None
        begun.upstream.abandon(begun.sent)
        begun.state.breaker.abandoned()

    def _upstreams_for(self, exchange: Exchange) -> list[UpstreamState]:
        model = (exchange.body if exchange.outgoing is None else exchange.outgoing).get("model")
        return self._of_model.get(model, self._any) if isinstance(model, str) else self._any

    async def models(self, request: Request | None = None, ask: bool = True) -> list[dict[str, Any]]:
        """The models of every upstream that tells them, and those that the settings name; each once. ask: False for
        the latter alone."""
        asked = (state.upstream.models(request) for state in self.upstreams) if ask else ()
        answers = await asyncio.gather(*asked, return_exceptions=True) if ask else [[] for _ in self.upstreams]
        found: dict[str, dict[str, Any]] = {}
        for state, answer in zip(self.upstreams, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, UpstreamError):
                raise answer
            entries = [] if isinstance(answer, BaseException) else answer
            taken = state.options.models
            named = [{"id": model, "object": "model", "created": 0, "owned_by": state.name} for model in taken]
            for entry in [*entries, *named]:
                if not taken or entry["id"] in taken:
                    found.setdefault(entry["id"], entry)
        return list(found.values())

    async def forward(self, request: Request, wire: ModuleType) -> Reply:
        """Any other path of the first upstream that can take it, asked once. wire: what our errors are said in."""
        for state in self.upstreams:
            try:
                reply = await state.upstream.forward(request)
            except Unsupported:
                continue
            except UpstreamError as error:
                state.failures[error.kind] += 1
                return _error(wire, _status_of(error), str(error))
            if not isinstance(reply.body, bytes):
                reply.body = _or_unfinished(reply.body)
            return reply
        return _error(wire, 404, f"No upstream has the path {request.path[:200]}.", "not_found")

    async def close(self) -> None:
        for state in self.upstreams:
            await state.upstream.close()

    async def _ask_upstream(self, state: UpstreamState, exchange: Exchange) -> Reply | UpstreamError:
        """One upstream, with its retries. Whatever was got last, failures included."""
        until = self._clock() + state.options.total_s
        timed_out = False
        for attempt in range(state.options.retries + 1):
            got = await self._attempt(state, exchange, None if attempt == 0 else until - self._clock())
            if isinstance(got, Reply):
                if not may_be_retried(got.status, got.headers):
                    return got
                asked_s = retry_after_s(got.headers)
            elif not got.retriable or (isinstance(got, TimedOut) and timed_out):
                return got
            else:
                timed_out, asked_s = timed_out or isinstance(got, TimedOut), None
            wait_s = self._retry_policy.wait_s(attempt, self._generator.random(), asked_s)
            if attempt == state.options.retries or wait_s is None or self._clock() + wait_s >= until:
                return got
            await asyncio.sleep(wait_s)
            if not state.breaker.admits(self._clock()):
                return got
            state.retries += 1
        raise AssertionError("the last attempt returns")

    async def _attempt(self, state: UpstreamState, exchange: Exchange, within_s: float | None) -> Reply | UpstreamError:
        breaker = state.breaker
        try:
            if within_s is None:
                reply = await state.upstream.send(exchange)
            else:
                async with asyncio.timeout(within_s):
                    reply = await state.upstream.send(exchange)
        except TimeoutError:
            return self._failure(state, TimedOut("The upstream did not end its answer in time.", retriable=False))
        except UpstreamError as error:
            return self._failure(state, error)
        except CannotBeSaid as error:
            breaker.abandoned()
            return _error(
                exchange.wire, 400, f"This request cannot be asked of {state.name}: {error}.", "untranslatable"
            )
        except BaseException:
            breaker.abandoned()
            raise
        if reply.status in UPSTREAM_FAULTS:
            state.failures[str(reply.status)] += 1
            breaker.failed(self._clock())
        else:
            if reply.status == 429:
                state.failures["429"] += 1
            breaker.succeeded(self._clock())
        if not isinstance(reply.body, bytes):
            reply.body = self._watched(state, exchange, reply.body)
        return reply

    def _failure(self, state: UpstreamState, error: UpstreamError) -> UpstreamError:
        state.failures[error.kind] += 1
        if isinstance(error, Saturated):
            state.breaker.abandoned()
        else:
            state.breaker.failed(self._clock())
        return error

    async def _watched(
        self, state: UpstreamState, exchange: Exchange, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """A stream's pieces; where they break off, the error as the client's wire says it, and UnfinishedStream."""
        begun_at, before_s = self._clock(), exchange.upstream_s or 0.0
        try:
            async for piece in pieces:
                if exchange.whole:  # It is recorded before this goes on.
                    exchange.upstream_s = before_s + self._clock() - begun_at
                yield piece
        except UpstreamError as error:
            exchange.error = str(error)
            self._failure(state, error)
            if not isinstance(error, ClientWasTold):
                body = exchange.wire.error_body(_status_of(error), "", str(error), error.kind)
                # A blank line first: what came before may be half an event.
                yield b"\n\n" + frame(body, body.get("type", ""))
            raise UnfinishedStream from None
        finally:
            exchange.upstream_s = before_s + self._clock() - begun_at
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()

    def _failed(self, exchange: Exchange, upstreams: Sequence[UpstreamState], failure: UpstreamError | None) -> Reply:
        headers: list[tuple[bytes, bytes]] = []
        if failure is not None:
            status, message, code = _status_of(failure), str(failure), failure.kind
        elif upstreams:
            now = self._clock()
            wait_s = min(state.breaker.wait_s(now) for state in upstreams)
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait_s))))
            status, message, code = (
                503,
                "Every upstream failed just now and is left alone for a moment.",
                "circuit_open",
            )
        elif self.upstreams:
            status, message, code = 404, "No upstream takes this model.", "model_not_found"
        else:
            status, message, code = 503, "No upstream is configured.", "no_upstream"
        exchange.error = message
        reply = _error(exchange.wire, status, message, code)
        reply.headers += headers
        return reply


def _status_of(error: UpstreamError) -> int:
    if isinstance(error, TimedOut):
        return 504
    return 503 if isinstance(error, ConnectFailed) else 502


def _error(wire: ModuleType, status: int, message: str, code: str | None = None) -> Reply:
    return Reply(status, [JSON], msgspec.json.encode(wire.error_body(status, "", message, code)))


async def _or_unfinished(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except UpstreamError:
        raise UnfinishedStream from None
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
