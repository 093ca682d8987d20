"""A gateway that runs takes up what answers: promotions, rollbacks, builds, artefacts that go and come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.fixture_cache import KeptFolder
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, copied, serving, soon, sure

SURE = sure()[0]


@pytest.fixture(scope="module")
def twice(certified: Path, kept_folder: KeptFolder) -> Path:
    """A project with two builds that may answer; the second does."""
    return kept_folder("two-builds", build_again, certified)


def build_again(home: Path, certified: Path) -> None:
    copied(certified, home)
    assert stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--seed", "1", "--home", str(home)).code == 0


@pytest.fixture
def home(twice: Path, tmp_path: Path) -> Path:
    shutil.copytree(twice, tmp_path / "home")
    return tmp_path / "home"


def certificate(gateway: Gateway) -> str:
    """Of the answer to a text that a student is sure of; the reason where the incumbent answered."""
    headers = gateway.ask(SURE).headers
    found: str = headers.get("x-stepdown-certificate") or headers["x-stepdown-reason"]
    return found


def in_force(home: Path) -> bool:
    (one,) = stepdown("status", "--home", str(home), "--json").json["tasks"]
    found: bool = one["in_force"]
    return found


def test_promote_rollback_and_what_ifs_without_a_restart(home: Path, upstream: LargeModel) -> None:
    second, first = stepdown("builds", TASK, "--home", str(home), "--json").json
    with serving(home, "--upstream", upstream.url) as gateway:
        assert certificate(gateway) == second["certificate"][:16]
        assert stepdown("promote", TASK, first["build"], "--home", str(home)).code == 0
        assert soon(lambda: certificate(gateway) == first["certificate"][:16])
        assert stepdown("rollback", TASK, "--home", str(home)).code == 0
        assert soon(lambda: certificate(gateway) == second["certificate"][:16])
        for margin in ("0", "0.2"):
            made = stepdown(
                "build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", margin, "--home", str(home), "--json"
            ).json
            assert made["answers"] == second["build"]
            assert not soon(lambda: certificate(gateway) != second["certificate"][:16], 2.5)


@pytest.mark.parametrize("harm", ["gone", "tampered with"])
def test_status_and_gateway_agree_about_an_artefact(
    home: Path, upstream: LargeModel, tmp_path: Path, harm: str
) -> None:
    """While it is served too: it is out of force when it goes, and in force once it is back."""
    artefacts = home / ".stepdown/artefacts"
    with serving(home, "--upstream", upstream.url) as gateway:
        assert (gateway.ask(SURE).headers["x-stepdown-rung"], in_force(home)) == ("linear", True)
        shutil.copytree(artefacts, tmp_path / "kept")
        if harm == "gone":
            shutil.rmtree(artefacts)
        else:
            for path in artefacts.glob("*/*.safetensors"):
                data = bytearray(path.read_bytes())
                data[-1] ^= 1
                path.write_bytes(bytes(data))
        assert soon(lambda: "cannot be opened" in certificate(gateway))
        assert not in_force(home)
        assert not stepdown("certificate", "show", TASK, "--home", str(home), "--json").json["in_force"]
        assert not stepdown("report", TASK, "--home", str(home), "--json").json["in_force"]
        assert not stepdown("tasks", "--home", str(home), "--json").json[0]["in_force"]
        shutil.rmtree(artefacts, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", artefacts)
        assert soon(lambda: gateway.ask(SURE).headers["x-stepdown-rung"] == "linear")
        assert in_force(home)


def test_the_build_that_answers_goes_while_it_is_served(home: Path, upstream: LargeModel) -> None:
    second, first = stepdown("builds", TASK, "--home", str(home), "--json").json
    with serving(home, "--upstream", upstream.url) as gateway:
        assert certificate(gateway) == second["certificate"][:16]
        shutil.rmtree(home / ".stepdown/builds" / TASK / second["build"])
        assert soon(lambda: certificate(gateway) == "the build is not here")
        assert stepdown("rollback", TASK, "--home", str(home)).code == 0
        assert soon(lambda: certificate(gateway) == first["certificate"][:16])


def test_a_moved_pointer_moves_nothing(home: Path, upstream: LargeModel) -> None:
    second, first = stepdown("builds", TASK, "--home", str(home), "--json").json
    with serving(home, "--upstream", upstream.url) as gateway:
        for name in ("serving", "latest"):
            (home / ".stepdown/builds" / TASK / name).write_text(first["build"])
        assert not soon(lambda: certificate(gateway) != second["certificate"][:16], 2.5)
