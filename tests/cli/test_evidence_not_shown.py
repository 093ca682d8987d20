"""Rows of the evidence stand nowhere beside a student's answer, and no figure of a student is computed on them."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.dataset import Dataset, Example
from stepdown.core.record import BuildRecord
from stepdown.curation.dataset_file import read_dataset
from stepdown.project.builds import BuildFolder, latest
from stepdown.project.home import open_home
from tests.cli import bookings
from tests.cli.conftest import TASK, stepdown

pytestmark = pytest.mark.slow

Built = tuple[Path, dict[str, Any]]
SHOWN = {"tune", "test"}
SHORT = 20
"""A text of fewer characters may stand in a page by chance."""


@pytest.fixture(params=["labels", "fields"])
def folder(request: pytest.FixtureRequest) -> BuildFolder:
    if request.param == "labels":
        return latest(open_home(request.getfixturevalue("built")[0]), TASK)
    return latest(open_home(request.getfixturevalue("booked")), bookings.TASK)


def evidence_only(dataset: Dataset) -> list[Example]:
    """Rows of the evidence whose text no other row has."""
    elsewhere = {example.text for example in dataset.examples if example.split != "certify"}
    rows = [one for one in dataset.split("certify") if one.text not in elsewhere and len(one.text) >= SHORT]
    assert len(rows) > 50
    return rows


def plain(page: str) -> str:
    """A page's text without tags; words may have a place to break in them."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


def quoted(text: str) -> str:
    return " ".join(text.split())[:500]


def test_no_row_of_the_evidence_is_shown(folder: BuildFolder) -> None:
    rows = evidence_only(read_dataset(folder.dataset))
    ids = {one.id for one in rows}
    record = folder.read_record()
    assert record.disagreements
    assert not ids & {one.id for one in record.disagreements}
    shown = {
        "record": json.dumps(json.loads(folder.record.read_bytes()), ensure_ascii=False),
        "report": plain(folder.report.read_text(encoding="utf-8")),
        "model card": plain(folder.model_card.read_text(encoding="utf-8").replace("\\", "")),
    }
    for name, page in shown.items():
        assert not ids & set(re.findall(r"[\w.-]+", page)), name
        told = [one.text for one in rows if quoted(one.text) in page]
        assert not told, (name, told[:3])


def test_what_build_prints_has_no_row_of_the_evidence(built: Built, tmp_path: Path) -> None:
    home, said = built
    rows = evidence_only(read_dataset(latest(open_home(home), TASK).dataset))
    reported = stepdown("report", TASK, "--to", str(tmp_path / "page.html"), "--home", str(home), "--json").out
    for page in (json.dumps(said, ensure_ascii=False), reported):
        assert not [one.id for one in rows if one.id in page or one.text in page]


def test_no_figure_of_a_student_is_of_the_evidence(folder: BuildFolder) -> None:
    record = folder.read_record()
    assert _splits(record) <= SHOWN
    assert {one.split for one in record.field_escalation} <= SHOWN
    rows = max(record.dataset.counts.get(split, 0) for split in SHOWN)
    assert all(point.excess.n <= rows for point in record.risk_coverage)


def test_the_summary_says_what_the_evidence_was(built: Built) -> None:
    _, said = built
    keys = {"kind", "n_drawn", "n_labelled", "units", "unit", "attempt", "error_share", "error_left", "excluded"}
    assert said["evidence"].keys() == keys
    assert said["evidence"]["kind"] == "gold"
    assert said["evidence"]["units"] == said["excess_loss"]["n"]


def _splits(record: BuildRecord) -> set[str]:
    measured = [quality for student in record.students for quality in student.quality]
    measured += [*record.incumbent.quality, *(record.cascade.quality if record.cascade else ())]
    return {quality.split for quality in measured}
