"""`stepdown kinds` lists every family, and docs/reference.md is what the program would write now."""

from __future__ import annotations

import re
from pathlib import Path

from stepdown.cli.catalogue import all_families, rows_of
from stepdown.cli.reference import reference
from tests.cli.conftest import stepdown

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert written == reference(), "Run: python -m stepdown.cli.reference > docs/reference.md"


def test_every_family_of_kinds_is_in_the_catalogue() -> None:
    made = [
        what
        for path in (ROOT / "src").rglob("*.py")
        for what in re.findall(r'Kinds\("stepdown[\w.]+", "([\w ]+)"', path.read_text("utf-8"))
    ]
    assert set(made) == set(all_families())


def test_every_kind_and_every_option_is_described() -> None:
    for kinds in all_families().values():
        for row in rows_of(kinds):
            assert row.missing or len(row.description) > 10, (row.family, row.name)
            assert all(option.description for option in row.options), (row.family, row.name)


def test_a_family_a_kind_and_its_options_are_shown() -> None:
    assert "student: crf, encoder" in stepdown("kinds").out
    shown = stepdown("kinds", "student", "encoder").out
    assert "[tasks.NAME.students.encoder]" in shown
    assert "layers = 3 (--encoder-layers): a whole number, at least 0." in shown
    (row,) = stepdown("kinds", "upstream", "replay", "--json").json
    assert row["family"] == "upstream"
    (linear,) = stepdown("kinds", "student", "linear", "--json").json
    assert linear["extra"] == "stepdown[train]"
    assert {"name": "iterations", "default": 35, "flag": "--linear-iterations"}.items() <= linear["options"][5].items()


def test_an_unknown_family_or_kind_says_the_nearest() -> None:
    assert "Did you mean 'student'?" in stepdown("kinds", "studnt").err
    assert "Did you mean 'encoder'?" in stepdown("kinds", "student", "encodr").err
