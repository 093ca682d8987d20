"""The process that moves what gateways captured into the store, and tidies the store up."""

from __future__ import annotations

import gc
import os
import select
import threading
import time
from pathlib import Path

import stepdown
from stepdown.gateway import metric_names as names
from stepdown.gateway.logs import log_request
from stepdown.gateway.match_rate import MatchRateAlarm
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.mover import Listener, Mover, tidy
from stepdown.gateway.run_folder import RunFolder
from stepdown.gateway.segments import held_bytes
from stepdown.gateway.telemetry import telemetry_of
from stepdown.project.home import Home
from stepdown.traffic.pricing import Prices

EVERY_S = 0.1
"""Between two passes, unless a whole batch waits: many calls at once cost half as much a call as a few."""
AT_ONCE = 512
"""So many calls are moved in one transaction."""
RUSH_BYTES_S, FREE = 1 << 20, 0.75
"""While more arrives and a smaller share of the processors' time is free, calls wait on disk, for a while."""
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
    rush = _Rush()
    while time.monotonic() < until:
        is_ending = until < float("inf")
        is_late = time.monotonic() - caught_up_at > settings.capture_lag_s
        held = held_bytes(home.capture)
        may_move = not rush.is_on(held + mover.deleted_bytes) or is_late or is_ending or held > lag_bytes
        moved = mover.move(AT_ONCE) if may_move else 0
        if may_move and moved < AT_ONCE:
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


class _Rush:
    """Whether so many calls arrive on busy processors that moving them now would make answers slower."""

    def __init__(self) -> None:
        self._at, self._captured, self._times = time.monotonic(), 0, _processor_times()
        self._is_on = False

    def is_on(self, captured: int) -> bool:
        """captured: bytes of calls so far."""
        passed_s = time.monotonic() - self._at
        if passed_s >= EVERY_S:
            free, total = (now - before for now, before in zip(_processor_times(), self._times, strict=True))
            arrived = captured - self._captured > RUSH_BYTES_S * passed_s
            self._is_on = arrived and free < FREE * total
            self._at, self._captured, self._times = time.monotonic(), captured, _processor_times()
        return self._is_on


def _processor_times() -> tuple[float, float]:
    """(free, all) in seconds since the start: free is what nobody used, or what gives way to others (nice), or this
    process. Zeros where the system does not say."""
    try:
        with open("/proc/stat", "rb") as file:
            times = [int(each) / os.sysconf("SC_CLK_TCK") for each in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return 0.0, 0.0
    return sum(times[place] for place in (1, 3, 4)) + time.process_time(), sum(times)
