"""A certificate is in force for the contract in stepdown.toml and no other, and only if the journal issued it."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepdown.build.outcome import outcome
from stepdown.certificate.files import read_certificate, write_certificate
from stepdown.certificate.hashes import contract_hash, contract_table
from stepdown.core.contract import Contract
from stepdown.project.builds import latest
from stepdown.project.home import open_home
from stepdown.project.in_force import standing_now, why_other_contract
from stepdown.project.settings import parse_settings
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.fixture_cache import KeptFolder
from tests.gateway.serving import SETTINGS, sure


@pytest.fixture(scope="module")
def overridden(certified: Path, kept_folder: KeptFolder) -> Path:
    """A project whose newest build was asked for a wider margin than its settings have."""
    return kept_folder("overridden", build_overridden, certified)


def build_overridden(home: Path, certified: Path) -> None:
    shutil.copytree(certified, home, dirs_exist_ok=True)
    built = stepdown(
        "build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", "0.1", "--home", str(home), "--json"
    )
    assert built.code == 0, built.err


def standing(home: Path) -> str:
    (task,) = stepdown("status", "--home", str(home), "--json").json["tasks"]
    return str(task["stands"])


def answered(home: Path) -> Any:
    return stepdown("answer", TASK, sure()[0], "--home", str(home), "--json")


def test_a_build_with_another_margin_changes_nothing_that_answers(overridden: Path) -> None:
    assert latest(open_home(overridden), TASK).path != standing_now(open_home(overridden), TASK).folder.path
    assert standing(overridden) == ""
    assert answered(overridden).json["rung"] == "linear"
    assert stepdown("certificate", "verify", TASK, "--home", str(overridden), "--json").json["verified"]


def test_a_build_that_is_refused_changes_nothing_that_answers(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(certified, home)
    refused = stepdown(
        "build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", "0", "--home", str(home), "--json"
    )
    assert refused.json["verdict"] == "refused"
    assert standing(home) == ""
    assert answered(home).json["rung"] == "linear"


def test_a_certificate_for_another_contract_does_not_answer(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(certified, home)
    (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.02"))
    why = "the certificate is for another contract: margin = 0.05; stepdown.toml asks for margin = 0.02"
    assert standing(home) == why
    assert why in stepdown("status", "--home", str(home)).out
    said = answered(home)
    assert said.json["rung"] == "incumbent"
    assert why in said.err
    refused = stepdown("export", TASK, "--to", str(tmp_path / "out"), "--format", "onnx", "--home", str(home))
    assert refused.code == 1
    assert why in refused.err


def test_it_answers_once_the_settings_have_its_contract_and_somebody_promotes_it(
    overridden: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(overridden, home)
    newest = latest(open_home(home), TASK).path.name
    refused = stepdown("promote", TASK, newest, "--home", str(home))
    assert (refused.code, "margin = 0.1; stepdown.toml asks for margin = 0.05" in refused.err) == (1, True)
    (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.1"))
    assert (
        standing(home) == "the certificate is for another contract: margin = 0.05; stepdown.toml asks for margin = 0.1"
    )
    assert stepdown("promote", TASK, newest, "--home", str(home)).code == 0
    assert standing(home) == ""
    assert answered(home).json["rung"] == "linear"
    (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.1").replace("holdback = 0.0", "holdback = 0.5"))
    assert standing(home) == "", "a holdback is no demand on the cascade"


def test_the_note_for_whoever_built_it(overridden: Path, certified: Path) -> None:
    newest = latest(open_home(overridden), TASK)
    said = outcome(open_home(overridden), TASK, newest)
    answers = latest(open_home(certified), TASK)
    assert (said.answers, said.in_force) == (answers.path.name, True)
    assert said.note == (
        f"Nothing has changed: the build {answers.path.name} goes on answering. This certificate will not be served: "
        "it is for margin = 0.1; stepdown.toml asks for margin = 0.05. To serve it, write its contract into "
        f"[tasks.tickets.contract], then: stepdown promote tickets {newest.path.name}"
    )
    assert outcome(open_home(certified), TASK, answers).note == "It answers from now on."


def test_a_certificate_that_the_journal_does_not_know(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(certified, home)
    path = latest(open_home(home), TASK).certificate
    certificate = read_certificate(path)
    write_certificate(path, msgspec.structs.replace(certificate, expires_at=certificate.expires_at + 1.0))
    said = answered(home)
    assert said.json["rung"] == "incumbent"
    assert "the journal knows no such certificate" in said.err


@pytest.mark.parametrize(
    ("certified_for", "asked", "said"),
    [
        ({}, "", ""),
        ({"margin": 0.1}, "", "margin = 0.1; stepdown.toml asks for margin = 0.02"),
        (
            {"against": "agreement"},
            "margin = 0.03",
            'margin = 0.02, against = "agreement"; stepdown.toml asks for margin = ',
        ),
        ({}, "latency_p95_ms = 20", "no latency_p95_ms; stepdown.toml asks for latency_p95_ms = 20"),
        ({}, 'expires_after = "36h"', 'expires_after = "30d"; stepdown.toml asks for expires_after = "36h"'),
        ({"slices": ("label",)}, "", 'slices = ["label"]; stepdown.toml asks for no slices'),
        ({"unit": "client_id"}, "", 'unit = "client_id"; stepdown.toml asks for no unit'),
        ({"holdback": 0.5}, "holdback = 0.1", ""),
    ],
)
def test_the_keys_that_differ_are_named(certified: Path, certified_for: dict[str, Any], asked: str, said: str) -> None:
    contract = Contract(**certified_for)
    certificate = msgspec.structs.replace(
        latest(open_home(certified), TASK).read_certificate(),
        contract=contract_table(contract),
        contract_hash=contract_hash(contract),
    )
    settings = parse_settings(tomllib.loads(f"[tasks.{TASK}.contract]\n{asked}\n"))
    found = why_other_contract(settings, certificate)
    assert (said in found) if said else found == ""
