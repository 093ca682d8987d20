"""What others add from a distribution of their own, one file each, is found by entry point and works throughout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tickets import TASK, write_tickets
from tests.gateway.serving import asked, serving, soon

KINDS = Path(__file__).parent / "kinds"
ENTRY_POINTS = """\
[stepdown.student]
nearest = nearest
[stepdown.student-graph]
nearest = nearest
[stepdown.loss]
near-miss = near_miss
[stepdown.upstream]
canned = canned
[stepdown.command]
labels = labels
needy = needy
[stepdown.metric]
broken = broken
"""
NEEDY = """\
'''needy: needs something only when it runs.'''
import click
EXTRA = "plots"
@click.command()
def command():
    import package_that_is_not_there
"""
BROKEN = '"""broken: needs what is not there."""\nEXTRA = "plots"\nimport package_that_is_not_there\n'
SETTINGS = """\
[tasks.tickets]
kinds = ["nearest"]
[tasks.tickets.students.nearest]
sharpness = 9.5
[tasks.tickets.contract]
margin = 0.1
loss = "near-miss"
against = "agreement"
[gateway]
capture_lag_s = 0.0
[[gateway.upstreams]]
kind = "canned"
url = "canned:"
options = { answer = "shipping" }
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of installed packages, as PYTHONPATH has it: one distribution of four kinds, and one that is broken."""
    site = tmp_path_factory.mktemp("site")
    for path in KINDS.glob("*.py"):
        shutil.copy(path, site)
    (site / "broken.py").write_text(BROKEN)
    (site / "needy.py").write_text(NEEDY)
    facts = site / "outside-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (facts / "top_level.txt").write_text("needy\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    inherited = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join([str(site), *inherited])


@pytest.fixture(scope="module")
def home(site: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose one task is built with the outside student under the outside loss."""
    home = tmp_path_factory.mktemp("outside")
    (home / "stepdown.toml").write_text(SETTINGS)
    done(stepdown(site, "import", str(write_tickets(home / "calls.jsonl", 900)), "--home", str(home)))
    done(stepdown(site, "build", TASK, "--budget", "40s", "--home", str(home)))
    return home


def stepdown(site: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stepdown", *arguments]
    environment = {**os.environ, "PYTHONPATH": site}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def done(said: subprocess.CompletedProcess[str]) -> str:
    assert said.returncode == 0, said.stderr
    return said.stdout


def record(home: Path) -> dict[str, Any]:
    folder = max((home / ".stepdown" / "builds" / TASK).glob("0*"))
    found: dict[str, Any] = json.loads((folder / "record.json").read_bytes())
    return found


def test_a_student_is_trained_with_its_options_certified_and_answers(home: Path, site: str) -> None:
    built = record(home)
    assert [one["kind"] for one in built["students"]] == ["nearest"]
    assert built["plan"]["asked"] == {"kinds": ["nearest"], "options": {"nearest": {"sharpness": 9.5}}}
    assert built["kinds"] == {"nearest": "each label's mean bag of words, and the nearest one"}
    said = stepdown(site, "answer", TASK, "hello where is my parcel order 7 item 7", "--home", str(home), "--json")
    assert json.loads(done(said))["answer"] == "shipping"


def test_a_loss_is_what_the_certificate_is_about_and_the_report_has_its_words(home: Path, site: str) -> None:
    built = record(home)
    assert built["loss"] == "near-miss"
    assert built["certificate"]["contract"]["loss"] == "near-miss"
    page = next((home / ".stepdown" / "builds" / TASK).glob("0*/report.html")).read_text("utf-8")
    assert "misrouting" in page
    done(stepdown(site, "certificate", "verify", TASK, "--home", str(home)))


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_the_student_is_exported_and_answers_without_stepdown(home: Path, site: str, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    said = stepdown(site, "export", TASK, "--to", str(out), "--format", form, "--home", str(home), "--json")
    assert json.loads(done(said))["verdict"] == "certified"
    alone = subprocess.run(
        [sys.executable, str(out / "run.py"), "hello where is my parcel order 7 item 7"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert json.loads(done(alone))["answer"] == "shipping"
    assert (out / "requirements.txt").read_text().count("==") <= 4
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert "torch" not in manifest["requires"]


def test_an_upstream_answers_through_the_gateway_with_its_own_option(home: Path, site: str) -> None:
    here = (TASK, "--home", str(home))
    with serving(home, PYTHONPATH=site) as gateway:
        said = gateway.client.post(
            "/v1/chat/completions", json=asked("a puzzle"), headers={"x-stepdown-route": "incumbent"}
        )
        assert said.status_code == 200, said.text
        assert said.json()["choices"][0]["message"]["content"] == "shipping"
        local = gateway.ask("hello where is my parcel order 7 item 7")
        assert local.headers["x-stepdown-rung"] == "nearest"
        recorded = soon(lambda: said.headers["x-stepdown-id"] in done(stepdown(site, "calls", *here, "--json")), 60.0)
        assert recorded


def test_a_command_is_one_of_all(home: Path, site: str) -> None:
    assert "labels" in done(stepdown(site, "--help"))
    counted = json.loads(done(stepdown(site, "labels", "--least", "100", "--home", str(home), "--json")))
    assert counted.keys() == {"account", "praise", "refund", "shipping"}


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(site: str) -> None:
    script = "from stepdown.evaluation.metric import metrics; metrics().load('broken')"
    said = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": site},
        check=False,
    )
    assert "The metric 'broken' needs the package 'package_that_is_not_there'" in said.stderr
    assert "Run: pip install 'outside[plots]'" in said.stderr
    said = stepdown(site, "needy")
    assert said.returncode == 1
    assert "What needy does needs the package 'package_that_is_not_there'" in said.stderr
    assert "Run: pip install 'outside[plots]'" in said.stderr


def test_without_the_package_the_report_is_drawn_and_the_rest_says_what_is_missing(home: Path, tmp_path: Path) -> None:
    own = os.pathsep.join(os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)
    copy = shutil.copytree(home, tmp_path / "home")
    page = tmp_path / "page.html"
    done(stepdown(own, "report", TASK, "--to", str(page), "--home", str(copy)))
    assert "mean bag of words" in page.read_text("utf-8")
    said = stepdown(own, "answer", TASK, "hello", "--home", str(copy))
    assert said.returncode != 0
    assert "There is no student 'nearest'" in said.stderr
