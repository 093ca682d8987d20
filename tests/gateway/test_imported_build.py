"""A gateway on a project that holds nothing but an imported build answers as the one it came from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepdown.certificate.files import read_certificate
from stepdown.core.calls import as_production_makes_them
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, kept, serving, soon, sure, unsure

SURE = sure()[0]


def built(home: Path) -> Path:
    return next(home.glob(f".stepdown/builds/{TASK}/0*"))


def imported(certified: Path, folder: Path) -> Path:
    """An empty project into which a copy of the build was imported; the copy is gone."""
    home, copy = folder / "home", folder / "copy"
    home.mkdir()
    shutil.copytree(built(certified), copy)
    done = stepdown("import-build", str(copy), "--home", str(home))
    assert done.code == 0, done.err
    shutil.rmtree(copy)
    return home


@pytest.fixture(scope="module")
def elsewhere(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = imported(certified, tmp_path_factory.mktemp("elsewhere"))
    with serving(home, "--upstream", upstream.url) as running:
        yield running


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_it_answers_in_the_same_words(
    gateway: Gateway, elsewhere: Gateway, certified: Path, more: dict[str, bool]
) -> None:
    there, here = gateway.ask(SURE, **more), elsewhere.ask(SURE, **more)
    certificate = read_certificate(built(certified) / "certificate.json").digest
    assert here.headers["x-stepdown-certificate"] == certificate[:16]
    assert here.headers["x-stepdown-confidence"] == there.headers["x-stepdown-confidence"]
    if not more:
        one, other = there.json(), here.json()
        assert one["choices"] == other["choices"]
        assert (one["model"], one["usage"], one.keys()) == (other["model"], other["usage"], other.keys())


def test_it_escalates_what_it_is_not_sure_of_and_keeps_who_answered(elsewhere: Gateway) -> None:
    got = elsewhere.ask(unsure())
    assert (got.headers["x-stepdown-rung"], got.headers["x-stepdown-reason"]) == ("incumbent", "unsure")
    call = kept(elsewhere.home, got.headers["x-stepdown-id"])
    assert call.served is not None
    assert call.served.build == built(elsewhere.home).name
    assert call.served.asked
    assert call.task == TASK
    assert list(as_production_makes_them([call])) == []


def test_a_key_for_the_task_alone_opens_it_and_nothing_else(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    home = imported(certified, tmp_path)
    made = stepdown("key", "create", "desk", "--tasks", TASK, "--home", str(home), "--json")
    assert made.code == 0, made.err
    headers = {"authorization": f"Bearer {made.json['token']}"}
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).status_code == 401
        assert gateway.ask(SURE, headers=headers).headers["x-stepdown-rung"] == "linear"
        assert gateway.ask(SURE, model="gpt-5-pro", headers=headers).status_code == 403


def test_a_gateway_that_runs_takes_it_up(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    shutil.copytree(built(certified), copy)
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "incumbent"
        assert stepdown("import-build", str(copy), "--home", str(home)).code == 0
        assert soon(lambda: gateway.ask(SURE).headers["x-stepdown-rung"] == "linear")
        template = built(home) / "response-template.json"
        template.write_bytes(template.read_bytes() + b" ")
        assert soon(lambda: gateway.ask(SURE).headers["x-stepdown-rung"] == "incumbent")
        assert "response-template.json" in gateway.ask(SURE).headers["x-stepdown-reason"]


def test_where_the_journal_must_be_signed_it_waits_for_that(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    key = stepdown("audit", "keygen", str(tmp_path / "key.pem"), "--home", str(home), "--json").json["public_key"]
    (home / "stepdown.toml").write_text(f'[audit]\npublic_key = "{key}"\n')
    copy = tmp_path / "copy"
    shutil.copytree(built(certified), copy)
    done = stepdown("import-build", str(copy), "--home", str(home), "--json")
    assert (done.code, done.json["in_force"]) == (0, False), done.err
    assert "sign" in done.json["why_not"]
    assert stepdown("audit", "sign", "--key", str(tmp_path / "key.pem"), "--home", str(home)).code == 0
    (status,) = stepdown("status", "--home", str(home), "--json").json["tasks"]
    assert status["in_force"]
    assert open_home(home).settings.audit.public_key == key
