"""Running the gateway: one process, or several that share a port; signals, start and graceful end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stepdown.core.errors import ResourceError, UsageError
from stepdown.core.gateway import GatewaySettings
from stepdown.gateway.http.target import is_loopback
from stepdown.loop.home import Home

log = logging.getLogger("stepdown.gateway")

SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while the event loop waits for it: the default of 5 ms would be the
latency of every request that meets a student or a look at the store."""
GC_THRESHOLD = 20_000
"""A request leaves hardly anything in cycles: the default would look for them every few requests."""
RESTARTS, RESTART_WINDOW_S = 5, 30.0
READ_FROM_RUN_FOLDER = "run"

Announce = Callable[[str], None]
"""Called with the address when requests may come."""


def serve(home: Home, settings: GatewaySettings, workers: int, announce: Announce) -> int:
    """Serve until told to end. Returns 0, or 1 where calls were lost. Raises UsageError, ResourceError, StoreError."""
    from stepdown.gateway.logs import configure_logs

    configure_logs(sys.stderr)
    check_exposed(home, settings)
    listener = _bound(settings, shared=workers > 1)
    address = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
    run_folder = home.state / READ_FROM_RUN_FOLDER
    if workers == 1:
        return _run(_Process(home, settings, listener, run_folder), lambda: announce(address))
    return _Workers(home, settings, listener, run_folder, workers).run(lambda: announce(address))


def check_exposed(home: Home, settings: GatewaySettings) -> None:
    """Raises UsageError where others could reach a gateway that asks nobody for a key."""
    if is_loopback(settings.host):
        return
    with home.store() as store:
        keys = store.keys()
    if not keys:
        raise UsageError(
            f"The gateway would listen on {settings.host}, where other machines reach it, and no key exists.",
            "Expected virtual keys for anything but this machine's own address.",
            "Run: stepdown key create NAME, or serve on 127.0.0.1",
        )


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
    however it went; None where there is none."""

    home: Home
    settings: GatewaySettings
    listener: socket.socket
    run_folder: Path
    workers: int = 1
    parent: int | None = None


def _run(process: _Process, ready: Callable[[], None]) -> int:
    import uvloop

    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(process, ready))


async def _serve(process: _Process, ready: Callable[[], None]) -> int:
    from stepdown.gateway.errors import malformed
    from stepdown.gateway.http.server import HttpServer, ServerLimits
    from stepdown.gateway.metric_names import IN_FLIGHT
    from stepdown.loop.serving import Gateway

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if process.parent is not None:
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
    if process.parent is not None:
        loop.remove_reader(process.parent)
    log.info("draining", extra={"requests": server.busy})
    gateway.end_soon()
    cut = await server.drain(settings.drain_s)
    lost = await gateway.stop(max(5.0, settings.drain_s))
    log.info("ended", extra={"cut_off": cut, "calls_lost": lost})
    return int(lost > 0)


class _Workers:
    """Several processes on one port: the kernel deals connections out, the parent starts those anew that die."""

    def __init__(
        self, home: Home, settings: GatewaySettings, listener: socket.socket, run_folder: Path, count: int
    ) -> None:
        self._home, self._settings, self._run_folder, self._count = home, settings, run_folder, count
        self._holder = listener
        self._children: set[int] = set()
        self._alive, self._life = os.pipe()
        self._deaths: list[float] = []
        self._ending = False
        self._code = 0

    def run(self, ready: Callable[[], None]) -> int:
        """Until told to end; then all children end gracefully. Returns 1 where a child lost calls or kept dying."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        told, tell = os.pipe()
        for _ in range(self._count):
            self._fork(tell)
        waited = 0
        os.set_blocking(told, False)
        while waited < self._count and self._children:
            try:
                waited += len(os.read(told, self._count))
            except BlockingIOError:
                time.sleep(0.01)
                self._reap(tell, block=False)
        if self._children and not self._ending:
            ready()
        while self._children:
            self._reap(tell, block=True)
        return self._code

    def _end(self, number: int, frame: object) -> None:
        self._ending = True
        for child in self._children:
            os.kill(child, signal.SIGTERM)

    def _fork(self, tell: int) -> None:
        child = os.fork()
        if child:
            self._children.add(child)
            return
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._life)
            port = self._holder.getsockname()[1]
            listener = _bound(self._settings, shared=True, port=port)
            self._holder.close()
            process = _Process(self._home, self._settings, listener, self._run_folder, self._count, self._alive)
            code = _run(process, lambda: _tell(tell))
        except Exception as error:  # noqa: BLE001 a child's outermost boundary: the parent has the command line
            print(f"stepdown: a gateway process could not start: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)

    def _reap(self, tell: int, block: bool) -> None:
        try:
            child, status = os.waitpid(-1, 0 if block else os.WNOHANG)
        except (ChildProcessError, InterruptedError):
            return
        if not child:
            return
        self._children.discard(child)
        code = os.waitstatus_to_exitcode(status)
        if self._ending:
            self._code = self._code or int(code != 0)
            return
        log.error("process_died", extra={"code": code})
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < RESTART_WINDOW_S] + [now]
        if len(self._deaths) > RESTARTS:
            log.error("giving_up", extra={"deaths": len(self._deaths)})
            self._code = 1
            self._end(signal.SIGTERM, None)
            return
        time.sleep(0.2 * len(self._deaths))
        self._fork(tell)


def _tell(pipe: int) -> None:
    os.write(pipe, b"1")
