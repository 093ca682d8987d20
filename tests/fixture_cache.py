"""Folders that fixtures train or build, kept from run to run and shared by the workers of one run.

`kept_folder` (tests/conftest.py) is the fixture that asks here; a test that uses it, through whatever fixture, is
marked `slow`. An entry is found by all that its content depends on: the sources of stepdown, what is installed, the
machine's instructions and threads, the helpers of the tests, the file of the function that makes it, its arguments.

STEPDOWN_TEST_CACHE=off takes nothing from earlier runs; within a run each folder is still made once.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
import platform
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import stepdown

TESTS = Path(__file__).resolve().parent
CACHE = TESTS.parent / ".cache" / "tests"
SWITCH = "STEPDOWN_TEST_CACHE"
AGE_S, SIZE_BYTES = 24 * 3600.0, 1_500_000_000
"""An entry is dropped a day after it was made: certificates and events carry times, and tests read them against now."""

Make = Callable[..., object]
KeptFolder = Callable[..., Path]


class FixtureCache:
    """Folders under `root`, one for each name and key; each worker gets copies of its own under `copies`."""

    def __init__(self, root: Path, copies: Path, run: str) -> None:
        """run: the same for all workers of a run."""
        self._root, self._copies, self._run = root, copies, run
        self._handed_out: dict[Path, str] = {}

    def folder(self, name: str, make: Make, *arguments: Any, fresh: bool = False) -> Path:
        """A copy of what make(folder, *arguments) writes into an empty folder. Do not change it.

        fresh: made in this run, for tests of the making itself.
        """
        key = self._key(make, arguments)
        copy = self._copies / name / key[:16]
        if copy in self._handed_out:
            return copy
        with _locked(self._place(name) / "lock"):
            entry = self._place(name) / key[:16]
            if not self._copied(entry, copy, fresh):
                self._made(entry, make, arguments)
                if not self._copied(entry, copy, fresh):
                    raise AssertionError(f"{entry} is not what was written there a moment ago")
        return copy

    def _place(self, name: str) -> Path:
        place = self._root / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _key(self, make: Make, arguments: tuple[Any, ...]) -> str:
        source = inspect.getsourcefile(inspect.unwrap(make))
        assert source is not None
        facts = [surroundings(), Path(source).read_text("utf-8"), make.__qualname__]
        for argument in arguments:
            if isinstance(argument, Path):
                facts.append(self._handed_out.get(argument) or _digest(contents(argument)))
            else:
                facts.append(repr(argument))
        return _digest(facts)

    def _made(self, entry: Path, make: Make, arguments: tuple[Any, ...]) -> None:
        """Writes the entry whole or not at all: a folder without its list of files is never looked at."""
        for stale in (entry, *entry.parent.glob("*.part")):
            shutil.rmtree(stale, ignore_errors=True)
        self._tidy()
        part = entry.with_name(f"{entry.name}.part")
        (part / "files").mkdir(parents=True)
        make(part / "files", *arguments)
        listed = {"run": self._run, "made": time.time(), "files": contents(part / "files")}
        (part / "list.json").write_text(json.dumps(listed))
        part.rename(entry)

    def _copied(self, entry: Path, copy: Path, fresh: bool) -> bool:
        """Whether the entry is there, young and unchanged, and now copied."""
        try:
            listed = json.loads((entry / "list.json").read_bytes())
        except (OSError, ValueError):
            return False
        if (fresh and listed["run"] != self._run) or not 0 <= time.time() - listed["made"] < AGE_S:
            return False
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(copy, ignore_errors=True)
        with suppress(FileNotFoundError, shutil.Error):
            shutil.copytree(entry / "files", copy, symlinks=True)
            if contents(copy) == listed["files"]:
                self._handed_out[copy] = _digest(listed["files"])
                return True
        warnings.warn(f"{entry} was changed since it was made; it is made again.", stacklevel=2)
        return False

    def _tidy(self) -> None:
        """Drops what is too old or too much, oldest first; what another process uses stays."""
        entries = sorted(self._root.glob("*/*/list.json"), key=_made_at, reverse=True)
        total = 0
        for listed in entries:
            total += sum(path.lstat().st_size for path in listed.parent.rglob("*") if path.is_file())
            if time.time() - _made_at(listed) < AGE_S and total <= SIZE_BYTES:
                continue
            with suppress(BlockingIOError), _locked(listed.parents[1] / "lock", fcntl.LOCK_NB):
                shutil.rmtree(listed.parent, ignore_errors=True)


def run_cache(base: Path, worker: str) -> FixtureCache:
    """The cache of this run. base: the run's temporary folder, which its workers share; worker: its name, or ""."""
    root = base / "kept" if os.environ.get(SWITCH, "").lower() == "off" else CACHE
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    return FixtureCache(root, base / f"copies-{worker or 'main'}", run)


def contents(folder: Path) -> dict[str, str]:
    """Path in the folder → SHA-256 of the file, target of the link, or "" of a folder."""
    found = {}
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


@cache
def surroundings() -> str:
    """A hash of all that any fixture's content may depend on."""
    source = Path(stepdown.__file__).parent
    files = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files += [path for path in TESTS.rglob("*.py") if not path.name.startswith("test_")]
    files += (TESTS.parent / "benchmarks").rglob("*.py")
    hashes = {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    installed = sorted({(each.name, each.version) for each in distributions()})
    set_here = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("OMP_", "MKL_", "HF_", "STEPDOWN_")) and not name.startswith("STEPDOWN_TEST")
    }
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _digest(
        [hashes, installed, sorted(set_here.items()), threads, sys.version, platform.platform(), _processor()]
    )


def _processor() -> list[str]:
    """The processor's name and instructions, where the system says them."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return [platform.processor()]


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _made_at(listed: Path) -> float:
    try:
        return listed.stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _locked(path: Path, more: int = 0) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | more)
        yield
