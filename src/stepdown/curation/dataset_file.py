"""A dataset on disk: `examples.jsonl.zst`, `excluded.jsonl.zst` and `manifest.json` in one folder."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Dataset, Example, Excluded
from stepdown.core.errors import ResourceError, TamperedError
from stepdown.curation.manifest import MANIFEST_FILE, content_hash, read_manifest, write_manifest

EXAMPLES_FILE, EXCLUDED_FILE = "examples.jsonl.zst", "excluded.jsonl.zst"
MOST_LINE_BYTES = 64 * 1024 * 1024

Row = TypeVar("Row", Example, Excluded)


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a dataset into a folder (made where missing), manifest last, each file whole or not at all.

    Raises ResourceError when the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            EXAMPLES_FILE: _write_rows(folder / EXAMPLES_FILE, dataset.examples),
            EXCLUDED_FILE: _write_rows(folder / EXCLUDED_FILE, dataset.excluded),
        }
        write_manifest(folder / f"{MANIFEST_FILE}.part", dataset.manifest, files)
        os.replace(folder / f"{MANIFEST_FILE}.part", folder / MANIFEST_FILE)
    except OSError as error:
        problem = f"The dataset could not be written to {folder}: {error.strerror}."
        raise ResourceError(problem, "What was there is unchanged.", "Free some space and run it again.") from None


def read_dataset(folder: Path) -> Dataset:
    """Read a dataset back. Raises InputError when there is none, TamperedError naming the file that was changed."""
    manifest, files = read_manifest(folder / MANIFEST_FILE)
    if set(files) != {EXAMPLES_FILE, EXCLUDED_FILE}:
        raise _tampered(MANIFEST_FILE, f"names the files {sorted(files)}")
    for name, expected in files.items():
        _verify(folder / name, expected)
    examples = tuple(_read_rows(folder / EXAMPLES_FILE, Example))
    excluded = tuple(_read_rows(folder / EXCLUDED_FILE, Excluded))
    if content_hash(examples) != manifest.content_hash:
        raise _tampered(EXAMPLES_FILE, "holds rows that do not match the manifest's content hash")
    return Dataset(examples=examples, excluded=excluded, manifest=manifest)


def _write_rows(path: Path, rows: Iterable[Row]) -> str:
    """Write rows as compressed JSON lines and return the file's sha256."""
    part = path.with_name(f"{path.name}.part")
    # One thread and a fixed level: the same rows give the same bytes.
    with part.open("wb") as raw, zstandard.ZstdCompressor(level=6).stream_writer(raw, closefd=False) as out:
        for row in rows:
            out.write(canonical_json(row) + b"\n")
    os.replace(part, path)
    return _sha256(path)


def _read_rows(path: Path, kind: type[Row]) -> Iterator[Row]:
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            lines = io.BufferedReader(stream)
            while line := lines.readline(MOST_LINE_BYTES):
                yield decoder.decode(line)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise _tampered(path.name, f"cannot be read ({error})") from None


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise _tampered(path.name, "is missing")
    if _sha256(path) != expected:
        raise _tampered(path.name, "was changed after it was written")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tampered(name: str, problem: str) -> TamperedError:
    return TamperedError(f"{name} {problem}.", "The manifest states each file's hash.", "Build the task again.")
