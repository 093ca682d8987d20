from __future__ import annotations

import msgspec
import pytest

from stepdown.core.errors import InputError, TamperedError
from stepdown.curation.curate import curate
from stepdown.curation.dataset_file import EXAMPLES_FILE, EXCLUDED_FILE, read_dataset, write_dataset
from stepdown.curation.manifest import MANIFEST_FILE, read_manifest
from stepdown.curation.options import CurationOptions


@pytest.fixture
def dataset(make_call, task):
    calls = [make_call(str(n), f"question {n * n * 7919} is \u05e9 👍 {n}", "ab"[n % 2]) for n in range(120)]
    return curate([*calls, make_call("bad", " ", "a")], task, CurationOptions())


def test_what_is_written_is_read_back(dataset, tmp_path):
    write_dataset(dataset, tmp_path / "made" / "here")
    again = read_dataset(tmp_path / "made" / "here")
    assert again == msgspec.structs.replace(dataset, draw=None, unusable={})  # the journal has the draw
    assert [one.id for one in again.split("certify")] == [one.id for one in dataset.split("certify")]
    assert sorted(file.name for file in (tmp_path / "made" / "here").iterdir()) == sorted(
        [EXAMPLES_FILE, EXCLUDED_FILE, MANIFEST_FILE]
    )


def test_the_same_dataset_has_the_same_bytes(dataset, tmp_path):
    write_dataset(dataset, tmp_path / "a")
    write_dataset(dataset, tmp_path / "b")
    for name in (EXAMPLES_FILE, EXCLUDED_FILE, MANIFEST_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", [EXAMPLES_FILE, EXCLUDED_FILE])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_changed_file_is_named(dataset, tmp_path, name, harm):
    write_dataset(dataset, tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
    if harm == "remove":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(data[: len(data) // 2] if harm == "cut" else data)
    with pytest.raises(TamperedError, match=name):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"seed": 0', b'"seed": 1'), (b"not stated", b"allowed"), (b'"version"', b'"vorsion"')]
)
def test_a_changed_manifest_is_named(dataset, tmp_path, old, new):
    write_dataset(dataset, tmp_path)
    path = tmp_path / MANIFEST_FILE
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(TamperedError, match=MANIFEST_FILE):
        read_dataset(tmp_path)


def test_rows_of_another_dataset_are_noticed(dataset, tmp_path):
    other = msgspec.structs.replace(dataset, examples=dataset.examples[:-1])
    write_dataset(other, tmp_path)
    with pytest.raises(TamperedError, match=EXAMPLES_FILE):
        read_dataset(tmp_path)


def test_an_empty_folder_holds_no_dataset(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_dataset(tmp_path)


def test_a_manifest_of_rubbish_is_refused(tmp_path):
    (tmp_path / MANIFEST_FILE).write_bytes(b"\xff\x00 rubbish")
    with pytest.raises(TamperedError, match=MANIFEST_FILE):
        read_manifest(tmp_path / MANIFEST_FILE)
