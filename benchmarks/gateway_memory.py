"""The gateway's memory over a million requests to its certified encoder, every call recorded and old ones forgotten.

usage: python -m benchmarks.gateway_memory [--requests 1000000] [--rung encoder] [--retention 10m] [--encoder-home DIR]

Resident memory of all its processes is read every 5 s. Exits 1 where it passed 250 MB, grew by more than 5 MB over the
second half (a line fitted to it), or where a request failed or was not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._gateway import homes, processes, traffic
from benchmarks._gateway.processes import Server
from benchmarks._gateway.wrk import Load, Wrk

LIMIT_MB, GROWTH_MB = 250.0, 5.0
CONNECTIONS = 32
TURN_S = 20.0
QUIET_S = 10.0


@dataclass(frozen=True)
class Reading:
    """at_s: since the load began."""

    at_s: float
    rss_mb: float
    answered: int
    disk_mb: float


def main() -> None:
    """Print the readings, thinned, and what they amount to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--retention", default="10m", help="How long calls are kept; 0 for ever.")
    parser.add_argument("--rung", choices=sorted(homes.KINDS), default="encoder")
    parser.add_argument("--encoder-home", "--linear-home", dest="home", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        home = homes.home_for(chosen.rung, chosen.home, scratch)
        if chosen.retention != "0":
            with (home / "stepdown.toml").open("a", encoding="utf-8") as settings:
                settings.write(f'\n[gateway]\nretention = "{chosen.retention}"\n')
        bodies = [one.body for one in traffic.requests_of_task(512)]
        wrk = Wrk("memory", bodies, scratch)
        with (
            processes.fixed_upstream(scratch) as upstream,
            processes.gateway(home, f"{upstream.url}/v1", scratch) as server,
        ):
            readings, loads = _under_load(server, wrk, home, chosen)
            faults = _report(server, readings, loads)
    print("\n".join(faults) or "Memory is flat, and nothing was lost.")
    sys.exit(1 if faults else 0)


def _under_load(server: Server, wrk: Wrk, home: Path, chosen: argparse.Namespace) -> tuple[list[Reading], list[Load]]:
    loads: list[Load] = []
    started = time.monotonic()
    readings = [_read(server, home, started)]
    sending = threading.Thread(target=_send, args=(server, wrk, chosen.requests, loads), daemon=True)
    sending.start()
    while sending.is_alive():
        sending.join(chosen.every)
        readings.append(_read(server, home, started))
    time.sleep(QUIET_S)
    readings.append(_read(server, home, started))
    if sum(load.requests for load in loads) < chosen.requests:
        raise SystemExit("wrk ended with an error; what it said is above.")
    return readings, loads


def _send(server: Server, wrk: Wrk, requests: int, loads: list[Load]) -> None:
    """In turns, for wrk knows no number of requests to end after."""
    while (left := requests - sum(load.requests for load in loads)) > 0:
        rate = loads[-1].rate if loads else 0.0
        seconds = TURN_S if loads or requests > 50_000 else 2.0
        loads.append(wrk.load(server.url, CONNECTIONS, min(seconds, left / rate + 1.0) if rate else seconds))


def _read(server: Server, home: Path, started: float) -> Reading:
    answered = sum(server.figures("stepdown_requests_total").values())
    return Reading(time.monotonic() - started, server.rss_mb(), round(answered), homes.store_mb(home))


def _report(server: Server, readings: list[Reading], loads: list[Load]) -> list[str]:
    requests, failed = sum(load.requests for load in loads), sum(load.failed for load in loads)
    rate = requests / sum(load.seconds for load in loads)
    print("\n| seconds | requests | resident MB | store MB |\n| --- | --- | --- | --- |")
    for reading in [*readings[:: max(1, len(readings) // 20)], readings[-1]]:
        print(f"| {reading.at_s:.0f} | {reading.answered:,} | {reading.rss_mb:.1f} | {reading.disk_mb:.0f} |")
    most = max(reading.rss_mb for reading in readings)
    growth = grown_mb([(reading.at_s, reading.rss_mb) for reading in readings[:-1]])
    dropped = sum(server.figures("stepdown_dropped_calls_total").values())
    rss = f"{readings[0].rss_mb:.0f} MB at the start, at most {most:.0f}, {readings[-1].rss_mb:.0f} at the end"
    print(f"\n{requests:,} requests at {rate:,.0f}/s, {failed} failed, {dropped:.0f} calls dropped")
    print(f"Resident: {rss}, {growth:+.1f} MB over the second half")
    print(f"Shared pages counted once: {server.pss_mb():.0f} MB at the end. The store: {readings[-1].disk_mb:,.0f} MB")
    wrong = {
        f"Memory passed {LIMIT_MB:.0f} MB.": most > LIMIT_MB,
        f"Memory grew by more than {GROWTH_MB:.0f} MB over the second half.": growth > GROWTH_MB,
        "Requests failed.": failed > 0,
        "Calls were dropped.": dropped > 0,
        "Fewer requests were counted than answered.": readings[-1].answered < requests,
    }
    return [what for what, is_so in wrong.items() if is_so]


def grown_mb(points: list[tuple[float, float]]) -> float:
    """By how much the second half of (seconds, MB) grows, as a line fitted to it says; 0.0 for too few points."""
    half = np.array(points[len(points) // 2 :])
    if len(half) < 3:
        return 0.0
    slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0])
    return slope * float(half[-1, 0] - half[0, 0])


if __name__ == "__main__":
    main()
