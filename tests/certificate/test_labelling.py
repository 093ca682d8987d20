from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from stepdown.certificate.labelling import COLUMNS, write_labels_file
from stepdown.core.dataset import Example
from stepdown.core.errors import ResourceError

EXAMPLES = [
    Example(id=f"call-{number}", input=f'text, "{number}"\nline', incumbent="the answer", split="certify", place=number)
    for number in (7, 3, 11, 5)
]


def test_a_csv_to_fill_in_is_blind_and_in_the_order_given(tmp_path: Path) -> None:
    """Who sees an answer tends to agree with it."""
    assert write_labels_file(tmp_path / "labels.csv", EXAMPLES) == 4
    rows = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == COLUMNS == ("id", "input", "gold")
    assert [row["id"] for row in rows] == ["call-7", "call-3", "call-11", "call-5"]
    assert rows[0] == {"id": "call-7", "input": 'text, "7"\nline', "gold": ""}
    assert "the answer" not in (tmp_path / "labels.csv").read_text(encoding="utf-8")


def test_gold_that_is_known_is_not_shown_either(tmp_path: Path) -> None:
    write_labels_file(tmp_path / "labels.csv", [Example(id="1", input="x", incumbent="a", gold="secret")])
    assert "secret" not in (tmp_path / "labels.csv").read_text(encoding="utf-8")


def test_json_lines(tmp_path: Path) -> None:
    slots = Example(id="slots", input={"subject": "a", "body": "b"}, incumbent={"city": "Rome"})
    assert write_labels_file(tmp_path / "labels.jsonl", [*EXAMPLES, slots]) == 5
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(set(row) == set(COLUMNS) and row["gold"] is None for row in rows)
    assert "Rome" not in (tmp_path / "labels.jsonl").read_text(encoding="utf-8")


def test_traffic_cannot_run_as_a_spreadsheet_formula(tmp_path: Path) -> None:
    sly = [Example(id=str(number), input=f"{sign}HYPERLINK(1)", incumbent="a") for number, sign in enumerate("=+-@\t")]
    write_labels_file(tmp_path / "labels.csv", sly)
    rows = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8", newline="")))
    assert all(row["input"].startswith("'") for row in rows)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a file")
    with pytest.raises(ResourceError, match="cannot be written"):
        write_labels_file(tmp_path / "no" / "labels.csv", EXAMPLES)
