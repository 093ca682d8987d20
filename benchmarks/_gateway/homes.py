"""Project folders to serve: the shipped task built with one kind of rung, and copies, so that none is changed."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path

DATA = Path(str(files("stepdown") / "demo_data"))
TASK = "banking-intent"

_SETTINGS = """\
training_permission = "MIT-licensed recordings of an Apache-2.0 model's answers"

[tasks.banking-intent.contract]
margin         = 0.02
confidence     = 0.95
against        = "gold"
holdback       = 0.0    # what is timed is the students
latency_p95_ms = {latency_ms}
"""

KINDS = {"linear": (0.3, "20s"), "encoder": (20.0, "90s")}
"""By the rung that is certified: the p95 in ms that the contract allows (no encoder keeps 0.3), and the budget."""


def built(folder: Path, rung: str, seed: int = 0) -> Path:
    """The shipped task, built so that its cascade is this rung and then the incumbent."""
    latency_ms, budget = KINDS[rung]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stepdown.toml").write_text(_SETTINGS.format(latency_ms=latency_ms), encoding="utf-8")
    stepdown(folder, "import", str(DATA / "traffic.jsonl.gz"), "--gold", str(DATA / "gold.csv.gz"))
    stepdown(folder, "build", TASK, "--budget", budget, "--seed", str(seed))
    return folder


def stepdown(home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "stepdown", *arguments, "--home", str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"stepdown {arguments[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}")


def copied(home: Path, folder: Path) -> Path:
    """A copy to serve. A store that is in use is copied by SQLite itself."""
    state = home / ".stepdown"
    unwanted = shutil.ignore_patterns("store.sqlite*", "run", "cache")
    shutil.copytree(state, folder / ".stepdown", ignore=unwanted)
    shutil.copy(home / "stepdown.toml", folder)
    source = sqlite3.connect(f"file:{state / 'store.sqlite'}?mode=ro", uri=True)
    target = sqlite3.connect(folder / ".stepdown" / "store.sqlite")
    with closing(source), closing(target):
        source.backup(target)
    return folder


def home_for(rung: str, given: Path | None, scratch: Path) -> Path:
    """A copy of the home that was given, else one that is built for this run."""
    if given is not None:
        return copied(given, scratch / rung)
    print(f"building a home with the rung {rung} (pass --{rung}-home DIR to use one)", file=sys.stderr, flush=True)
    return built(scratch / rung, rung)


def calls_in(home: Path) -> int:
    """Calls in the home's store."""
    from stepdown.project.home import open_home

    with open_home(home).store() as store:
        return store.count_calls()


def store_mb(home: Path) -> float:
    """What the store takes on disk, its log included."""
    return sum(path.stat().st_size for path in (home / ".stepdown").glob("store.sqlite*")) / 1e6
