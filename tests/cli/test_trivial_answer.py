"""Labels at 99 to 1: always answering the same would keep a margin of two points, and everything says so."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from stepdown.project.builds import latest
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import PHRASES, TASK, lines, ticket

pytestmark = pytest.mark.slow

COUNT = 2_000
BUILD = ("build", TASK, "--kinds", "linear", "--budget", "40s")


def right(number: int) -> str:
    return "refund" if number % 100 == 7 else "praise"


def call(number: int) -> dict[str, Any]:
    dice = random.Random(number)
    text = f"{dice.choice(PHRASES[right(number)])} {dice.randrange(10**6)} {dice.randrange(10**6)}"
    wrong = {"refund": "praise", "praise": "refund"}
    return ticket(number, text, wrong[right(number)] if number % 333 == 1 else right(number))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skewed")
    (folder / "calls.jsonl").write_bytes(lines(map(call, range(COUNT))))
    (folder / "gold.csv").write_text("id,gold\n" + "".join(f"c{n},{right(n)}\n" for n in range(COUNT)))
    read = stepdown("import", str(folder / "calls.jsonl"), "--gold", str(folder / "gold.csv"), "--home", str(folder))
    assert read.code == 0, read.err
    assert "stepdown: " not in read.err, "nothing is wrong with the gold"
    return folder


def test_the_scan_names_it_and_proposes_slices(home: Path) -> None:
    scanned = stepdown("scan", TASK, "--home", str(home), "--json").json
    (found,) = (one for one in scanned["dimensions"] if one["name"] == "trivial answer")
    assert "always “praise”" in found["figure"]
    assert found["rating"] == "poor"
    assert 'slices = ["label"]' in found["reason"]
    assert any("Always answering “praise”" in reason for reason in scanned["reasons"])


def test_the_build_and_the_report_name_it_in_the_verdict(home: Path) -> None:
    built = stepdown(*BUILD, "--home", str(home))
    assert built.code == 0, built.err
    verdict = built.out.splitlines()[0]
    assert verdict.startswith("Certified.")
    assert "But always answering “praise” is within the margin too." in verdict
    assert 'Add slices = ["label"] to the contract' in built.out
    page = latest(open_home(home), TASK).report.read_text("utf-8")
    assert "But always answering “praise” is within the margin too." in page
    again = stepdown(*BUILD, "--home", str(home), "--json").json
    assert again["trivial"]["answer"] == "praise"
    assert again["trivial"]["within_margin"] is True
    assert again["trivial"]["error"] == pytest.approx(0.01, abs=0.004)


def test_where_it_misses_the_margin_the_verdict_is_silent(home: Path) -> None:
    built = stepdown(*BUILD, "--margin", "0.001", "--home", str(home))
    assert "But always answering" not in built.out
    assert "Always answering “praise” would be wrong on" in built.out
