"""Gold and verdicts by call id."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from stepdown.core.calls import Broken
from stepdown.core.errors import InputError
from stepdown.core.store import Gold, Verdict
from stepdown.traffic.gold import read_gold, read_verdicts


def test_the_shipped_gold(shared_data: Path) -> None:
    rows = list(read_gold(str(shared_data / "banking77_qwen3" / "gold.csv")))
    assert Counter(row.split for row in rows if isinstance(row, Gold)) == {"train": 9_003, "dev": 1_000, "test": 3_080}


def test_contradictions_and_unknown_splits_are_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text("id,gold,split\na,x,train\nb,y,tran\na,z,train\na,x,train\n,x,\nc,,\nd,w,\n")
    rows = list(read_gold(str(path)))
    assert [row.id for row in rows if isinstance(row, Gold)] == ["a", "d"]
    reasons = [(row.line, row.reason) for row in rows if isinstance(row, Broken)]
    assert [line for line, _ in reasons] == [3, 4, 6]  # line 7 waits to be filled in
    assert "did you mean 'train'?" in reasons[0][1]
    assert "contradicts line 2" in reasons[1][1]


def test_gold_as_packed_json_lines_may_be_an_object(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 7, "gold": {"city": "Bonn"}}\n{"id": "x", "gold": nope}\n'))
    gold, broken = list(read_gold(str(path)))
    assert gold == Gold(id="7", gold={"city": "Bonn"}, source=f"{path}:1")
    assert isinstance(broken, Broken)


def test_verdicts_point_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text("id,loss,accepted,score,judge\na,0.25,,,j\nb,,yes,,j\nc,,no,,j\nd,,,0.9,j\ne,2,,,j\n")
    rows = list(read_verdicts(str(path)))
    losses = {row.id: row.loss for row in rows if isinstance(row, Verdict)}
    assert losses == pytest.approx({"a": 0.25, "b": 0.0, "c": 1.0, "d": 0.1})
    assert [row.line for row in rows if isinstance(row, Broken)] == [6]


def test_a_file_of_something_else_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("name,colour\nx,red\n")
    with pytest.raises(InputError, match="column `id`"):
        list(read_gold(str(path)))
    path.write_text("")
    assert [row.reason for row in read_gold(str(path)) if isinstance(row, Broken)] == ["empty"]


def test_an_object_is_the_same_gold_as_text_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(
        '{"id": "a", "gold": {"x": 1, "y": [2]}}\n{"id": "a", "gold": "{\\"y\\": [2], \\"x\\": 1}"}\n'
        '{"id": "a", "gold": "{\\"x\\": 2}"}\n{"id": "b", "gold": "{no"}\n{"id": "b", "gold": "{no"}\n'
        '{"id": "c", "gold": {}}\n'
    )
    rows = list(read_gold(str(path)))
    assert [(row.id, row.gold) for row in rows if isinstance(row, Gold)] == [
        ("a", {"x": 1, "y": [2]}),
        ("b", "{no"),
        ("c", {}),
    ]
    assert [row.line for row in rows if isinstance(row, Broken)] == [3]
