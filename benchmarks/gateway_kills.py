"""Kills (-9) of a gateway's processes under load: what clients got whole against what the store has afterwards.

usage: python -m benchmarks.gateway_kills [--kills 300] [--rate 300] [--workers 1] [--seconds 3]

Worker, mover and both are killed in turn, with the store as usual, locked by another process, and on a full disk (a
tmpfs of its own, which takes root; else left out). Half of the answers are streams. After each kill the load stops
until all is moved; then every id whose answer came to its last byte must be in the store, and the store's sums must say
as many requests as it has calls. Exits 1 where one is lost, doubled or uncounted.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks._gateway import processes
from benchmarks._gateway.processes import Server
from benchmarks._gateway.wire_client import Client
from stepdown.project.home import open_home

VICTIMS = (("worker",), ("mover",), ("worker", "mover"))
STATES = ("normal", "locked", "full")
CONNECTIONS = 16
MOVED_WITHIN_S = 90.0
DISK = "256m"


@dataclass
class Tried:
    """What came of the kills of one sort."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    uncounted: int = 0
    longest_s: float = 0.0


class Trial:
    """A gateway under load. place: where its store lies."""

    def __init__(self, server: Server, home: Path, place: Path, chosen: argparse.Namespace) -> None:
        self.server, self.home, self._place, self._chosen = server, home, place, chosen
        self._numbers = itertools.count()
        self._before = (0, 0)

    async def kill(self, victims: tuple[str, ...], state: str, tried: Tried) -> None:
        """Load, one kill in its midst while the store is in that state, quiet, comparison."""
        acknowledged: list[str] = []
        ended = asyncio.Event()
        clients = [asyncio.create_task(self._ask(acknowledged, ended)) for _ in range(CONNECTIONS)]
        await asyncio.sleep(self._chosen.seconds * 0.5)
        with self._in_state(state):
            await asyncio.sleep(self._chosen.seconds * 0.25)
            for pid in [pid for name in victims for pid in await self._pids(name)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(self._chosen.seconds * 0.5)
        await asyncio.sleep(self._chosen.seconds * 0.25)
        ended.set()
        await asyncio.gather(*clients)
        started = time.monotonic()
        while not self._is_moved() and time.monotonic() - started < MOVED_WITHIN_S:
            await asyncio.sleep(0.05)
        tried.longest_s = max(tried.longest_s, time.monotonic() - started)
        self._compare(acknowledged, tried)

    async def _ask(self, acknowledged: list[str], ended: asyncio.Event) -> None:
        client = Client(self.server.port)
        headers = {"content-type": "application/json"}
        every_s = CONNECTIONS / self._chosen.rate
        while not ended.is_set():
            started, number = time.monotonic(), next(self._numbers)
            body = {
                "model": "m",
                "stream": number % 2 == 0,
                "messages": [{"role": "user", "content": f"text {number}"}],
            }
            answer = await client.ask("/v1/chat/completions", json.dumps(body).encode(), headers)
            if answer.whole and answer.status == 200:
                acknowledged.append(answer.headers["x-stepdown-id"])
            await asyncio.sleep(max(0.001, every_s - (time.monotonic() - started)))
        client.leave()

    async def _pids(self, name: str) -> list[int]:
        """The processes of a name, once there are any."""
        while True:
            found = []
            for child in psutil.Process(self.server.process.pid).children():
                with suppress(psutil.Error, OSError):
                    if Path(f"/proc/{child.pid}/comm").read_text().strip() == f"stepdown-{name}":
                        found.append(child.pid)
            if found:
                return found
            await asyncio.sleep(0.02)

    @contextmanager
    def _in_state(self, state: str) -> Iterator[None]:
        filler = self._place / "filler"
        with ExitStack() as stack:
            if state == "locked":
                connection = sqlite3.connect(self._place / "store.sqlite", isolation_level=None, timeout=30.0)
                stack.callback(connection.close)
                connection.execute("BEGIN IMMEDIATE")
            elif state == "full":
                stack.callback(filler.unlink)
                with suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1 << 16))
                with suppress(OSError), filler.open("ab", buffering=0) as file:
                    while True:
                        file.write(bytes(512))
            yield

    def _is_moved(self) -> bool:
        with open_home(self.home).store() as store:
            for path in (self.home / ".stepdown/capture").glob("*.segment"):
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    if store.taken(path.stem) < size and path.exists():
                        return False
        return True

    def _compare(self, acknowledged: list[str], tried: Tried) -> None:
        with open_home(self.home).store() as store:
            there = {call.id for call in store.calls_by_id(acknowledged)}
            calls, requests = store.count_calls(), sum(row.requests for row in store.served())
        more_calls, more_requests = calls - self._before[0], requests - self._before[1]
        self._before = (calls, requests)
        tried.kills += 1
        tried.acknowledged += len(acknowledged)
        tried.lost += len(set(acknowledged) - there)
        tried.doubled += max(0, more_requests - more_calls)
        tried.uncounted += max(0, more_calls - more_requests)


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Whether the folder is a file system of its own now."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


async def trials(trial: Trial, kills: int, states: tuple[str, ...]) -> dict[tuple[str, str], Tried]:
    sorts = list(itertools.product(VICTIMS, states))
    found = {(" and ".join(victims), state): Tried() for victims, state in sorts}
    for number in range(kills):
        victims, state = sorts[number % len(sorts)]
        await trial.kill(victims, state, found[" and ".join(victims), state])
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {kills}", end="", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--rate", type=float, default=300.0, help="Requests a second.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="Of load for each kill, which is at its half.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        home, place = scratch / "home", scratch / "disk"
        home.mkdir()
        states = STATES if stack.enter_context(small_disk(place)) else STATES[:2]
        (home / "stepdown.toml").write_text(f'store = "sqlite:{place / "store.sqlite"}"\n', encoding="utf-8")
        upstream = stack.enter_context(processes.right_upstream(scratch))
        server = stack.enter_context(
            processes.gateway(home, f"{upstream.url}/v1", scratch, "--workers", str(chosen.workers))
        )
        started = time.monotonic()
        found = asyncio.run(trials(Trial(server, home, place, chosen), chosen.kills, states))
        seconds = time.monotonic() - started
    print("| killed | store | kills | acknowledged | lost | doubled | uncounted | all moved after, at most |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (victims, state), one in found.items():
        cells = (one.kills, f"{one.acknowledged:,}", one.lost, one.doubled, one.uncounted, f"{one.longest_s:.1f} s")
        print(f"| {victims} | {state} | {' | '.join(map(str, cells))} |")
    wrong = sum(one.lost + one.doubled + one.uncounted for one in found.values())
    total = sum(one.acknowledged for one in found.values())
    print(
        f"\n{chosen.kills} kills, {total:,} calls acknowledged in {seconds:.0f} s; {wrong} lost, doubled or uncounted."
    )
    sys.exit(1 if wrong or not total else 0)


if __name__ == "__main__":
    main()
