"""The process that moves what gateways captured into the store, and tidies the store up."""

from __future__ import annotations

import gc
import os
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
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
POLITENESS = 5
"""What is added to its niceness while little waits: on a busy machine answers come first, and calls wait on disk."""
AT_ONCE, LONGEST_S = 512, 1.0
"""So many calls are moved politely at once. Where that took longer it was starved, and the next are moved as any."""
END_S = 60.0
"""How long it tries to move what is left, when all others have ended."""
BEHIND = 0.25
"""The share of what may wait, beyond which it is polite no more."""
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
    until, took_s = float("inf"), 0.0
    # Niceness is a thread's own, and cannot be taken back.
    with ThreadPoolExecutor(1, initializer=os.nice, initargs=(POLITENESS,)) as polite:
        while time.monotonic() < until:
            is_ending = until < float("inf")
            is_behind = took_s > LONGEST_S or is_ending or held_bytes(home.capture) > BEHIND * settings.capture_bytes
            started = time.monotonic()
            moved = mover.move(AT_ONCE) if is_behind else polite.submit(mover.move, AT_ONCE).result()
            took_s = time.monotonic() - started
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
