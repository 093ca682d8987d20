"""The gateway of one process, put together: where its parts, the store, the students and the prices meet."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import stepdown
from stepdown.core.calls import Call
from stepdown.core.errors import StepdownError
from stepdown.core.gateway import GatewaySettings
from stepdown.core.keys import Key
from stepdown.core.store import Served, Store
from stepdown.core.tasks import Task
from stepdown.core.wires import anthropic_messages, openai_chat
from stepdown.curation.personal_data import mask_json
from stepdown.gateway import metric_names as names
from stepdown.gateway.app import App
from stepdown.gateway.asking import Incumbent
from stepdown.gateway.cache import AnswerCache
from stepdown.gateway.cascades import RungThreads
from stepdown.gateway.channel import Report
from stepdown.gateway.errors import Refused
from stepdown.gateway.exchange import ABSTAINED, Exchange
from stepdown.gateway.feedback import feedback_response, read_feedback
from stepdown.gateway.health import alive, readiness
from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.keys import KeyRing
from stepdown.gateway.limits import Limiter, Refusal
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.middleware.admission import admission, identify
from stepdown.gateway.middleware.caching import caching
from stepdown.gateway.middleware.holdback import holdback
from stepdown.gateway.middleware.recording import recording
from stepdown.gateway.model_call import Clocks, ModelCalls
from stepdown.gateway.openapi import description
from stepdown.gateway.other_paths import OtherPaths
from stepdown.gateway.outcome import estimate_of, outcome_of
from stepdown.gateway.recorder_process import RecorderProcess
from stepdown.gateway.redaction import redacting
from stepdown.gateway.retention import Retention
from stepdown.gateway.routing import Routes
from stepdown.gateway.run_folder import RunFolder
from stepdown.gateway.served import ServedTask
from stepdown.gateway.spending import read_totals
from stepdown.gateway.upstream import UpstreamOptions, open_upstream
from stepdown.loop.desk import StoreDesk
from stepdown.loop.feedback import keep_feedback
from stepdown.loop.home import Home
from stepdown.loop.served_tasks import ServedTasks
from stepdown.traffic.pricing import Prices

log = logging.getLogger("stepdown.gateway")

RECORDER_S = 30.0
LOOK_S = 1.0
"""How often tasks, certificates, keys and totals are looked at anew."""


class Gateway:
    """`start` it, give its `app` to a server, then `stop` it. Everything runs on the event loop that made it but what
    is slow: students, the store, capture."""

    def __init__(self, home: Home, settings: GatewaySettings, run_folder: Path, workers: int = 1) -> None:
        self.home, self.settings = home, settings
        self._loop = asyncio.get_running_loop()
        self._desk = StoreDesk(home)
        self._rungs = RungThreads(self._loop, threads=max(1, (os.cpu_count() or 1) // (2 * workers)))
        self._served = ServedTasks(home, self._rungs)
        self._tasks: dict[str, Task] = {}
        self._ring = KeyRing(())
        self._limiter = Limiter({name: task.limits for name, task in home.settings.tasks.items()})
        self._prices = Prices(home.settings.prices)
        self._counted: dict[tuple[str, str, str], int] = {}
        self._why_not = "starting"
        self._chores: list[asyncio.Task[None]] = []
        self._siblings = RunFolder(run_folder)
        self.metrics = Metrics(stepdown.__version__, self._siblings)
        self._cache = AnswerCache(time.perf_counter)
        self.metrics.read_from(names.CACHE_BYTES, lambda: {(): float(self._cache.held_bytes)})
        self.recorder = RecorderProcess(
            [sys.executable, "-m", "stepdown.loop.recording_process", str(home.folder), str(run_folder)],
            settings.queue_bytes,
            self.metrics.drop,
            self._charge,
        )
        self._retention = Retention(home.store, settings.retention_s, home.clock)
        self.incumbent = Incumbent(
            [(options, open_upstream(options)) for options in upstream_options(home, settings)],
            time.perf_counter,
            random.Random(os.urandom(16)),
        )
        self.calls = ModelCalls(
            self.incumbent,
            Clocks(home.clock, time.perf_counter),
            (
                recording(self.recorder, self._keep, time.perf_counter),
                admission(self._admit),
                redacting(mask_json),
                holdback(random.SystemRandom(), self._can_ask),
                caching(self._cache, self.metrics),
            ),
            self._identify,
        )
        self.app = self._paths()

    async def start(self) -> None:
        """Look at everything once, then keep looking. Raises what the store raises when it cannot be opened at all."""
        self.recorder.start()
        await self._look()
        self._measure()
        # Ready means that what is answered is recorded too, not only when the recorder has come up.
        if not await self.recorder.is_up(RECORDER_S):
            log.error("recorder_slow_to_start", extra={"seconds": RECORDER_S})
        self._why_not = ""
        self._retention.start()
        self._chores = [self._loop.create_task(self._keep_looking())]

    def end_soon(self) -> None:
        """Say that no more requests should come."""
        self._why_not = "draining"

    async def stop(self, within_s: float) -> int:
        """Write what waits and close everything. Returns how many calls could not be written."""
        for chore in self._chores:
            chore.cancel()
        lost = await self.recorder.drain(within_s)
        if lost:
            log.error("calls_lost", extra={"calls": lost, "error": self.recorder.last_error})
        self._retention.stop()
        await self.incumbent.close()
        self._rungs.close()
        await self._loop.run_in_executor(None, self._desk.close)
        self._siblings.leave()
        return lost

    @property
    def open_to_all(self) -> bool:
        """Whether no key was ever made."""
        return not self._ring

    @property
    def can_answer(self) -> bool:
        """Whether there is anyone to ask: an upstream, or a student under a certificate."""
        return bool(self.incumbent.seats) or any(task.decide for task in self.calls.routes.tasks.values())

    # Paths

    def _paths(self) -> App:
        other = OtherPaths(
            self.incumbent, self._identify, lambda: self.calls.routes.aliases, lambda: self.calls.routes.unmatched
        )
        app = App(other.forward)
        for wire in (openai_chat, anthropic_messages):
            for prefix in ("/v1", ""):
                app.add("POST", prefix + wire.PATH, functools.partial(self.calls, wire))
        app.add("GET", "/v1/models", other.models)
        app.add("GET", "/models", other.models)
        app.add("POST", "/v1/feedback", self._feedback)
        app.add("GET", "/healthz", alive)
        app.add("GET", "/readyz", readiness(lambda: self._why_not))
        app.add("GET", "/metrics", self._metrics)
        app.add("GET", "/openapi.json", description(stepdown.__version__))
        return app

    async def _metrics(self, request: Request) -> Response:
        text = await self._loop.run_in_executor(None, self.metrics.render)
        return Response(200, [(b"content-type", self.metrics.content_type.encode())], text)

    async def _feedback(self, request: Request) -> Response:
        key = self._identify(request)
        feedback = read_feedback(request)
        try:
            became = await self._desk.run(lambda store: keep_feedback(store, self._tasks, feedback, key))
        except StepdownError as error:
            log.warning("feedback_not_kept", extra={"fields": {"error": str(error)}})
            raise Refused(503, "The feedback could not be kept: the store gave an error.", "store_error", 1.0) from None
        return feedback_response(feedback, became)

    def _can_ask(self) -> bool:
        """Whether there is an upstream that is not left alone because it failed."""
        return any(state != "open" for state in self.incumbent.states().values())

    # Who may ask

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
        got = self._limiter.admit(self.home.clock(), exchange.key, task, estimate)
        if isinstance(got, Refusal):
            return got
        exchange.reserved = got
        return None

    def _keep(self, exchange: Exchange) -> None:
        """Take a finished exchange: the cache at once, where the task wants one, all else in the recording process."""
        if exchange.task is not None and exchange.task.cache_s > 0:
            self._cache(exchange, outcome_of(exchange, lambda call: None))
        if exchange.reserved is not None:
            used = exchange.status < 400 and exchange.rung != ABSTAINED
            self._limiter.end(exchange.reserved, self.home.clock(), charged=used)
        self.recorder.put(exchange)

    def _charge(self, report: Report) -> None:
        now = self.home.clock()
        for charge in report.charges:
            self._limiter.charge(charge.key, charge.task, charge.tokens, charge.usd, now)

    # What changes while it runs

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except StepdownError as error:
                # What is known stays in force; the recorder says on its own whether calls are kept.
                log.warning("store_unreachable", extra={"error": str(error)})
            except Exception:  # the chore's outermost boundary: were it to end, no key could be revoked any more
                log.exception("not_looked")

    async def _look(self) -> None:
        now = self.home.clock()
        found = await self._desk.run(functools.partial(self._read, now))
        self._ring = KeyRing(found.keys)
        self._limiter.keep_keys(self._ring.ids())
        if self.recorder.healthy:
            # The recorder writes several times between two looks: what was marked at the last one is in these totals.
            self._limiter.load_totals(found.totals, now)
            self._limiter.mark()
        self._count_upstreams()
        await self._loop.run_in_executor(None, self.metrics.publish)
        if found.tasks is not None:
            self.calls.routes = Routes(found.tasks, self.settings.unmatched)
            self._tasks = {task.name: task.task for task in found.tasks}
            for task in found.tasks:
                state = task.why_not or "in force"
                log.info("task", extra={"task": task.name, "certificate": state, "build": task.build})

    def _read(self, now: float, store: Store) -> _Found:
        return _Found(store.keys(), read_totals(store, now), self._served.look(store))

    def _count_upstreams(self) -> None:
        """Add what the upstreams counted since the last look."""
        for seat in self.incumbent.seats:
            now = {("retries", ""): seat.retries, **{("failures", kind): n for kind, n in seat.failures.items()}}
            for (what, kind), count in now.items():
                new = count - self._counted.get((seat.name, what, kind), 0)
                if new and what == "retries":
                    self.metrics.count(names.UPSTREAM_RETRIES, seat.name, by=new)
                elif new:
                    self.metrics.count(names.UPSTREAM_FAILURES, seat.name, kind, by=new)
                self._counted[seat.name, what, kind] = count

    def _measure(self) -> None:
        """Show what is only known when asked for."""
        read = self.metrics.read_from
        read(names.QUEUE, lambda: {("rungs",): float(self._rungs.waiting), ("channel",): float(self.recorder.waiting)})
        read(
            names.CERTIFICATE,
            lambda: {(task.name,): task.valid_until for task in self.calls.routes.tasks.values() if task.decide},
        )
        read(
            names.BREAKER, lambda: {(name,): float(state == "open") for name, state in self.incumbent.states().items()}
        )


@dataclass(frozen=True)
class _Found:
    """One look at the store. tasks: None where nothing about them has changed."""

    keys: list[Key]
    totals: list[Served]
    tasks: list[ServedTask] | None


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
