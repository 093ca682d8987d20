"""Raw requests and hostile upstreams: does one connection hold others up, how much memory, is any request seen twice.

usage: python -m benchmarks.gateway_raw [--minutes 10] [--seed 0] [--parts catalogue,bodies,fuzz,desync,connections]

catalogue: each raw request and each hostile answer of benchmarks/_gateway/raw_messages.py by itself. bodies: 50 times
16 MB at once, whole and slowly. fuzz: a grammar's requests and answers, for --minutes. desync: the grammar's requests
(for a quarter of --minutes) given to this server and to h11, and through nginx to this server (`apt-get install
nginx-light`). connections: --connections clients, half of them streaming, on an upstream that takes 200 ms. Meanwhile a
second connection asks for /healthz every 10 ms. Exits 1 beyond the bounds below, on a 500, a traceback or a desync.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib.util
import itertools
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks._gateway import processes
from benchmarks._gateway import raw_messages as messages
from benchmarks._gateway.processes import Server
from benchmarks._gateway.wire_client import Client
from stepdown.gateway.http.messages import Request, Response
from stepdown.gateway.http.server import HttpServer, ServerLimits

STALL_MS, MEMORY_MB, LATE_MS = 100.0, 300.0, 150.0
"""Bounds: on /healthz, on the gateway process, and on what is added to the upstream's time at the 99th percentile."""
PARTS = ("catalogue", "bodies", "fuzz", "desync", "connections")
WAIT_S = 1.5
ENDLESS_S = 3.0
SIDES = 8
_SETTINGS = """\
[[gateway.upstreams]]
name         = "raw"
url          = "{url}/v1"
first_byte_s = 5.0
total_s      = 20.0
retries      = 0
"""

_NGINX = """\
daemon off; master_process off; error_log {folder}/error.log crit; pid {folder}/pid;
events {{ worker_connections 512; }}
http {{
  log_format forwarded '$upstream_status $request_method $request_uri';
  access_log {folder}/access.log forwarded;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_timeout 1; client_header_timeout 1; client_body_timeout 1; lingering_close off;
  upstream ours {{ server 127.0.0.1:{ours}; keepalive 1; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://ours; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 5;
                  proxy_request_buffering off; proxy_next_upstream off; }}
  }}
}}
"""


@dataclass
class Seen:
    """What was seen in one part. worst_ms: of /healthz, with what went on; late_ms: of the probe itself."""

    worst_ms: list[tuple[float, str]] = field(default_factory=list)
    late_ms: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def main() -> None:
    """Run the parts and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", default="", help="Of the catalogue, what holds this in its name.")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=500.0, help="Requests a second of all connections together.")
    parser.add_argument("--seconds", type=float, default=30.0, help="Of load by all connections.")
    chosen = parser.parse_args()
    parts = chosen.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {sorted(unknown)}; known: {', '.join(PARTS)}")
    faults: list[str] = []
    for part in parts:
        with tempfile.TemporaryDirectory() as name:
            faults += [f"{part}: {fault}" for fault in _run(part, chosen, Path(name))]
    print("\n".join(faults) or "No stall, no desync, nothing beyond the bounds.")
    sys.exit(1 if faults else 0)


def _run(part: str, chosen: argparse.Namespace, scratch: Path) -> list[str]:
    print(f"\n## {part}", flush=True)
    if part == "desync":
        return uvloop.run(_desync(chosen, scratch))
    seen = Seen()
    with ExitStack() as stack:
        port = processes.free_port()
        command = [sys.executable, "-m", "benchmarks._gateway.raw_upstream", str(port)]
        upstream = stack.enter_context(processes.running("upstream", command, port, "", scratch / "upstream.log"))
        home = scratch / "home"
        home.mkdir()
        (home / "stepdown.toml").write_text(_SETTINGS.format(url=upstream.url), encoding="utf-8")
        server = stack.enter_context(processes.gateway(home, "", scratch))
        before = _peak_mb(server)
        run = {"catalogue": _catalogue, "bodies": _bodies, "fuzz": _fuzz, "connections": _connections}[part]
        run(server, chosen, seen)
        peak = _peak_mb(server)
        log = server.log.read_text(encoding="utf-8", errors="replace")
    worst = sorted(seen.worst_ms, reverse=True)
    print(f"answers: {dict(seen.statuses.most_common(12))}")
    print("worst of /healthz: " + "; ".join(f"{ms:.0f} ms ({what})" for ms, what in worst[:8]))
    print(f"the probe itself was late by up to {seen.late_ms:.0f} ms")
    print(f"memory of the gateway process: {before:.0f} MB at the start, at most {peak:.0f} MB")
    if worst and worst[0][0] > STALL_MS:
        seen.faults.append(f"/healthz took {worst[0][0]:.0f} ms ({worst[0][1]}).")
    if peak > MEMORY_MB:
        seen.faults.append(f"the gateway took {peak:.0f} MB.")
    if "Traceback" in log:
        seen.faults.append(f"a traceback: {log[log.index('Traceback') :][:1500]}")
    return seen.faults


def _peak_mb(server: Server) -> float:
    """The most resident memory that one of the gateway's processes had: the worker's, which answers."""
    tree = (server.process.pid, *(one.pid for one in psutil.Process(server.process.pid).children(recursive=True)))
    status = [Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in tree]
    return max(float(one.partition("VmHWM:")[2].split()[0]) / 1e3 for one in status if "VmHWM:" in one)


@contextmanager
def _probed(server: Server, seen: Seen, what: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks._gateway.health_probe", str(server.port)]
    probe = subprocess.Popen(command, cwd=processes.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    time.sleep(0.3)  # Until it asks.
    try:
        yield
    finally:
        out, _ = probe.communicate(b"\n", timeout=120)
        found = json.loads(out)
        seen.worst_ms.append((found["worst_ms"], what))
        seen.late_ms = max(seen.late_ms, found["late_ms"])
        if found["failed"]:
            seen.faults.append(f"/healthz failed {found['failed']:.0f} times ({what}).")


# What a client says


async def _say(port: int, pieces: Iterable[bytes], seen: Seen, wait_s: float = WAIT_S) -> list[str]:
    """Say it all and read what comes, until the other side closes or says nothing for a while."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        seen.statuses["no connection"] += 1
        return []

    async def send() -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    sending = asyncio.create_task(send())
    said = b""
    with contextlib.suppress(OSError, TimeoutError):
        while piece := await asyncio.wait_for(reader.read(1 << 20), wait_s):
            said = (said + piece)[-(1 << 20) :] if len(said) > 1 << 20 else said + piece
    sending.cancel()
    writer.transport.abort()
    if b"gateway_failed" in said:
        seen.faults.append(f"the gateway failed: {said[:500]!r}")
    statuses = [part[:3].decode("latin-1") for part in said.split(b"HTTP/1.1 ")[1:]]
    seen.statuses.update(statuses or ["none"])
    return statuses


async def _within(scene: Coroutine[Any, Any, object], seconds: float) -> None:
    await asyncio.wait_for(scene, seconds)


async def _pour(port: int, first: bytes, more: bytes, seen: Seen) -> None:
    """Say it again and again until it is enough."""
    until = time.monotonic() + ENDLESS_S

    def endless() -> Iterator[bytes]:
        yield first
        while time.monotonic() < until:
            yield more

    await _say(port, endless(), seen)


def _asking(model: str, streamed: bool) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": streamed}
    return messages.post(json.dumps(body).encode(), b"connection: close\r\n")


def _scenes(port: int, seen: Seen) -> list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]]:
    """Every entry of the catalogue by itself: its name, and what plays it."""
    scenes: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = []
    for name, raw in messages.CATALOGUE.items():
        scenes.append((f"request: {name}", functools.partial(_say, port, [raw], seen)))
    for name, pair in messages.ENDLESS.items():
        scenes.append((f"endless request: {name}", functools.partial(_pour, port, *pair, seen)))
    for kind, names in (("reply", messages.REPLIES), ("endless", messages.ENDLESS_REPLIES)):
        for name, streamed in itertools.product(names, (False, True)):
            raw = _asking(f"{kind}:{name}", streamed)
            scenes.append((f"{kind}: {name}", functools.partial(_say, port, [raw], seen, ENDLESS_S)))
    return scenes


def _catalogue(server: Server, chosen: argparse.Namespace, seen: Seen) -> None:
    scenes = [scene for scene in _scenes(server.port, seen) if chosen.only in scene[0]]
    print(f"{len(scenes)} scenes", flush=True)
    high = _peak_mb(server)
    for name, scene in scenes:
        with _probed(server, seen, name):
            asyncio.run(_within(scene(), 60.0))
        if (now := _peak_mb(server)) > high + 20:
            print(f"{name}: memory {high:.0f} -> {now:.0f} MB", flush=True)
            high = now
        if seen.worst_ms[-1][0] > STALL_MS / 2:
            print(f"{name}: /healthz {seen.worst_ms[-1][0]:.0f} ms", flush=True)


def _bodies(server: Server, chosen: argparse.Namespace, seen: Seen) -> None:
    body = messages.BODY.replace(b"hello", b"h" * (15 << 20))
    whole = messages.post(body, b"connection: close\r\n")
    chunks = messages.chunked(messages.chunk(body) + messages.END, b"connection: close\r\n")

    async def at_once(raw: bytes, slowly: bool) -> None:
        pieces = [raw[at : at + (64 << 10)] for at in range(0, len(raw), 64 << 10)] if slowly else [raw]
        await asyncio.gather(*(_say(server.port, pieces, seen, wait_s=20) for _ in range(50)))

    for name, raw, slowly in (("whole", whole, False), ("chunked", chunks, False), ("in pieces", whole, True)):
        with _probed(server, seen, f"50 bodies, {name}"):
            asyncio.run(at_once(raw, slowly))
        print(f"50 times 15 MB at once, {name}: memory at most {_peak_mb(server):.0f} MB", flush=True)


def _fuzz(server: Server, chosen: argparse.Namespace, seen: Seen) -> None:
    until = time.monotonic() + chosen.minutes * 60
    numbers = itertools.count()

    async def client(number: int) -> None:
        dice = random.Random(f"{chosen.seed} {number}")
        while time.monotonic() < until:
            next(numbers)
            raw = messages.random_request(dice)
            at = dice.randrange(len(raw) + 1)
            await _say(server.port, [raw[:at], raw[at:]], seen, wait_s=0.3)

    async def upstream(number: int) -> None:
        dice = random.Random(f"{chosen.seed} upstream {number}")
        while time.monotonic() < until:
            next(numbers)
            # Most answers are good ones, lest the upstream be left alone as one that fails.
            model = "fixed" if dice.random() < 0.7 else f"fuzz:{dice.randrange(1 << 40)}"
            raw = _asking(model, dice.random() < 0.5)
            await _say(server.port, [raw], seen, wait_s=8)

    async def both() -> None:
        await asyncio.gather(*(client(n) for n in range(SIDES)), *(upstream(n) for n in range(SIDES)))

    with _probed(server, seen, "fuzz"):
        uvloop.run(both())
    print(f"{next(numbers):,} exchanges, seed {chosen.seed}")


def _connections(server: Server, chosen: argparse.Namespace, seen: Seen) -> None:
    took: dict[bool, list[float]] = {False: [], True: []}
    errors: Counter[str] = Counter()

    async def one(number: int, until: float) -> None:
        streamed = number % 2 == 0
        client = Client(server.port)
        body = json.dumps(
            {"model": "slow", "messages": [{"role": "user", "content": "hi"}], "stream": streamed}
        ).encode()
        every_s = chosen.connections / chosen.rate if chosen.rate else 0.0
        await asyncio.sleep(random.random() * max(every_s, 1.0))
        while time.monotonic() < until:
            started = time.monotonic()
            answer = await client.ask("/v1/chat/completions", body, {"content-type": "application/json"})
            took[streamed].append(time.monotonic() - started)
            if answer.status != 200 or not answer.whole or (streamed and b"[DONE]" not in answer.body):
                errors[f"status {answer.status}, whole {answer.whole}"] += 1
            await asyncio.sleep(max(0.0, every_s - (time.monotonic() - started)))
        client.leave()

    async def all_of_them() -> None:
        until = time.monotonic() + chosen.seconds
        await asyncio.gather(*(one(number, until) for number in range(chosen.connections)))

    with _probed(server, seen, "connections"):
        uvloop.run(all_of_them())
    for streamed, each in took.items():
        each.sort()
        p50, p99 = each[len(each) // 2] * 1e3, each[int(0.99 * (len(each) - 1))] * 1e3
        print(f"{'streams' if streamed else 'whole'}: {len(each):,} answers, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        if p99 > 200 + LATE_MS:
            seen.faults.append(f"p99 {p99:.0f} ms")
    print(f"{chosen.connections} connections, {sum(map(len, took.values())) / chosen.seconds:.0f} requests/s")
    seen.statuses.update({"200": sum(map(len, took.values())) - sum(errors.values()), **errors})
    if errors:
        seen.faults.append(f"errors: {dict(errors)}")


# What two servers see


class Recorder:
    """This project's server, which keeps what it takes for requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        limits = ServerLimits(header_s=0.3, body_s=0.3, idle_s=2.0)
        self._server = HttpServer(self._take, lambda path, status, message: Response(status, [], b""), limits)

    async def start(self) -> None:
        await self._server.start(self._listener)

    async def stop(self) -> None:
        await self._server.drain(0.0)

    async def _take(self, request: Request) -> Response:
        target = f"{request.path}?{request.query}" if request.query else request.path
        self.seen.append((request.method.encode(), target.encode(), request.body))
        return Response(200, [], b"%d" % len(self.seen))


async def _desync(chosen: argparse.Namespace, scratch: Path) -> list[str]:
    seconds = chosen.minutes * 60 / 4 / 2
    faults = await _against_h11(chosen.seed, seconds)
    return faults + await _behind_nginx(chosen.seed, seconds, scratch)


async def _against_h11(seed: int, seconds: float) -> list[str]:
    if importlib.util.find_spec("h11") is None:
        print("h11 is skipped: it is not installed.")
        return []
    ours = Recorder()
    await ours.start()
    dice = random.Random(f"{seed} h11")
    faults: list[str] = []
    tried = common = 0
    raws = itertools.chain(messages.CATALOGUE.values(), iter(lambda: messages.random_request(dice), None))
    until = time.monotonic() + seconds
    for raw in raws:
        if time.monotonic() > until or len(faults) >= 10:
            break
        if len(raw) > 1 << 20:
            continue
        ours.seen.clear()
        await _say_and_end(ours.port, raw)
        theirs = _as_h11(raw)
        both = list(zip(ours.seen, theirs, strict=False))
        tried, common = tried + 1, common + len(both)
        if any(_differ(*pair) for pair in both):
            faults.append(f"h11 sees {theirs[:4]!r}, this server {ours.seen[:4]!r}, in {raw[:600]!r}"[:2500])
    await ours.stop()
    print(f"h11: {tried:,} inputs, {common:,} requests that both saw, {len(faults)} desyncs")
    return faults


def _differ(ours: tuple[bytes, bytes, bytes], theirs: tuple[bytes, bytes, bytes]) -> bool:
    # A target with a host of its own names the path behind that, and a host that is not ours is refused later.
    target = re.sub(rb"^http://[^/]*", b"", theirs[1]) or b"/"
    return (ours[0], ours[2]) != (theirs[0], theirs[2]) or ours[1] != target.removesuffix(b"?")


async def _say_and_end(port: int, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError):
        writer.write(raw)
        writer.write_eof()
        while await reader.read(1 << 16):
            pass
    writer.transport.abort()


def _as_h11(raw: bytes) -> list[tuple[bytes, bytes, bytes]]:
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    found: list[tuple[bytes, bytes, bytes]] = []
    try:
        connection.receive_data(raw)
        connection.receive_data(b"")
        request, body = None, b""
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
                if connection.they_are_waiting_for_100_continue:
                    connection.send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                found.append((bytes(request.method), bytes(request.target), body))
                connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE or connection.their_state is not h11.DONE:
                    return found
                connection.start_next_cycle()
            else:
                return found
    except h11.ProtocolError:
        return found


async def _behind_nginx(seed: int, seconds: float, scratch: Path) -> list[str]:
    program = shutil.which("nginx")
    if program is None:
        print("nginx is skipped: it is not installed (apt-get install nginx-light).")
        return []
    ours = Recorder()
    await ours.start()
    port = processes.free_port()
    config = scratch / "nginx.conf"
    config.write_text(_NGINX.format(folder=scratch, ours=ours.port, port=port), encoding="utf-8")
    nginx = subprocess.Popen([program, "-c", str(config), "-p", str(scratch)], stderr=subprocess.DEVNULL)
    try:
        await asyncio.sleep(1.0)
        dice = random.Random(f"{seed} nginx")
        until = time.monotonic() + seconds
        small = [raw for raw in messages.CATALOGUE.values() if len(raw) < 200_000]
        raws = itertools.chain(small, iter(lambda: messages.random_request(dice), None))
        seen, tried = Seen(), itertools.count()

        async def client() -> None:
            while time.monotonic() < until:
                next(tried)
                await _say(port, [next(raws)], seen, wait_s=3.0)

        await asyncio.gather(*(client() for _ in range(SIDES)))
        await asyncio.sleep(1.5)
    finally:
        nginx.terminate()
        nginx.wait(20)
    await ours.stop()
    lines = (scratch / "access.log").read_bytes().splitlines()
    forwarded = Counter(_request_of(line) for line in lines if line.startswith(b"200 "))
    taken = Counter((method, target) for method, target, _ in ours.seen)
    # nginx drops an answer whose client has gone: such a request is ours alone. What only nginx has would be a desync,
    # and so would a request of ours that nginx never had.
    known = {_request_of(line) for line in lines}
    wrong = [*(forwarded - taken), *(request for request in taken if request not in known)]
    print(f"nginx: {next(tried):,} inputs, {sum(forwarded.values()):,} requests passed on, {len(wrong)} desyncs")
    return [f"nginx passed on {len(wrong)} requests that this server saw otherwise: {wrong[:5]}"] if wrong else []


def _request_of(line: bytes) -> tuple[bytes, bytes]:
    _, method, target, *_ = [*line.split(b" "), b"", b""]
    return method, target


if __name__ == "__main__":
    main()
