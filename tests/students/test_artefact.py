"""Artefacts: sealed, audited before they are opened, placed by hash."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import InputError, TamperedError
from stepdown.core.students import ArtefactManifest
from stepdown.runtime.artefact import MANIFEST, read_manifest
from stepdown.students.artefact import place, seal


def _manifest(trained_s: float = 1.5) -> ArtefactManifest:
    return ArtefactManifest(
        kind="linear",
        task="desk",
        family="classify",
        labels=("a", "b"),
        signal_names=("top",),
        files={},
        seed=3,
        trained_s=trained_s,
        learned_from={"gold": 2},
        dataset_hash="d" * 64,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    (folder / "deep").mkdir(parents=True)
    (folder / "words.json").write_text("{}")
    (folder / "deep" / "more.json").write_text("[1]")
    seal(folder, _manifest())
    return folder


def test_a_sealed_folder_reads_back_with_every_file_by_hash(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert sorted(manifest.files) == ["deep/more.json", "words.json"]
    assert all(len(digest) == 64 for digest in manifest.files.values())
    assert msgspec.structs.replace(manifest, files={}) == _manifest()


def test_how_long_training_took_is_not_part_of_the_hash(folder: Path) -> None:
    sealed = read_manifest(folder)
    assert msgspec.structs.replace(sealed, trained_s=99.0).digest == sealed.digest
    assert msgspec.structs.replace(sealed, seed=4).digest != sealed.digest


def _change(folder: Path) -> None:
    (folder / "words.json").write_text("{ }")


def _remove(folder: Path) -> None:
    (folder / "words.json").unlink()


def _link(folder: Path) -> None:
    (folder / "words.json").unlink()
    (folder / "words.json").symlink_to(folder / "deep" / "more.json")


@pytest.mark.parametrize("tamper", [_change, _remove, _link])
def test_a_file_that_is_not_what_was_sealed_is_refused_by_name(folder: Path, tamper: object) -> None:
    assert callable(tamper)
    tamper(folder)
    with pytest.raises(TamperedError, match=r"words\.json"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["extra.json", "code.py", "weights.pkl", "graph.onnx"])
def test_a_file_beside_the_sealed_ones_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).write_text("1")
    with pytest.raises(TamperedError, match=name):
        read_manifest(folder)


def test_a_linked_folder_is_refused_by_name(folder: Path) -> None:
    (folder / "away").symlink_to(folder.parent, target_is_directory=True)
    with pytest.raises(TamperedError, match="away"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hosts.json", "a/../b.json", "a\\b.json"])
def test_a_manifest_that_points_outside_is_refused(folder: Path, name: str) -> None:
    manifest = read_manifest(folder)
    bad = msgspec.structs.replace(manifest, files={**manifest.files, name: "0" * 64})
    (folder / MANIFEST).write_bytes(canonical_json(bad))
    with pytest.raises(TamperedError, match="may not be part"):
        read_manifest(folder)


def test_a_manifest_that_cannot_be_parsed_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{" * 10_000)
    with pytest.raises(TamperedError, match=r"manifest\.json"):
        read_manifest(folder)


def test_a_later_format_and_a_missing_artefact_say_so(folder: Path, tmp_path: Path) -> None:
    later = msgspec.structs.replace(read_manifest(folder), version=3, kind="unheard-of")
    (folder / MANIFEST).write_bytes(canonical_json(later))
    with pytest.raises(InputError, match="version 3"):
        read_manifest(folder)
    with pytest.raises(InputError, match="not an artefact"):
        read_manifest(tmp_path)


def test_an_artefact_of_version_1_is_read_under_the_hash_that_it_had(folder: Path) -> None:
    written = msgspec.to_builtins(read_manifest(folder)) | {"version": 1}
    del written["runtime"]
    (folder / MANIFEST).write_bytes(canonical_json(written))
    assert read_manifest(folder).runtime == ""
    without_files = msgspec.structs.replace(_manifest(), version=1)
    assert without_files.digest == "e5ccb2bdccce321e73b74ff43741cff0980761d1f5078f848f31ac4a6e7e750d"


def test_an_artefact_for_another_runtime_than_its_kind_has_here_is_refused(folder: Path) -> None:
    seal(folder, msgspec.structs.replace(_manifest(), runtime="numpy"))
    assert read_manifest(folder).runtime == "numpy"
    other = msgspec.structs.replace(read_manifest(folder), runtime="onnxruntime")
    (folder / MANIFEST).write_bytes(canonical_json(other))
    with pytest.raises(InputError, match=r"onnxruntime.*'linear'.*numpy"):
        read_manifest(folder)


def test_placed_under_its_hash_and_a_changed_manifest_no_longer_fits_the_name(folder: Path, tmp_path: Path) -> None:
    digest = read_manifest(folder).digest
    placed = place(folder, tmp_path / "artefacts")
    assert placed == tmp_path / "artefacts" / digest
    assert not folder.exists()
    manifest = read_manifest(placed)
    (placed / MANIFEST).write_bytes(canonical_json(msgspec.structs.replace(manifest, labels=("a", "c"))))
    with pytest.raises(TamperedError, match=r"manifest\.json"):
        read_manifest(placed)


def test_placing_the_same_again_keeps_the_first_and_mends_a_broken_one(tmp_path: Path) -> None:
    def made(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "words.json").write_text("{}")
        seal(folder, _manifest())
        return folder

    first = place(made("one"), tmp_path / "artefacts")
    inode = os.stat(first / MANIFEST).st_ino
    assert place(made("two"), tmp_path / "artefacts") == first
    assert os.stat(first / MANIFEST).st_ino == inode
    (first / "words.json").write_text("broken")
    assert place(made("three"), tmp_path / "artefacts") == first
    assert read_manifest(first).kind == "linear"
