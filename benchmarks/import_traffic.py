"""How fast traffic is imported, and that memory stays flat: read alone, and read with the store's add_calls.

    python -m benchmarks.import_traffic [TRAFFIC] [--times 20]

Each figure comes from a process of its own, so that its peak memory is its own. The traffic is replicated with new ids.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stepdown.core.calls import Broken, Call
from stepdown.traffic.read import read_calls

SHIPPED = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77_qwen3" / "traffic.jsonl.gz"


def replicate(source: Path, target: Path, times: int) -> None:
    """Write the traffic `times` times over, each time with ids of its own."""
    with gzip.open(source, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    with gzip.open(target, "wb", compresslevel=1) as file:
        for turn in range(times):
            mark = b'{"id": "%d-' % turn
            file.writelines(line.replace(b'{"id": "', mark, 1) for line in lines)


def calls_of(path: str) -> Iterator[Call]:
    return (item for item in read_calls([path]) if not isinstance(item, Broken))


def measure(path: str, into: str) -> dict[str, float]:
    """Calls, seconds, CPU seconds and peak memory (MB) of reading `path`, into the store at `into` where given."""
    started, busy = time.perf_counter(), time.process_time()
    if into:
        store = importlib.import_module("stepdown.stores.store").open_store(into)
        count = store.add_calls(calls_of(path)).new
        store.close()
    else:
        count = sum(1 for _ in calls_of(path))
    seconds = time.perf_counter() - started
    busy = time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"calls": count, "seconds": seconds, "cpu_seconds": busy, "peak_mb": peak}


def measured_apart(path: Path, into: str) -> dict[str, float]:
    command = [sys.executable, __file__, str(path), "--measure", "--into", into]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traffic", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--into", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(str(given.traffic), given.into)))
        return
    has_store = importlib.util.find_spec("stepdown.stores.store") is not None
    heads = f"{'what':18} {'calls':>9} {'seconds':>8} {'calls/s':>9}"
    print(f"{heads} {'CPU s':>8} {'calls/CPU s':>13} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder) / "many.jsonl.gz"
        replicate(given.traffic, many, given.times)
        for name, path in (("×1", given.traffic), (f"×{given.times}", many)):
            for what in ("read", *(["read + store"] if has_store else [])):
                into = f"sqlite:{Path(folder) / path.stem}.sqlite" if what != "read" else ""
                found = measured_apart(path, into)
                calls, seconds, busy = found["calls"], found["seconds"], found["cpu_seconds"]
                row = f"{what + ' ' + name:18} {calls:9,.0f} {seconds:8.2f} {calls / seconds:9,.0f}"
                print(f"{row} {busy:8.2f} {calls / busy:13,.0f} {found['peak_mb']:8.0f}")


if __name__ == "__main__":
    main()
