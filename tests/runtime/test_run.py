"""What `run.py` of an exported folder holds against its manifest, on folders that nothing was trained for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stepdown.runtime.run import Unusable, check

FILES = ("run.py", "cascade.json", "stepdown/__init__.py", "stepdown/core/__init__.py", "1-linear/manifest.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}")
    state(tmp_path, *FILES)
    return tmp_path


def state(folder: Path, *names: str) -> None:
    """A manifest that lists these files as they are."""
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def test_a_folder_as_it_was_written_passes(folder: Path) -> None:
    check(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "venv" / "lib").mkdir(parents=True)
    (folder / "venv" / "lib" / "numpy.py").write_text("")
    (folder / "stepdown" / "core" / "__pycache__").mkdir()
    (folder / "stepdown" / "core" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"never read")
    check(folder)


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_or_changed_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("other")
    with pytest.raises(Unusable, match=rf"{name} in .* its hash is another"):
        check(folder)
    (folder / name).unlink()
    with pytest.raises(Unusable, match=f"{name} is missing"):
        check(folder)


@pytest.mark.parametrize("name", ["run.py", "cascade.json"])
def test_the_manifest_must_list_the_program(folder: Path, name: str) -> None:
    state(folder, *(each for each in FILES if each != name))
    with pytest.raises(Unusable, match=f"does not list {name} as it should"):
        check(folder)


@pytest.mark.parametrize("name", ["../outside.py", "stepdown/../../outside.py"])
def test_the_manifest_may_not_point_outside(folder: Path, name: str) -> None:
    (folder.parent / "outside.py").write_text("")
    state(folder, *FILES, name)
    with pytest.raises(Unusable, match="as it should"):
        check(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"files": 3}', b"{}"])
def test_a_manifest_that_cannot_be_read(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(Unusable, match=r"manifest\.json"):
        check(folder)


ADDED = ["json.py", "json.pyc", "json.pyw", "json.so", "numpy/__init__.py", "stepdown/json.py", "stepdown/core/a.so"]
ADDED += ["stepdown/core/errors.pyc", "stepdown/new/deep/er.py", "stepdown/core/__pycache__/json.py", "models.py"]


@pytest.mark.parametrize("name", ADDED)
def test_code_that_is_in_no_export_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(Unusable, match=rf"{name} is no part of this export"):
        check(folder)


def test_a_link_to_a_folder_of_code_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "__init__.py").write_text("")
    for name in ("numpy", "stepdown/students"):
        (folder / name).symlink_to(elsewhere, target_is_directory=True)
        with pytest.raises(Unusable, match="is no part of this export"):
            check(folder)
        (folder / name).unlink()
