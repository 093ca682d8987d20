from __future__ import annotations

from pathlib import Path

import pytest

from stepdown.students.bundling import bundle

WORDS = "stepdown.students.words"


def test_students_share_modules_but_no_name_for_different_ones(tmp_path: Path) -> None:
    assert bundle([WORDS], {}, tmp_path) == [tmp_path / "words.py"]
    assert bundle([WORDS], {}, tmp_path) == [tmp_path / "words.py"]
    with pytest.raises(ValueError, match=r"words.py; expected different last names"):
        bundle([WORDS], {WORDS: "stepdown.students.programs.abstaining"}, tmp_path)
