"""A student that answers differently here than where it was built does not answer, and the reason is given."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from stepdown.core.canonical import canonical_json
from stepdown.runtime.artefact import read_manifest
from stepdown.runtime.cascade import CascadeSpec
from stepdown.runtime.probes import PROBES, Probes
from stepdown.students.artefact import seal
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import SETTINGS, copied, issue, serving, sure

SURE = sure()[0]
WHY = "answers differently on this machine than where it was built"


def come_from_another_machine(home: Path) -> None:
    """Make the build what another machine, where the first probe has another answer, would have built and certified."""
    build = home / f".stepdown/builds/{TASK}" / (home / f".stepdown/builds/{TASK}/latest").read_text().strip()
    spec = msgspec.json.decode((build / "cascade.json").read_bytes(), type=CascadeSpec)
    artefacts = home / ".stepdown/artefacts"
    changed = artefacts / "changed"
    (artefacts / spec.rungs[0].artefact).rename(changed)
    manifest = read_manifest(changed)
    first, *others = msgspec.json.decode((changed / PROBES).read_bytes(), type=Probes).probes
    probes = Probes(probes=(msgspec.structs.replace(first, answer="elsewhere"), *others))
    (changed / PROBES).write_bytes(canonical_json(probes))
    digest = seal(changed, manifest).digest
    changed.rename(artefacts / digest)
    rungs = (msgspec.structs.replace(spec.rungs[0], artefact=digest), *spec.rungs[1:])
    spec = msgspec.structs.replace(spec, rungs=rungs)
    (build / "cascade.json").write_bytes(canonical_json(spec))
    issue(home, TASK, cascade_hash=spec.digest)


@pytest.fixture
def moved(certified: Path, tmp_path: Path) -> Path:
    home = copied(certified, tmp_path / "home")
    come_from_another_machine(home)
    return home


def test_the_incumbent_answers_and_it_is_said_why(moved: Path, upstream: LargeModel) -> None:
    with serving(moved, "--upstream", upstream.url) as gateway:
        got = gateway.ask(SURE)
        assert got.json()["choices"][0]["message"]["content"] == SAID
        assert got.headers["x-stepdown-rung"] == "incumbent"
        assert WHY in got.headers["x-stepdown-reason"]
        assert "of 64 probe inputs 1 have another answer" in gateway.log


def test_what_may_not_leave_does_not(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", SETTINGS + 'privacy = "local-only"\n')
    come_from_another_machine(home)
    before = len(upstream.seen)
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).status_code == 422
    assert len(upstream.seen) == before


def test_answer_leaves_everything_to_the_incumbent(moved: Path) -> None:
    said = stepdown("answer", TASK, SURE, "--home", str(moved), "--json")
    assert said.code == 0
    assert json.loads(said.out)["rung"] == "incumbent"
    assert "answers differently than where it was built" in said.err
