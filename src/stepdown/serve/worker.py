"""The gateway of one process, put together: where its parts, the store, the students and the prices meet."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import stepdown
from stepdown.core.calls import Call
from stepdown.core.errors import StepdownError
from stepdown.core.gateway import GatewaySettings
from stepdown.core.keys import Key
from stepdown.core.store import ServedHour, Store
from stepdown.core.tasks import Task
from stepdown.curation.personal_data import mask, mask_json
from stepdown.gateway import metric_names as names
from stepdown.gateway.app import App, alive, readiness
from stepdown.gateway.asking import Incumbent
from stepdown.gateway.cache import AnswerCache, caching
from stepdown.gateway.cascades import RungThreads
from stepdown.gateway.errors import Refused, error_response, wire_of_path
from stepdown.gateway.exchange import ABSTAINED, Exchange
from stepdown.gateway.feedback import FeedbackRate, feedback_response, read_feedback
from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.http.target import allowed_hosts, is_loopback
from stepdown.gateway.limits import Limiter, Refusal
from stepdown.gateway.metric_names import Metric
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.middleware.admission import KeyRing, admission, identify
from stepdown.gateway.middleware.holdback import holdback
from stepdown.gateway.middleware.recording import recording
from stepdown.gateway.model_call import Clocks, ModelCalls, may_cost_nothing
from stepdown.gateway.openapi import description
from stepdown.gateway.other_paths import OtherPaths
from stepdown.gateway.outcome import Outcome, estimate_of, outcome_of
from stepdown.gateway.recorder import Recorder
from stepdown.gateway.redaction import redacting
from stepdown.gateway.routing import Routes
from stepdown.gateway.run_folder import RunFolder
from stepdown.gateway.segments import Position
from stepdown.gateway.snapshot import merged
from stepdown.gateway.spending import read_totals
from stepdown.gateway.upstream import UpstreamOptions, open_upstream
from stepdown.project.feedback import keep_feedback
from stepdown.project.home import Home
from stepdown.project.journal import note_feedback
from stepdown.project.keys import IssuedKeys
from stepdown.serve.async_store import AsyncStore
from stepdown.serve.served_tasks import ServedTasks
from stepdown.traffic.pricing import Prices
from stepdown.wires import anthropic_messages, openai_chat

log = logging.getLogger("stepdown.gateway")

LOOK_S = 1.0
"""How often tasks, certificates, keys and totals are looked at anew."""
LOOK_AROUND_S = 2.0
"""How often the other processes' figures are."""


class Gateway:
    """`start` it, give its `app` to a server, then `stop` it. Everything runs on the event loop that made it but what
    is slow: students, the store, capture."""

    def __init__(self, home: Home, settings: GatewaySettings, run_folder: Path, workers: int = 1) -> None:
        self.home, self.settings, self._workers = home, settings, workers
        self._loop = asyncio.get_running_loop()
        self._desk = AsyncStore(home)
        self._rungs = RungThreads(self._loop, threads=max(1, (os.cpu_count() or 1) // (2 * workers)))
        self._served = ServedTasks(home, self._rungs)
        self._tasks: dict[str, Task] = {}
        self._ring, self._issued = KeyRing(()), IssuedKeys()
        self._is_allowed_host = allowed_hosts(settings.hosts, is_loopback(settings.host))
        self._checks_hosts = is_loopback(settings.host) or bool(settings.hosts)
        self._limiter = Limiter({name: task.limits for name, task in home.settings.tasks.items()})
        self._feedback_rate = FeedbackRate(settings.feedback_per_minute)
        self._prices = Prices(home.settings.prices)
        self._counted: dict[tuple[str, str, str], int] = {}
        self._why_not = "starting"
        self._chores: list[asyncio.Task[None]] = []
        self._siblings = RunFolder(run_folder)
        self.metrics = Metrics(stepdown.__version__, self._siblings)
        self._cache = AnswerCache(time.perf_counter)
        self.metrics.read_from(names.CACHE_BYTES, lambda: {(): float(self._cache.held_bytes)})
        self.recorder = Recorder(
            home.capture,
            settings,
            Prices(home.settings.prices).cost,
            mask,
            self.metrics,
            self._is_limited,
            self._charge,
        )
        self._marked: Position | None = None
        self._warnings: list[str] = []
        self._has_mover = True
        self.incumbent = Incumbent(
            [(options, open_upstream(options)) for options in upstream_options(home, settings)],
            time.perf_counter,
            random.Random(os.urandom(16)),
        )
        self.calls = ModelCalls(
            self.incumbent,
            Clocks(home.clock, time.perf_counter),
            (
                recording(self.recorder, time.perf_counter, self._hear),
                admission(self._admit),
                redacting(mask_json),
                holdback(random.SystemRandom(), self._can_ask),
                caching(self._cache, self.metrics),
            ),
            self._identify,
            self._reserve,
        )
        self.app = self._paths()

    async def start(self) -> None:
        """Look at everything once, then keep looking. Raises what the store raises when it cannot be opened at all."""
        await self._look()
        self._measure()
        self._why_not = ""
        chores = ((self._look, LOOK_S), (self.recorder.look, LOOK_S), (self._look_around, LOOK_AROUND_S))
        self._chores = [self._loop.create_task(self._keep_at(*chore)) for chore in chores]

    def end_soon(self) -> None:
        """Say that no more requests should come."""
        self._why_not = "draining"

    def cut(self) -> None:
        """Say that what is still under way is cut off now."""
        self.recorder.cut = "cut at shutdown: its time to end was over"

    async def stop(self, within_s: float) -> int:
        """End the capture of calls and close everything. Returns how many calls were not kept since the start."""
        for chore in self._chores:
            chore.cancel()
        await self.recorder.close(within_s)
        await self.incumbent.close()
        self._rungs.close()
        await self._loop.run_in_executor(None, self._desk.close)
        self.metrics.publish(at_once=True)
        self._siblings.leave()
        return self.recorder.lost

    @property
    def open_to_all(self) -> bool:
        """Whether no key was ever made."""
        return not self._ring

    @property
    def can_answer(self) -> bool:
        """Whether there is anyone to ask: an upstream, or a student under a certificate."""
        return bool(self.incumbent.upstreams) or any(task.decide for task in self.calls.routes.tasks.values())

    # Paths

    def _paths(self) -> App:
        other = OtherPaths(
            self.incumbent,
            self._identify,
            lambda: self.calls.routes.aliases,
            lambda: self.calls.routes.unmatched,
            self.settings.paths,
        )
        app = App(other.forward)
        for wire in (openai_chat, anthropic_messages):
            for prefix in ("/v1", ""):
                app.add("POST", prefix + wire.PATH, functools.partial(self.calls, wire))
        app.add("GET", "/v1/models", other.models)
        app.add("GET", "/models", other.models)
        app.add("POST", "/v1/feedback", self._feedback)
        app.add("GET", "/healthz", alive)
        app.add("GET", "/readyz", readiness(lambda: self._why_not, lambda: self._warnings))
        app.add("GET", "/metrics", self._metrics)
        app.add("GET", "/openapi.json", description(stepdown.__version__))
        return app

    async def _metrics(self, request: Request) -> Response:
        text = await self._loop.run_in_executor(None, self.metrics.render)
        return Response(200, [(b"content-type", self.metrics.content_type.encode())], text)

    async def _feedback(self, request: Request) -> Response:
        key = self._identify(request)
        feedback = read_feedback(request)
        now = self.home.clock()
        self._feedback_rate.admit(key.id if key else "", now)
        try:
            became = await self._desk.run(lambda store: keep_feedback(store, self._tasks, feedback, key, now))
        except StepdownError as error:
            log.warning("feedback_not_kept", extra={"fields": {"error": str(error)}})
            raise Refused(503, "The feedback could not be kept: the store gave an error.", "store_error", 1.0) from None
        return feedback_response(feedback, became)

    def _can_ask(self) -> bool:
        """Whether there is an upstream that is not left alone because it failed."""
        return any(state != "open" for state in self.incumbent.states().values())

    # Who may ask

    def admit_head(self, method: str, path: str, headers: dict[bytes, bytes]) -> Response | None:
        """The refusal of a request whose body is not worth reading: its host is not ours, or its key opens nothing."""
        host = headers.get(b"host")
        try:
            if self._checks_hosts and host is not None and not self._is_allowed_host(host):
                raise Refused(
                    421,
                    f"This gateway does not answer as {host[:100].decode('latin-1')!r}. Expected this machine's own "
                    "name or address, lest a web page reach it under a name of its own; add others to [gateway] hosts.",
                    "unknown_host",
                )
            if self._ring and (b"content-length" in headers or b"transfer-encoding" in headers):
                self._identify(Request(method, path, "", dict(headers)))
        except Refused as refused:
            return error_response(wire_of_path(path), refused)
        return None

    def _identify(self, request: Request) -> Key | None:
        return identify(request, self._authenticate) if self._ring else None

    def _authenticate(self, token: str) -> Key:
        found = self._ring.find(token, self.home.clock())
        if found.key is None or found.why:
            raise Refused(401, f"This key is {found.why or 'unknown'}.", f"{found.why or 'unknown'}_key")
        return found.key

    def _admit(self, exchange: Exchange) -> Refusal | None:
        task = exchange.task.name if exchange.task else ""
        if not self._limiter.is_limited(exchange.key, task):
            return None
        estimate = estimate_of(exchange, self._prices.cost)
        if may_cost_nothing(exchange):
            estimate = estimate._replace(usd=0.0)
        got = self._limiter.admit(self.home.clock(), exchange.key, task, estimate)
        if isinstance(got, Refusal):
            return got
        exchange.reserved = got
        return None

    def _reserve(self, exchange: Exchange) -> Refusal | None:
        """Before the incumbent is asked: what it may cost, where admission did not set that aside."""
        if exchange.reserved is None or not may_cost_nothing(exchange):
            return None
        usd = estimate_of(exchange, self._prices.cost).usd
        got = self._limiter.add(exchange.reserved, usd, self.home.clock())
        if isinstance(got, Refusal):
            return got
        exchange.reserved = got
        return None

    def _hear(self, exchange: Exchange) -> None:
        """Take note of a finished exchange: the cache, where its task wants one."""
        if exchange.task is not None and exchange.task.cache_s > 0:
            self._cache(exchange, outcome_of(exchange, lambda call: None))
        if exchange.reserved is not None:
            used = exchange.status < 400 and exchange.rung != ABSTAINED
            self._limiter.end(exchange.reserved, self.home.clock(), charged=used)

    def _is_limited(self, exchange: Exchange) -> bool:
        return self._limiter.is_limited(exchange.key, exchange.task.name if exchange.task else "")

    def _charge(self, exchange: Exchange, outcome: Outcome) -> None:
        key, task = exchange.key.id if exchange.key else "", exchange.task.name if exchange.task else ""
        self._limiter.charge(key, task, outcome.tokens, outcome.spent_usd, self.home.clock())

    # What changes while it runs

    async def _keep_at(self, chore: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await chore()
            except StepdownError as error:
                # What is known stays in force.
                log.warning("store_unreachable", extra={"error": str(error)})
            except Exception:  # a chore's outermost boundary: were it to end, no key could be revoked any more
                log.exception("not_looked")

    async def _look(self) -> None:
        now = self.home.clock()
        # Keys first, so that one that was revoked ends whatever has become of the tasks.
        found = await self._desk.run(functools.partial(self._read, now))
        self._ring = KeyRing(found.keys, found.had_keys)
        self._limiter.keep_keys(self._ring.ids())
        if found.has_landed:
            # What was marked at the last time is in these totals, which were read after it was found in the store.
            self._limiter.load_totals(found.totals, now)
            self._limiter.mark()
            self._marked = self.recorder.position
        self._count_upstreams()
        await self._look_at_tasks()

    async def _look_at_tasks(self) -> None:
        tasks = await self._desk.run(self._served.look)
        await self._desk.run(functools.partial(note_feedback, now=self.home.clock()))
        if tasks is not None:
            self.calls.routes = Routes(tasks, self.settings.unmatched)
            self._tasks = {task.name: task.task for task in tasks}
            for task in tasks:
                state = task.why_not or "in force"
                log.info("task", extra={"task": task.name, "certificate": state, "build": task.build})

    def _read(self, now: float, store: Store) -> _Found:
        has_landed = self._marked is None or self.recorder.has_landed(store, self._marked)
        keys = self._issued.honoured(store)
        had_keys = not keys and self._issued.any()
        return _Found(keys, had_keys, has_landed, read_totals(store, now))

    async def _look_around(self) -> None:
        """Tell the gateway's other processes of this one, and find out what is wrong with them and with the capture."""
        await self._loop.run_in_executor(None, self.metrics.publish)
        others = await self._loop.run_in_executor(None, self._siblings.others)
        gauges = {name: dict(series) for name, series in merged(others).gauges.items()}

        def seen(metric: Metric) -> float:
            return sum(gauges.get(metric.name, {}).values())

        missing, self._has_mover = self._workers - 1 - round(seen(names.WORKERS)), seen(names.MOVERS) > 0
        found = {
            f"{missing} of {self._workers} workers are down.": missing > 0,
            "Nothing moves calls into the store; they wait on disk.": not self._has_mover,
            "The store takes no calls; they wait on disk.": self._has_mover and not seen(names.STORE_HEALTHY),
            "As many calls wait on disk as may: new ones are not kept.": self.recorder.is_full,
            f"The disk takes no calls ({self.recorder.failure}): they are not kept.": bool(self.recorder.failure),
        }
        self._warnings = [warning for warning, is_so in found.items() if is_so]

    def _count_upstreams(self) -> None:
        """Add what the upstreams counted since the last look."""
        for upstream in self.incumbent.upstreams:
            now = {
                ("retries", ""): upstream.retries,
                **{("failures", kind): n for kind, n in upstream.failures.items()},
            }
            for (what, kind), count in now.items():
                new = count - self._counted.get((upstream.name, what, kind), 0)
                if new and what == "retries":
                    self.metrics.count(names.UPSTREAM_RETRIES, upstream.name, by=new)
                elif new:
                    self.metrics.count(names.UPSTREAM_FAILURES, upstream.name, kind, by=new)
                self._counted[upstream.name, what, kind] = count

    def _measure(self) -> None:
        """Show what is only known when asked for."""
        read = self.metrics.read_from
        read(names.QUEUE, lambda: {("rungs",): float(self._rungs.waiting)})
        # While there is no mover, which knows better.
        read(names.WAITING_BYTES, lambda: {} if self._has_mover else {(): float(self.recorder.held_bytes)})
        read(names.CAPTURE_HEALTHY, lambda: {(): float(not self.recorder.failure)})
        read(
            names.CERTIFICATE,
            lambda: {(task.name,): task.valid_until for task in self.calls.routes.tasks.values() if task.decide},
        )
        read(
            names.BREAKER, lambda: {(name,): float(state == "open") for name, state in self.incumbent.states().items()}
        )


@dataclass(frozen=True)
class _Found:
    """One look at the store. had_keys: whether the journal knows of any. has_landed: whether what was marked is in
    it."""

    keys: list[Key]
    had_keys: bool
    has_landed: bool
    totals: list[ServedHour]


def upstream_options(home: Home, settings: GatewaySettings) -> list[UpstreamOptions]:
    """The upstreams of the settings. `replay:` without a file replays the project's own recorded calls."""
    return [
        UpstreamOptions(
            url=said.url,
            name=said.name,
            kind=said.kind,
            key=said.secret(os.environ),
            key_header=said.key_header,
            api_version=said.api_version,
            models=said.models,
            connect_s=said.connect_s,
            first_byte_s=said.first_byte_s,
            total_s=said.total_s,
            retries=said.retries,
            calls=_recorded(home) if said.url.partition("?")[0] == "replay:" else None,
            passes_client_key=place == 0,
            pass_headers=said.pass_headers,
            ask_usage=said.ask_usage,
            given=said.options,
        )
        for place, said in enumerate(settings.all_upstreams())
    ]


def _recorded(home: Home) -> Callable[[], Iterable[Call]]:
    def calls() -> Iterable[Call]:
        with home.store() as store:
            for call in store.calls():
                if not call.rung:
                    yield call

    return calls
