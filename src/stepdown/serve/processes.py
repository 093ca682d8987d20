"""Running the gateway: workers that share a port, the mover of their calls, and the parent that starts them anew."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stepdown.core import errors
from stepdown.core.errors import ResourceError, StepdownError, UsageError
from stepdown.core.gateway import GatewaySettings
from stepdown.gateway.http.target import is_loopback
from stepdown.project.home import Home
from stepdown.project.keys import IssuedKeys
from stepdown.project.settings_check import check_settings

log = logging.getLogger("stepdown.gateway")

SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while the event loop waits for it: the default of 5 ms would be the
latency of every request that meets a student or a look at the store."""
GC_THRESHOLD = 20_000
"""A request leaves hardly anything in cycles: the default would look for them every few requests."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 30.0
"""How long after a death the next process is started: doubled for every death in a row."""
LASTED_S = 3.0
"""Who lived so long starts a new row of deaths."""
READ_FROM_RUN_FOLDER = "run"
READY = b"ready"
ENDING = (signal.SIGTERM, signal.SIGINT)

Announce = Callable[[str], None]
"""Called with the address when requests may come."""


def serve(home: Home, settings: GatewaySettings, workers: int, announce: Announce) -> int:
    """Serve until told to end. Returns 0, or 1 where calls were lost. Raises UsageError, ResourceError, StoreError."""
    from stepdown.gateway.logs import configure_logs

    configure_logs(sys.stderr)
    check_exposed(home, settings)
    check_private(home)
    listener = _bound(settings, shared=False)
    address = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
    if workers > 1:  # Each has a listener of its own; this one only keeps the port.
        port = listener.getsockname()[1]
        listener.close()
        listener = _bound(settings, shared=True, port=port)
    return _Supervisor(home, settings, listener, workers).run(lambda: announce(address))


def check_exposed(home: Home, settings: GatewaySettings) -> None:
    """Raises UsageError where others could reach a gateway that asks nobody for a key."""
    if is_loopback(settings.host):
        return
    with home.store() as store:
        keys = IssuedKeys().honoured(store)
    if not keys:
        raise UsageError(
            f"The gateway would listen on {settings.host}, where other machines reach it, and no key exists.",
            "Expected virtual keys for anything but this machine's own address.",
            "Run: stepdown key create NAME, or serve on 127.0.0.1",
        )


def check_private(home: Home) -> None:
    """Raises ContractError where the settings hold back the requests of a task that there is not: they would go out as
    another task's. Where no task is known yet its requests are still to come."""
    private = {name: said for name, said in home.settings.tasks.items() if said.contract.privacy != "any"}
    if not private:
        return
    with home.store() as store:
        if store.tasks():
            check_settings(store, msgspec.structs.replace(home.settings, tasks=private))


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bound(settings: GatewaySettings, shared: bool, port: int | None = None) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, settings.port if port is None else port))
    except (OSError, UnicodeError) as error:
        listener.close()
        said = getattr(error, "strerror", None) or str(error)
        raise ResourceError(
            f"The gateway cannot listen on {settings.host}:{settings.port}: {said}.",
            "Expected a free port on an address of this machine.",
            "Stop what listens there, or pass another --port (0 takes any free one).",
        ) from None
    listener.setblocking(False)
    return listener


@dataclass(frozen=True)
class _Process:
    """What one process serves. workers: how many share the port. parent: a pipe that closes when the parent is gone,
    however it went."""

    home: Home
    settings: GatewaySettings
    listener: socket.socket
    run_folder: Path
    workers: int
    parent: int


def _run(process: _Process, ready: Callable[[], None]) -> int:
    import uvloop

    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(process, ready))


async def _serve(process: _Process, ready: Callable[[], None]) -> int:
    from stepdown.gateway.errors import malformed
    from stepdown.gateway.http.server import HttpServer, ServerLimits
    from stepdown.gateway.metric_names import IN_FLIGHT
    from stepdown.serve.worker import Gateway

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, ended.set)
    loop.add_reader(process.parent, ended.set)
    settings = process.settings
    gateway = Gateway(process.home, settings, process.run_folder, process.workers)
    try:
        await gateway.start()
    except BaseException:
        await gateway.stop(1.0)
        raise
    if not gateway.can_answer:
        await gateway.stop(1.0)
        raise UsageError(
            "There is nobody to answer: no upstream is set and no task has a certificate in force.",
            "Expected the large model's address, at least to record its traffic.",
            "Pass --upstream http://HOST:PORT/v1, or set [gateway] upstream in stepdown.toml.",
        )
    limits = ServerLimits(
        max_body=settings.max_body_bytes,
        max_bodies=settings.max_bytes_under_way,
        body_s=settings.body_timeout_s,
        max_connections_per_client=settings.max_connections_per_client,
    )
    server = HttpServer(gateway.app, malformed, limits, gateway.admit_head)
    gateway.metrics.read_from(IN_FLIGHT, lambda: {(): float(server.busy)})
    await server.start(process.listener)
    # What was opened lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    ready()
    await ended.wait()
    loop.remove_reader(process.parent)
    log.info("draining", extra={"requests": server.busy})
    gateway.end_soon()
    loop.call_later(settings.drain_s, gateway.cut)
    cut = await server.drain(settings.drain_s)
    lost = await gateway.stop(max(5.0, settings.drain_s))
    log.info("ended", extra={"cut_off": cut, "calls_lost": lost})
    return int(lost > 0)


@dataclass
class _Place:
    """A process that is to run. work: what it does; its exit code. due_at: when to start it anew, monotonic seconds."""

    name: str
    work: Callable[[], int]
    pid: int = 0
    deaths: int = 0
    started_at: float = 0.0
    due_at: float = 0.0


class _Supervisor:
    """Starts workers and the mover, and starts anew whoever dies, later and later, until it is told to end.

    It answers nothing itself and opens nothing that could fail. The kernel deals connections out to several workers; a
    single one has its parent's listener, where connections wait while it is down.
    """

    def __init__(self, home: Home, settings: GatewaySettings, listener: socket.socket, count: int) -> None:
        self._home, self._settings, self._listener, self._count = home, settings, listener, count
        self._run_folder = home.state / READ_FROM_RUN_FOLDER
        self._mover = _Place("mover", self._move)
        self._workers = [_Place("worker", self._serve) for _ in range(count)]
        # Each end of a pipe closes with the last process that has it: that is how they hear of each other's ends.
        self._parent, self._life = os.pipe()
        self._writers, self._writing = os.pipe()
        self._told, self._tell = os.pipe()
        self._wake, self._waker = os.pipe()
        self._ready = 0
        self._ending = False
        self._code = 0

    def run(self, announce: Callable[[], None]) -> int:
        """Until told to end; then all end gracefully. Returns 1 where calls were lost. Raises what keeps the first
        workers from starting at all."""
        from stepdown.gateway.run_folder import RunFolder

        place = RunFolder(self._run_folder)  # While it is there, what the dead counted stays counted.
        for pipe in (self._told, self._wake, self._waker):
            os.set_blocking(pipe, False)
        before = {number: signal.signal(number, self._end) for number in ENDING}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _wake_only)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            failure = self._watch(announce)
            self._end_mover(failure is None)
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            for pipe in (self._parent, self._life, self._writers, self._told, self._tell, self._wake, self._waker):
                os.close(pipe)
            place.leave()
        if failure is not None:
            raise failure
        return self._code

    def _watch(self, announce: Callable[[], None]) -> StepdownError | None:
        """Until all workers have ended. Returns what kept the first from starting."""
        failure: StepdownError | None = None
        while not (self._ending and not any(worker.pid for worker in self._workers)):
            if self._ending:
                self._end_workers()
            select.select([self._wake, self._told], [], [], None if self._ending else self._start_due())
            _read(self._wake)
            for line in _read(self._told).splitlines():
                was_ready = self._ready >= self._count
                self._ready += line == READY
                if line != READY and not self._ready:
                    failure, self._ending = failure or _failure(line), True
                elif self._ready >= self._count and not was_ready and not self._ending:
                    announce()
            self._reap()
        return failure

    def _end(self, number: int, frame: object) -> None:
        self._ending = True

    def _end_workers(self) -> None:
        self._listener.close()
        for worker in self._workers:
            if worker.pid and worker.due_at < float("inf"):
                worker.due_at = float("inf")  # Told once.
                os.kill(worker.pid, signal.SIGTERM)

    def _start_due(self) -> float | None:
        """Start whoever is due. Returns seconds until the next is; None where nobody is waited for."""
        now = time.monotonic()
        for place in (self._mover, *self._workers):
            if not place.pid and place.due_at <= now:
                self._fork(place)
        waits = [place.due_at - now for place in (self._mover, *self._workers) if not place.pid]
        return max(0.0, min(waits)) if waits else None

    def _reap(self) -> None:
        for place in (self._mover, *self._workers):
            if place.pid:
                pid, status = os.waitpid(place.pid, os.WNOHANG)
                if pid:
                    self._died(place, os.waitstatus_to_exitcode(status))

    def _died(self, place: _Place, code: int) -> None:
        place.pid = 0
        if self._ending:
            self._code = self._code or int(code > 0 and place is not self._mover)
            return
        now = time.monotonic()
        place.deaths = 1 if now - place.started_at >= LASTED_S else place.deaths + 1
        wait_s = min(FIRST_WAIT_S * 2 ** min(place.deaths - 1, 20), LONGEST_WAIT_S)
        place.due_at = now + wait_s
        log.error("process_died", extra={"which": place.name, "code": code, "again_in_s": wait_s})

    def _end_mover(self, starts: bool) -> None:
        """It ends by itself, when nobody is left who writes and all is moved. starts: whether it is started for that,
        where it is down."""
        if starts and not self._mover.pid:
            self._fork(self._mover)
        os.close(self._writing)
        until = time.monotonic() + max(5.0, self._settings.drain_s)
        while self._mover.pid and time.monotonic() < until:
            select.select([self._wake], [], [], 0.2)
            _read(self._wake)
            self._reap()
        if self._mover.pid:
            os.kill(self._mover.pid, signal.SIGKILL)
            os.waitpid(self._mover.pid, 0)
            log.warning("calls_left_on_disk", extra={"folder": str(self._home.capture)})

    def _fork(self, place: _Place) -> None:
        place.started_at = time.monotonic()
        # A signal that comes between is the child's own when it can take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        place.pid = os.fork()
        if place.pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            return
        code = 1
        try:
            with suppress(OSError):
                Path("/proc/self/comm").write_text(f"stepdown-{place.name}")  # For ps and top, where they are so told.
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in ENDING:
                # The mover is not meant: what workers recorded last is still to be moved.
                signal.signal(number, signal.SIG_IGN if place is self._mover else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            for pipe in (self._life, self._told, self._wake, self._waker):
                os.close(pipe)
            code = place.work()
        except StepdownError as error:
            log.error("not_started", extra={"which": place.name, "error": str(error)})
            if place is not self._mover:
                fields = [type(error).__name__, error.got, error.expected, error.next_step]
                os.write(self._tell, msgspec.json.encode(fields) + b"\n")
        except BaseException:  # a child's outermost boundary: the parent has the command line
            log.exception("process_failed")
        finally:
            os._exit(code)

    def _serve(self) -> int:
        os.close(self._writers)
        listener = self._listener
        if self._count > 1:
            listener = _bound(self._settings, shared=True, port=listener.getsockname()[1])
            self._listener.close()
        process = _Process(self._home, self._settings, listener, self._run_folder, self._count, self._parent)
        return _run(process, lambda: _tell(self._tell))

    def _move(self) -> int:
        os.close(self._writing)
        self._listener.close()
        from stepdown.serve.mover_process import move_calls

        return move_calls(self._home, self._run_folder, self._writers)


def _wake_only(number: int, frame: object) -> None:
    """Being called is enough: whoever waits goes on."""


def _tell(pipe: int) -> None:
    os.write(pipe, READY + b"\n")


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return b""


def _failure(line: bytes) -> StepdownError:
    """What a child could not start for, as it raised it."""
    kind, *said = msgspec.json.decode(line, type=tuple[str, str, str, str])
    found: type[StepdownError] = getattr(errors, kind, StepdownError)
    failure = found.__new__(found)
    StepdownError.__init__(failure, *said)
    return failure
