"""The process that moves what gateways captured into the store, and tidies the store up."""

from __future__ import annotations

import gc
import os
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import stepdown
from stepdown.gateway import metric_names as names
from stepdown.gateway.logs import log_request
from stepdown.gateway.match_rate import MatchRateAlarm
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.mover import Listener, Mover
from stepdown.gateway.retention import tidy
from stepdown.gateway.run_folder import RunFolder
from stepdown.gateway.segments import held_bytes
from stepdown.gateway.telemetry import telemetry_of
from stepdown.project.home import Home
from stepdown.traffic.pricing import Prices

EVERY_S = 0.1
"""Between two passes, unless a whole batch waits: many calls at once cost half as much a call as a few."""
AT_ONCE = 512
"""So many calls are moved in one transaction."""
STARVED_S = 1.0
"""A transaction that took longer finds no idle processor time."""
END_S = 60.0
"""How long it tries to move what is left, when all others have ended."""
BEHIND = 0.25
"""The share of what may wait, beyond which calls are moved beside requests whatever lag is allowed."""
FIRST_TIDY_S, TIDY_S = 60.0, 3600.0
FIRST_WATCH_S, WATCH_S = 2.0, 30.0
"""How often it is looked whether tasks' requests are still known."""
GC_THRESHOLDS = (50_000, 20, 100)


def move_calls(home: Home, run_folder: Path, life: int) -> int:
    """Move until the other end of the pipe `life` is closed by all who hold it, and all is moved that can be."""
    settings = home.settings.gateway
    telemetry = telemetry_of(os.environ, settings.all_upstreams())
    listeners: list[Listener] = [log_request] if settings.log_requests else []
    if telemetry is not None:
        listeners.append(telemetry)
    siblings = RunFolder(run_folder)
    metrics = Metrics(stepdown.__version__, siblings, answers=False)
    mover = Mover(home.capture, home.store, Prices(home.settings.prices).cost, metrics, listeners)
    metrics.read_from(names.MOVERS, lambda: {(): 1.0})
    metrics.read_from(names.STORE_HEALTHY, lambda: {(): float(not mover.last_error)})
    metrics.read_from(names.WAITING_BYTES, lambda: {(): float(mover.waiting_bytes())})
    alarm = MatchRateAlarm(home.store, home.clock)
    metrics.read_from(names.MATCH_RATE, alarm.gauge)
    watch_at = time.monotonic() + FIRST_WATCH_S
    tidy_at = time.monotonic() + FIRST_TIDY_S
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    lag_bytes = min(settings.capture_lag_bytes, BEHIND * settings.capture_bytes)
    until, caught_up_at = float("inf"), time.monotonic()
    with ThreadPoolExecutor(1) as idle:
        while time.monotonic() < until:
            is_ending = until < float("inf")
            is_late = time.monotonic() - caught_up_at > settings.capture_lag_s
            if is_ending or is_late or held_bytes(home.capture) > lag_bytes:
                moved = mover.move(AT_ONCE)
            else:
                moved = _when_idle(idle, mover)
            if moved < AT_ONCE:
                caught_up_at = time.monotonic()
            metrics.publish()
            if is_ending and not moved and not (mover.last_error and mover.waiting_bytes()):
                break
            if is_ending:
                time.sleep(0.0 if moved else EVERY_S)
            elif select.select([life], [], [], 0.0 if moved >= AT_ONCE else EVERY_S)[0]:
                until = time.monotonic() + END_S
            if not is_ending and time.monotonic() >= watch_at:
                watch_at = time.monotonic() + WATCH_S
                alarm.look()
            if mover.alone() and time.monotonic() >= tidy_at:
                tidy_at = time.monotonic() + TIDY_S
                given = (home.store, settings.retention_s, home.clock())
                threading.Thread(target=tidy, args=given, name="stepdown-retention", daemon=True).start()
    mover.close()
    if telemetry is not None:
        telemetry.close()
    metrics.publish(at_once=True)
    siblings.leave()
    return 0


def _when_idle(idle: ThreadPoolExecutor, mover: Mover) -> int:
    """As `Mover.move`, on a thread that runs only while a processor has nothing else to do. Where it is starved it is
    given its priority back, if the system allows that: it may hold the store's lock."""
    thread: list[int] = []

    def move() -> int:
        thread.append(threading.get_native_id())
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return mover.move(AT_ONCE)

    moving = idle.submit(move)
    try:
        return moving.result(STARVED_S)
    except TimeoutError:
        with suppress(OSError, IndexError):
            os.sched_setscheduler(thread[0], os.SCHED_OTHER, os.sched_param(0))
        return moving.result()
