from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from stepdown.certificate.labelling import COLUMNS, labelling_order, write_labels_file
from stepdown.core.dataset import Example
from stepdown.core.errors import ResourceError

EXAMPLES = [
    Example(
        id=f"call-{number}", input=f'text, "{number}"\nline', incumbent="a", split="certify" if number % 2 else "tune"
    )
    for number in range(400)
] + [Example(id="known", input="x", incumbent="a", gold="b", split="certify")]


def test_only_certify_rows_without_gold_are_asked_for_and_a_prefix_is_a_random_sample() -> None:
    order = labelling_order(EXAMPLES)
    assert len(order) == 200
    assert {each.split for each in order} == {"certify"}
    assert labelling_order(reversed(EXAMPLES)) == order
    numbers = [int(each.id.removeprefix("call-")) for each in order]
    assert numbers != sorted(numbers)
    assert 140 < sum(numbers[:60]) / 60 < 260


def test_a_csv_to_fill_in(tmp_path: Path) -> None:
    answers = {example.id: "b" for example in EXAMPLES}
    assert write_labels_file(tmp_path / "labels.csv", EXAMPLES, answers, 30) == 30
    rows = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == COLUMNS
    first = labelling_order(EXAMPLES)[0]
    assert rows[0] == {"id": first.id, "input": first.text, "incumbent": "a", "student": "b", "gold": ""}
    assert len(rows) == 30


def test_json_lines_and_more_rows_than_there_are(tmp_path: Path) -> None:
    assert write_labels_file(tmp_path / "labels.jsonl", EXAMPLES, {}, 10_000) == 200
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(rows[0]) == set(COLUMNS)
    assert rows[0]["gold"] is None
    assert rows[0]["student"] is None


def test_traffic_cannot_run_as_a_spreadsheet_formula(tmp_path: Path) -> None:
    sly = [Example(id="1", input="=HYPERLINK(1)", incumbent=["a", 1], split="certify")]
    write_labels_file(tmp_path / "labels.csv", sly, {}, 1)
    row = next(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8")))
    assert row["input"] == "'=HYPERLINK(1)"
    assert json.loads(row["incumbent"]) == ["a", 1]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        write_labels_file(tmp_path / "no" / "labels.csv", EXAMPLES, {}, 1)
