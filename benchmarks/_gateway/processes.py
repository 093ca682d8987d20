"""Servers under test as processes of their own: started, waited for, watched, ended."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 120.0
LITELLM_VARIABLE = "STEPDOWN_BENCH_LITELLM"
"""The peer's command, in whatever environment it is installed: /path/to/bin/litellm."""
FIRSTPASS_VARIABLE = "STEPDOWN_BENCH_FIRSTPASS"
"""As above: /path/to/bin/firstpass."""

_LITELLM = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/fixed
      api_base: {upstream}
      api_key: sk-none
litellm_settings:
  telemetry: false
general_settings:
  dangerously_permit_weak_or_unset_master_key: true  # No key, as on our side: on this machine's own address only.
"""


@dataclass(frozen=True)
class Server:
    """A running server. ready_s: from its start to the first 200 of its readiness path."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    ready_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        return fetch(self.port, path)

    def rss_mb(self) -> float:
        """Resident memory of its processes together."""
        return float(sum(one.memory_info().rss for one in self._tree()) / 1e6)

    def pss_mb(self) -> float:
        """The same, with pages that its processes share counted once."""
        return float(sum(one.memory_full_info().pss for one in self._tree()) / 1e6)

    def open_files(self) -> int:
        return sum(len(os.listdir(f"/proc/{one.pid}/fd")) for one in self._tree())

    def threads(self) -> int:
        return sum(int(one.num_threads()) for one in self._tree())

    def cpu_s(self) -> float:
        return float(sum(one.cpu_times().user + one.cpu_times().system for one in self._tree()))

    def figures(self, name: str) -> dict[str, float]:
        """One metric of its /metrics, by labels as they are written there."""
        text = self.get("/metrics")[1].decode()
        found = re.findall(rf"^{re.escape(name)}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in found}

    def _tree(self) -> list[psutil.Process]:
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


def fetch(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    name: str, command: Sequence[str], port: int, ready: str, log: Path, more: dict[str, str] | None = None
) -> Iterator[Server]:
    """Start, wait until `ready` answers 200 (or, where it is "", until the port is open), end with SIGTERM."""
    signal.signal(signal.SIGTERM, _terminated)
    with log.open("ab") as out:
        started = time.monotonic()
        process = subprocess.Popen(
            list(command), cwd=ROOT, env={**os.environ, **(more or {})}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield Server(name, port, process, log, _ready_after(name, process, port, ready, log, started))
    finally:
        _end(process)


def _terminated(number: int, frame: object) -> None:
    """A benchmark that is told to end takes its servers along."""
    raise SystemExit(128 + number)


def _ready_after(
    name: str, process: subprocess.Popen[bytes], port: int, ready: str, log: Path, started: float
) -> float:
    while time.monotonic() - started < READY_WITHIN_S:
        if process.poll() is not None:
            break
        try:
            if ready:
                found = fetch(port, ready)[0] == 200
            else:
                socket.create_connection(("127.0.0.1", port), 1).close()
                found = True
        except (OSError, http.client.HTTPException):
            found = False
        if found:
            return time.monotonic() - started
        time.sleep(0.004)
    raise SystemExit(f"{name} did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def fixed_upstream(scratch: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks._gateway.fixed_upstream", str(port)]
    with running("upstream", command, port, "", scratch / "upstream.log") as server:
        yield server


@contextmanager
def right_upstream(scratch: Path) -> Iterator[Server]:
    """The upstream that can fail in every way, and does not."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks._gateway.faulty_upstream", str(port), "0", ""]
    with running("upstream", command, port, "/counts", scratch / "upstream.log") as server:
        yield server


@contextmanager
def gateway(home: Path, upstream: str, scratch: Path, *options: str) -> Iterator[Server]:
    """`stepdown serve` as a user starts it: one worker, every call recorded."""
    port = free_port()
    command = [sys.executable, "-m", "stepdown", "--home", str(home), "serve", "--port", str(port)]
    command += [*(["--upstream", upstream] if upstream else []), *options]
    with running(f"gateway ({home.name})", command, port, "/readyz", scratch / "gateway.log") as server:
        yield server


@contextmanager
def firstpass(upstream: str, scratch: Path) -> Iterator[Server | None]:
    """The peer in Rust, observing, its record in a database of its own; None where its command is not known."""
    program = os.environ.get(FIRSTPASS_VARIABLE, "")
    if not program:
        print(f"firstpass is skipped: {FIRSTPASS_VARIABLE} does not name its command.", flush=True)
        yield None
        return
    port = free_port()
    settings = {
        "FIRSTPASS_BIND": f"127.0.0.1:{port}",
        "FIRSTPASS_UPSTREAM_OPENAI": upstream,
        "FIRSTPASS_DB": str(scratch / "firstpass.db"),
    }
    with running("firstpass", [program, "up"], port, "/healthz", scratch / "firstpass.log", settings) as server:
        yield server


@contextmanager
def litellm(model: str, upstream: str, scratch: Path) -> Iterator[Server | None]:
    """The peer, with one worker, no master key and no database; None where its command is not known."""
    program = os.environ.get(LITELLM_VARIABLE, "")
    if not program:
        print(f"LiteLLM is skipped: {LITELLM_VARIABLE} does not name its command.", flush=True)
        yield None
        return
    config = scratch / "litellm.yaml"
    config.write_text(_LITELLM.format(model=model, upstream=upstream), encoding="utf-8")
    port = free_port()
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    # Its own price list in place of one from the network, which is not there.
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with running("LiteLLM", command, port, "/health/liveliness", scratch / "litellm.log", quiet) as server:
        yield server
