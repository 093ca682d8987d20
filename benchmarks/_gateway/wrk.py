"""Load from wrk 4.1 or newer (`apt-get install wrk`): many different bodies over kept connections."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """\
local made, count, turn = {}, 0, 0
local headers = {["content-type"] = "application/json", ["authorization"] = "Bearer sk-test"}
function init(args)
  for line in io.lines("%s") do
    count = count + 1
    made[count] = wrk.format("POST", nil, headers, line)
  end
end
function request()
  turn = turn %% count + 1
  return made[turn]
end
%s
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %%d, "seconds": %%.6f, "p50_ms": %%.4f, "p99_ms": %%.4f, "failed": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw. failed: answers that were not 2xx, and requests without an answer."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Wrk:
    """Sends the same list of bodies again and again.

    pause_ms: how long a connection waits before its next request.
    """

    def __init__(self, name: str, bodies: Sequence[bytes], scratch: Path, pause_ms: int = 0) -> None:
        if shutil.which("wrk") is None:
            raise SystemExit("wrk is not installed. Run: apt-get install wrk")
        listed, self._script = scratch / f"{name}.jsonl", scratch / f"{name}.lua"
        listed.write_bytes(b"".join(body + b"\n" for body in bodies))
        pause = f"function delay() return {pause_ms} end" if pause_ms else ""
        self._script.write_text(_SCRIPT % (listed, pause), encoding="utf-8")

    def load(self, url: str, connections: int, seconds: float) -> Load:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["-s", str(self._script), f"{url}/v1/chat/completions"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return Load(**json.loads(done.stdout.splitlines()[-1]))


def spread(loads: Sequence[Load], figure: Callable[[Load], float]) -> str:
    """The median of a figure, with the least and the most."""
    values = sorted(map(figure, loads))
    return f"{shown(statistics.median(values))} ({shown(values[0])}–{shown(values[-1])})"


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
