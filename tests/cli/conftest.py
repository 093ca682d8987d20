"""A project folder with a real build in it, made once through the command line from part of the shipped traffic."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from stepdown.cli.main import run
from tests.fixture_cache import KeptFolder

DATA = Path(str(files("stepdown") / "demo_data"))
TASK = "banking-intent"
ROWS = 2500


@dataclass(frozen=True)
class Said:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Command = Callable[..., Said]


def stepdown(*arguments: str) -> Said:
    """Run one command in this process, as `main` would."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(each) for each in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def shipped_lines(rows: int) -> list[bytes]:
    with gzip.open(DATA / "traffic.jsonl.gz", "rb") as file:
        return list(itertools.islice(file, 0, rows * 5, 5))


def shipped_gold() -> list[dict[str, str]]:
    with gzip.open(DATA / "gold.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traffic") / "calls.jsonl"
    path.write_bytes(b"".join(shipped_lines(ROWS)))
    return path


@pytest.fixture(scope="session")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gold") / "gold.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("id", "gold"))
        writer.writeheader()
        writer.writerows({"id": row["id"], "gold": row["gold"]} for row in shipped_gold())
    return path


@pytest.fixture(scope="session")
def built(kept_folder: KeptFolder, traffic: Path, gold: Path) -> tuple[Path, dict[str, Any]]:
    """(home, what `build --json` printed), of this run: its tests are of the build."""
    home = kept_folder("built", build_shipped, traffic, gold, fresh=True)
    return home, json.loads((home / "built.json").read_text())


def build_shipped(home: Path, traffic: Path, gold: Path) -> None:
    imported = stepdown("import", str(traffic), "--gold", str(gold), "--home", str(home), "--json")
    assert imported.code == 0, imported.err
    done = stepdown("build", TASK, "--kinds", "linear,token_cnn", "--budget", "60s", "--home", str(home), "--json")
    assert done.code == 0, done.err
    (home / "built.json").write_text(json.dumps(done.json))


@pytest.fixture(scope="session")
def booked(kept_folder: KeptFolder) -> Path:
    """As the others', and of this run: tests of the command line look at the build itself."""
    from tests.cli.bookings import build_home

    return kept_folder("booked", build_home, "json", fresh=True)


@pytest.fixture(scope="session")
def booked_by_tools(kept_folder: KeptFolder) -> Path:
    from tests.cli.bookings import build_home

    return kept_folder("booked-by-tools", build_home, "tools", fresh=True)
