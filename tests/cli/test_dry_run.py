"""A dry run forecasts on tune: the evidence is neither asked nor spent, and a build after it is a first attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepdown.core.draw import ATTEMPTED, LOOKED
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK, lines, ticket

pytestmark = pytest.mark.slow

BUILD = ("build", TASK, "--kinds", "linear", "--budget", "40s", "--against", "agreement")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dry-run")
    (folder / "calls.jsonl").write_bytes(lines(ticket(number) for number in range(1_200)))
    assert stepdown("import", str(folder / "calls.jsonl"), "--home", str(folder)).code == 0
    return folder


def spent(home: Path) -> list[str]:
    with open_home(home).store() as store:
        return [event.kind for event in store.events() if event.kind in (ATTEMPTED, LOOKED, "built")]


def test_a_dry_run_spends_nothing_and_says_what_a_build_would_be(home: Path) -> None:
    for _ in range(2):
        said = stepdown(*BUILD, "--dry-run", "--home", str(home), "--json")
        assert said.code == 0, said.err
        assert said.json["dry_run"] is True
        assert said.json["evidence"]["attempt"] == 1
        assert said.json["evidence"]["error_share"] == pytest.approx(0.0375)
        assert said.json["evidence"]["n_drawn"] > 200
        assert said.json["rungs"]
        assert 0.0 < said.json["expected"]["offload"] <= 1.0
        assert said.json["expected"]["chance"] >= 0.5
    assert spent(home) == []
    assert not list((home / ".stepdown" / "builds").glob(f"{TASK}/0*"))
    words = stepdown(*BUILD, "--dry-run", "--home", str(home))
    assert "nothing was tested or spent" in words.out
    assert "attempt 1 on this evidence" in words.out


def test_a_build_after_dry_runs_is_a_first_attempt_and_is_counted_by_the_next(home: Path) -> None:
    built = stepdown(*BUILD, "--home", str(home), "--json")
    assert built.json["evidence"]["attempt"] == 1
    assert built.json["verdict"] == "certified"
    assert built.json["evidence"]["error_left"] == pytest.approx(0.0125)
    again = stepdown(*BUILD, "--home", str(home))
    assert "Attempt 1 on this evidence: it was tested at an error of 3.750%, and 1.250% of 5.0% are left" in again.out
    tried = stepdown(*BUILD, "--margin", "0.01", "--dry-run", "--home", str(home), "--json")
    assert tried.json["evidence"]["attempt"] == 2
    assert spent(home) == [ATTEMPTED, "built", "built"]
