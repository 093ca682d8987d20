"""24 hours in small: mixed load for ten minutes on an upstream that fails, stalls, cuts streams and answers garbage.

usage: python -m benchmarks.gateway_soak [--minutes 10] [--rate 300] [--faults 500=0.02,...] [--linear-home DIR]

Every answer is compared with the only right one: the upstream answers a hash of what it was asked, students answer as
`stepdown answer` does offline. On the way the certificate is swapped for another build's, the store is locked for 5 s
by a stopped process, and the upstream refuses everything for 5 s. Exits 1 on a wrong answer, a leak (memory, files,
threads, requests that never end) or a lost call.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks._gateway import homes, processes, traffic
from benchmarks._gateway.processes import Server
from benchmarks._gateway.soak_clients import Clients, Seen
from benchmarks._gateway.wire_client import Client
from benchmarks.gateway_memory import GROWTH_MB, grown_mb

FAULTS = "500=0.03,429=0.02,stall=0.003,reset=0.02,cut=0.03,not-http=0.01,garbage=0.02,half=0.02"
LOCK_S = 5.0
SPARE_FILES = 2
CATCH_UP_S = 120.0

_UPSTREAM = """
[[gateway.upstreams]]
name         = "faulty"
url          = "{url}/v1"
first_byte_s = 2.0
total_s      = 10.0
"""

_LOCK = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
store.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
store.execute("ROLLBACK")
"""


@dataclass(frozen=True)
class Levels:
    """What a gateway holds when nobody asks it anything."""

    rss_mb: float
    files: int
    threads: int
    in_flight: float

    @classmethod
    def of(cls, server: Server) -> Levels:
        in_flight = sum(server.figures("stepdown_requests_in_flight").values()) - 1  # This request itself.
        return cls(server.rss_mb(), server.open_files(), server.threads(), in_flight)


def main() -> None:
    """Run the soak and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rate", type=float, default=300.0, help="Requests a second of all clients together.")
    parser.add_argument("--quiet", type=float, default=40.0, help="Seconds of quiet before and after, to compare.")
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--linear-home", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        home = homes.home_for("linear", chosen.linear_home, scratch)
        other = _other_build(home, scratch)
        asked = traffic.requests_of_task(400, step=13)
        texts = [one.text for one in asked]
        right = {_certificate(each): traffic.answers_offline(each, texts) for each in (home, other)}
        port = processes.free_port()
        command = [sys.executable, "-m", "benchmarks._gateway.faulty_upstream", str(port), str(chosen.seed)]
        upstream = stack.enter_context(
            processes.running("upstream", [*command, chosen.faults], port, "/counts", scratch / "upstream.log")
        )
        with (home / "stepdown.toml").open("a", encoding="utf-8") as settings:
            settings.write(_UPSTREAM.format(url=upstream.url))
        server = stack.enter_context(processes.gateway(home, "", scratch))
        soak = Soak(server, upstream, home, other, chosen)
        faults = soak.run(asked)
        faults += _students_right(soak.seen, right)
        faults += _all_kept(home, soak.seen)
        log = server.log.read_text(encoding="utf-8", errors="replace")
    if "Traceback" in log:
        faults.append(f"The gateway's log has a traceback: {log[log.index('Traceback') :][:2000]}")
    print("\n".join(faults) or "No wrong answer, no leak, no lost call.")
    sys.exit(1 if faults else 0)


class Soak:
    """The load with its events."""

    def __init__(self, server: Server, upstream: Server, home: Path, other: Path, chosen: argparse.Namespace) -> None:
        self.server, self.upstream, self.home, self.other, self.chosen = server, upstream, home, other, chosen
        self.seen = Seen()
        self.memory: list[tuple[float, float]] = []

    def run(self, asked: Sequence[traffic.Asked]) -> list[str]:
        """Warm up, be quiet, load, be quiet; compare. Returns what was wrong."""
        seconds = self.chosen.minutes * 60.0
        asyncio.run(self._load(asked, "warming", min(20.0, seconds / 4), ()))
        before = self._quiet()
        events = ((0.3, self._swap), (0.4, self._lock), (0.48, self._outage))
        asyncio.run(self._load(asked, "soak", seconds, events))
        after = self._quiet()
        counts = json.loads(self.upstream.get("/counts")[1])
        self._show(before, after, counts)
        return self._faults(before, after, counts)

    async def _load(
        self,
        asked: Sequence[traffic.Asked],
        name: str,
        seconds: float,
        events: Sequence[tuple[float, Callable[[], Awaitable[None]]]],
    ) -> None:
        until = time.monotonic() + seconds
        clients = Clients(self.server.port, asked, self.seen, name)
        tasks = [asyncio.create_task(self._client(clients, number, until)) for number in range(self.chosen.clients)]
        tasks += [asyncio.create_task(self._later(share * seconds, event)) for share, event in events]
        if events:
            tasks.append(asyncio.create_task(self._watch(until)))
        await asyncio.gather(*tasks)

    async def _client(self, clients: Clients, number: int, until: float) -> None:
        """A steady client: a slow answer delays its next request, as it does for a real one."""
        dice = random.Random(f"{self.chosen.seed} {number} {until}")
        client = Client(self.server.port)
        every_s = self.chosen.clients / self.chosen.rate
        await asyncio.sleep(dice.random() * every_s)
        while time.monotonic() < until:
            started = time.monotonic()
            await clients.ask_once(client, dice)
            await asyncio.sleep(max(0.0, every_s * (0.5 + dice.random()) - (time.monotonic() - started)))
        client.leave()

    async def _later(self, seconds: float, event: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await event()

    async def _watch(self, until: float) -> None:
        started = time.monotonic()
        while time.monotonic() < until:
            self.memory.append((time.monotonic() - started, self.server.rss_mb()))
            await asyncio.sleep(max(0.2, min(5.0, self.chosen.minutes)))

    async def _swap(self) -> None:
        """The other build becomes the newest, as a build that ends does it."""
        source, target = self.other / ".stepdown", self.home / ".stepdown"
        for artefact in (source / "artefacts").iterdir():
            if not (target / "artefacts" / artefact.name).exists():
                shutil.copytree(artefact, target / "artefacts" / artefact.name)
        newest = (source / "builds" / homes.TASK / "latest").read_text(encoding="utf-8").strip()
        shutil.copytree(source / "builds" / homes.TASK / newest, target / "builds" / homes.TASK / newest)
        pointer = target / "builds" / homes.TASK / "latest"
        fresh = pointer.with_suffix(".new")
        fresh.write_text(newest, encoding="utf-8")
        fresh.replace(pointer)

    async def _lock(self) -> None:
        """Another process locks the store and is stopped."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _LOCK,
            str(self.home / ".stepdown" / "store.sqlite"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        if (await process.stdout.readline()).strip() != b"locked":
            self.seen.fault("the store could not be locked, so that this was not tried")
            return
        os.kill(process.pid, signal.SIGSTOP)
        await asyncio.sleep(LOCK_S)
        os.kill(process.pid, signal.SIGCONT)
        await process.communicate(b"\n")

    async def _outage(self) -> None:
        await asyncio.to_thread(self.upstream.get, "/outage")

    def _quiet(self) -> Levels:
        """Once everything is written, and idle connections have been closed."""
        until = time.monotonic() + CATCH_UP_S
        while any(self.server.figures("stepdown_capture_waiting_bytes").values()) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(self.chosen.quiet)
        return Levels.of(self.server)

    def _show(self, before: Levels, after: Levels, counts: dict[str, int]) -> None:
        print("\n| client | outcome | requests |\n| --- | --- | --- |")
        for (kind, outcome), number in sorted(self.seen.outcomes.items()):
            print(f"| {kind} | {outcome} | {number:,} |")
        print(f"\nStatuses: {dict(sorted(self.seen.statuses.items()))}\nThe upstream: {counts}")
        print(f"Quiet before: {before}\nQuiet after: {after}")
        most = max((rss for _, rss in self.memory), default=0.0)
        print(f"Memory under load: at most {most:.0f} MB, {grown_mb(self.memory):+.1f} MB over the second half")
        for name in (
            "stepdown_escalations_total",
            "stepdown_upstream_failures_total",
            "stepdown_upstream_retries_total",
        ):
            print(f"{name}: {self.server.figures(name)}")

    def _faults(self, before: Levels, after: Levels, counts: dict[str, int]) -> list[str]:
        faults = list(self.seen.faults)
        if self.seen.fault_count > len(faults):
            faults.append(f"... and {self.seen.fault_count - len(faults)} more.")
        dropped = self.server.figures("stepdown_dropped_calls_total")
        wrong = {
            f"Calls were dropped: {dropped}": any(dropped.values()),
            "Memory grew over the second half": grown_mb(self.memory) > GROWTH_MB,
            "Files stay open": after.files > before.files + SPARE_FILES,
            "Threads stay": after.threads > before.threads,
            "Requests never ended in the gateway": after.in_flight > 0,
            "Requests never ended at the upstream": counts["answering"] > 0,
            "Our own headers left the house": counts.get("headers that should not leave", 0) > 0,
            "The upstream answered nothing": counts.get("answered", 0) == 0,
        }
        return faults + [what for what, is_so in wrong.items() if is_so]


def _other_build(home: Path, scratch: Path) -> Path:
    """The same task built again from another seed: another student under another certificate."""
    print("building another cascade to swap in", file=sys.stderr, flush=True)
    other = homes.copied(home, scratch / "other")
    homes.stepdown(other, "build", homes.TASK, "--budget", homes.KINDS["linear"][1], "--seed", "1")
    return other


def _certificate(home: Path) -> str:
    from stepdown.project.builds import latest
    from stepdown.project.home import open_home

    return latest(open_home(home), homes.TASK).read_certificate().digest


def _students_right(seen: Seen, right: dict[str, list[str]]) -> list[str]:
    """Each answer of a student is the one that its certificate's cascade gives offline, before and after the swap."""
    faults = []
    by_certificate: Counter[str] = Counter()
    for shown, number, category in seen.tasks:
        found = next((digest for digest in right if digest.startswith(shown)), "")
        by_certificate[found[:12] or "unknown"] += 1
        if not found or right[found][number] != category:
            faults.append(
                f"A student's answer under {shown!r} is {category!r}, expected {found and right[found][number]!r}."
            )
    print(f"Students' answers by certificate: {dict(by_certificate)}")
    if len(by_certificate) != len(right):
        faults.append(f"Expected answers under {len(right)} certificates, got {dict(by_certificate)}.")
    return faults[:20]


def _all_kept(home: Path, seen: Seen) -> list[str]:
    """Every answered call is in the store once, with the answer that its client got."""
    from stepdown.project.home import open_home

    faults, unknown, found = [], 0, set()
    with open_home(home).store() as store:
        for call in store.calls():
            if call.source != "gateway":
                continue
            found.add(call.id)
            expected = seen.kept.get(call.id, "unknown")
            unknown += expected == "unknown"
            content = call.content
            if expected == "" and content is not None:
                faults.append(f"{call.id} was answered with an error, and is kept with an answer.")
            elif expected and expected != "unknown" and _sha256(content) != expected:
                faults.append(f"{call.id} is kept with another answer: {str(content)[:80]!r}, error {call.error!r}.")
    lost = [name for name, expected in seen.kept.items() if expected is not None and name not in found]
    left = sum(seen.outcomes[kind, "left"] for kind, _ in list(seen.outcomes)) + seen.without_id
    print(f"{len(seen.kept):,} calls with an id, {len(found):,} in the store, {unknown} of clients that left early")
    if lost:
        faults.append(f"{len(lost)} answered calls are not in the store, such as {lost[:5]}.")
    if unknown > left:
        faults.append(f"{unknown} calls in the store that no client saw, but only {left} clients left early.")
    return faults[:20]


def _sha256(content: str | None) -> str:
    return hashlib.sha256((content or "").encode()).hexdigest()


if __name__ == "__main__":
    main()
