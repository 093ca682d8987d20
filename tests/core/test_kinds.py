"""The folder is the list: a file that is put there is found, and a wrong name is answered with the nearest."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from stepdown.core.errors import UnknownKind
from stepdown.core.family import families
from stepdown.core.kinds import Kinds


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "shelf_of_kinds"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("WORD = 'one'")
    (package / "_private.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return "shelf_of_kinds"


def test_a_file_is_a_kind(folder: str, tmp_path: Path) -> None:
    kinds: Kinds[ModuleType] = Kinds(folder, "word")
    assert kinds.names() == ["first"]
    (tmp_path / folder / "second.py").write_text("WORD = 'two'")
    assert {name: kind.WORD for name, kind in kinds.all().items()} == {"first": "one", "second": "two"}


def test_an_unknown_kind_says_the_nearest(folder: str) -> None:
    kinds: Kinds[ModuleType] = Kinds(folder, "word")
    with pytest.raises(UnknownKind, match="no word 'frist'.*Did you mean 'first'"):
        kinds.load("frist")


def test_classify_is_a_family() -> None:
    assert "classify" in families().names()
