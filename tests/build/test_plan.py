"""A build's plan, read from its record: as it was written, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepdown.build.stored_plan import read_plan
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import InputError
from stepdown.students.kinds import encoder, linear
from stepdown.students.ladder import PlannedStudent

PLANNED = [
    PlannedStudent("linear", linear.Options(iterations=20), 4.0, None, "cheap", {"fitting": ((3, 11),)}),
    PlannedStudent("encoder", encoder.Options(epochs=2.0), 60.0, None, "best", {"teacher": ((7, 90), (40, 70))}),
    PlannedStudent("linear", linear.Options(), 4.0, "encoder", "again"),
]


def write(path: Path, students: object) -> Path:
    path.write_bytes(canonical_json({"version": 1, "plan": {"students": students, "cascade": ""}}))
    return path


def test_a_plan_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    assert read_plan(write(tmp_path / "record.json", [one.as_dict() for one in PLANNED])) == PLANNED


@pytest.mark.parametrize(
    "students",
    [
        [{**PLANNED[0].as_dict(), "kind": "oracle"}],
        [{**PLANNED[0].as_dict(), "options": {"iterations": "many"}}],
        [{**PLANNED[0].as_dict(), "cuts": {"fitting": [["first", 3]]}}],
        "none",
    ],
)
def test_what_is_no_plan_is_refused_with_what_to_do(students: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"record\.json"):
        read_plan(write(tmp_path / "record.json", students))


def test_a_file_that_is_not_there_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_plan(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_bytes(b"\x00\x01")
    with pytest.raises(InputError):
        read_plan(tmp_path / "other.json")
