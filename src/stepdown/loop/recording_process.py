"""The process that records for a gateway, and ends when the gateway does.

`python -m stepdown.loop.recording_process HOME RUN_FOLDER SOCKET`
"""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import stepdown
from stepdown.curation.personal_data import mask
from stepdown.gateway import metric_names as names
from stepdown.gateway.channel import Charge, Frames, Report, fill_in, framed, unpack
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.lean_outcome import lean_or_whole
from stepdown.gateway.logs import configure_logs, log_request
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import Outcome, outcome_of
from stepdown.gateway.recorder import Listener, Recorder, RecorderOptions
from stepdown.gateway.run_folder import RunFolder
from stepdown.gateway.telemetry import telemetry_of
from stepdown.loop.home import Home, open_home
from stepdown.loop.settings import Settings
from stepdown.traffic.pricing import Prices

REPORT_S = 0.1
ROOM_S = 0.002
GC_THRESHOLDS = (50_000, 20, 100)
"""Thousands of exchanges may wait at once, none of them in a cycle: looking for some would cost half the time."""
DRAIN_S = 20.0
_READ = 1 << 20


class Recording:
    """Reads what the gateway tells, records it, and says now and then how it goes."""

    def __init__(self, home: Home, channel: socket.socket, run_folder: Path) -> None:
        self._channel = channel
        self._charges: list[Charge] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._siblings = RunFolder(run_folder)
        self._metrics = Metrics(stepdown.__version__, self._siblings, answers=False)
        self._telemetry = telemetry_of(os.environ, home.settings.gateway.all_upstreams())
        # A log line and a span tell what was asked for: the model, the temperature.
        self._looks_inside = self._telemetry is not None or home.settings.gateway.log_requests
        self._room = home.settings.gateway.queue_bytes // 4
        self._recorder = _recorder(home, self._metrics, self._listeners(home.settings), self._looks_inside)
        read = self._metrics.read_from
        read(names.QUEUE, lambda: {("recorder",): float(self._recorder.waiting)})
        read(names.QUEUE_BYTES, lambda: {(): float(self._recorder.waiting_bytes)})
        read(names.STORE_HEALTHY, lambda: {(): float(self._recorder.healthy)})

    def run(self) -> int:
        """Until the gateway closes its end. Returns 1 where calls were lost."""
        self._report(None)
        reporter = threading.Thread(target=self._keep_reporting, daemon=True)
        reporter.start()
        frames = Frames()
        buffer = memoryview(bytearray(_READ))
        while size := self._read(buffer):
            for frame in frames.feed(buffer[:size]):
                exchange = unpack(frame)
                if self._looks_inside:
                    fill_in(exchange)
                self._recorder.put(exchange)
            # What is not read waits with the gateway, which then takes requests more slowly rather than lose calls.
            while self._recorder.waiting_bytes > self._room and self._recorder.healthy:
                time.sleep(ROOM_S)
        left = self._recorder.drain(DRAIN_S)
        self._over.set()
        reporter.join()
        if self._telemetry is not None:
            self._telemetry.close()
        self._report(lost=left.calls)
        self._siblings.leave()
        return int(left.calls > 0)

    def _read(self, buffer: memoryview) -> int:
        try:
            return self._channel.recv_into(buffer)
        except OSError:
            return 0

    def _listeners(self, settings: Settings) -> list[Listener]:
        listeners: list[Listener] = [self._charge]
        if self._telemetry is not None:
            listeners.append(self._telemetry)
        if settings.gateway.log_requests:
            listeners.append(log_request)
        return listeners

    def _charge(self, exchange: Exchange, outcome: Outcome) -> None:
        if exchange.key is None and exchange.task is None:
            return
        key = exchange.key.id if exchange.key else ""
        task = exchange.task.name if exchange.task else ""
        with self._lock:
            self._charges.append(Charge(key, task, outcome.tokens, outcome.cost_usd or 0.0))

    def _keep_reporting(self) -> None:
        told = (True, "")
        while not self._over.wait(REPORT_S):
            now = (self._recorder.healthy, self._recorder.last_error)
            if self._charges or now != told:
                self._report(None)
                told = now

    def _report(self, lost: int | None) -> None:
        with self._lock:
            charges, self._charges = self._charges, []
        report = Report(charges, self._recorder.healthy, self._recorder.last_error, lost)
        try:
            self._channel.sendall(framed(report))
        except OSError:
            self._over.set()  # The gateway is gone: what it told is still written.


def _recorder(home: Home, metrics: Metrics, listeners: list[Listener], looks_inside: bool) -> Recorder:
    settings, said = home.settings, home.settings.gateway
    return Recorder(
        home.store,
        RecorderOptions(
            said.capture_share,
            said.unmatched_capture,
            said.queue_bytes,
            outcome=outcome_of if looks_inside else lean_or_whole,
        ),
        Prices(settings.prices).cost,
        mask,
        metrics,
        random.Random(os.urandom(16)),
        listeners,
    )


def main(arguments: list[str]) -> int:
    folder, run_folder, number = arguments
    # The gateway ends first, and what it told last is still to be written.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    configure_logs(sys.stderr)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with socket.socket(fileno=int(number)) as channel:
        return Recording(open_home(folder), channel, Path(run_folder)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
