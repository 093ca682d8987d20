"""An artefact as it is opened: audited before anything in it is loaded, then asked its probes again."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from stepdown.core.errors import InputError, TamperedError
from stepdown.core.students import ArtefactManifest, Device, Runtime, Student
from stepdown.runtime.cascade import Cascade, OpenRung, Rung, open_confidence
from stepdown.runtime.kinds import served_kinds
from stepdown.runtime.probes import replay_probes

MANIFEST, UNFINISHED = "manifest.json", ".manifest.json.unfinished"
MAX_FILES = 64
MAX_FILE_BYTES = 16 * 2**30
MAX_MANIFEST_BYTES = 64 * 2**20
_VERSIONS = (1, 2)
_DIGEST = re.compile(r"[0-9a-f]{64}")


def open_cascade(rungs: Iterable[tuple[Rung, Path]], threads: int = 1, device: Device = "cpu") -> Cascade:
    """A cascade of rungs, each with the folder of its student. Raises what `open_student` does."""
    return Cascade(
        tuple(
            OpenRung(open_student(folder, threads, device), open_confidence(rung.calibrator), rung.threshold)
            for rung, folder in rungs
        )
    )


def open_student(folder: Path, threads: int = 1, device: Device = "cpu") -> Student:
    """Audit an artefact, open it with its kind, and replay its probes.

    Raises TamperedError, InputError, UnknownKind; UsageError where its runtime lacks the device; DifferentAnswersError
    where it answers differently than where it was built.
    """
    manifest = read_manifest(folder)
    student = served_kinds().load(manifest.kind).open(folder, manifest, threads, device)
    replay_probes(folder, student)
    return student


def read_manifest(folder: Path) -> ArtefactManifest:
    """The manifest of an artefact whose every file is there, unchanged, with none beside them.

    A folder that is named by a hash must have that hash. Nothing but the manifest is parsed. Raises TamperedError,
    which names the file; InputError when there is no artefact or a later version of stepdown wrote it.
    """
    manifest = _parse_manifest(folder)
    if manifest.version not in _VERSIONS:
        raise InputError(
            f"{folder / MANIFEST} has format version {manifest.version}.",
            f"This stepdown reads the versions {_VERSIONS[0]} to {_VERSIONS[-1]}.",
            "Upgrade stepdown, or build the student again.",
        )
    if _DIGEST.fullmatch(folder.name) and manifest.digest != folder.name:
        raise _tampered(f"{MANIFEST} in {folder} does not have the hash that the folder is named by.")
    runtime = runtime_of(folder, manifest)
    for name in manifest.files:
        _check_name(folder, name, runtime)
    found = set(content_of(folder, runtime))
    for name in sorted(manifest.files.keys() | found):
        if name not in found:
            raise _tampered(f"{name} is in the manifest of {folder} but not in the folder.")
        if name not in manifest.files:
            raise _tampered(f"{name} is in {folder} but not in its manifest.")
        if sha256(folder / name) != manifest.files[name]:
            raise _tampered(f"{name} in {folder} does not have the hash that its manifest gives.")
    return manifest


def runtime_of(folder: Path, manifest: ArtefactManifest) -> Runtime:
    """What an artefact's kind runs on. Raises UnknownKind; InputError where the artefact was made for another."""
    runtime = served_kinds().load(manifest.kind).RUNTIME
    if manifest.runtime not in ("", runtime.name):
        raise InputError(
            f"{folder} was made for {manifest.runtime}.",
            f"The kind {manifest.kind!r} of this stepdown runs on {runtime.name}.",
            "Build the student again, or serve it with the version that built it.",
        )
    return runtime


def content_of(folder: Path, runtime: Runtime) -> list[str]:
    """Relative paths of an artefact's files, sorted, the manifest left out. Refuses what may not be in one."""
    names = []
    for root, directories, files in os.walk(folder, followlinks=False):
        for entry in (*directories, *files):
            path = Path(root) / entry
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise _tampered(f"{name} in {folder} is a symbolic link; an artefact holds its own files.")
            if entry in directories or name in (MANIFEST, UNFINISHED):
                continue
            _check_name(folder, name, runtime)
            if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                raise _tampered(f"{name} in {folder} is not a plain file of at most {MAX_FILE_BYTES} bytes.")
            names.append(name)
            if len(names) > MAX_FILES:
                raise _tampered(f"{folder} holds more than {MAX_FILES} files, {name} among them.")
    return sorted(names)


def sha256(path: Path) -> str:
    """The hash of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _parse_manifest(folder: Path) -> ArtefactManifest:
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise InputError(
            f"{folder} is not an artefact: it has no {MANIFEST}.",
            "An artefact folder holds a manifest and the files that it lists.",
            "Name the folder of a trained student, or build it again.",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise _tampered(f"{MANIFEST} in {folder} is larger than {MAX_MANIFEST_BYTES} bytes.")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=ArtefactManifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _tampered(f"{MANIFEST} in {folder} cannot be read ({error}).") from None
    return manifest


def _check_name(folder: Path, name: str, runtime: Runtime) -> None:
    path = PurePosixPath(name)
    escapes = path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or path.as_posix() != name
    if escapes or path.suffix not in runtime.suffixes:
        allowed = ", ".join(sorted(runtime.suffixes))
        raise _tampered(f"{name!r} in {folder} may not be part of an artefact for {runtime.name} ({allowed} only).")


def _tampered(got: str) -> TamperedError:
    return TamperedError(
        got,
        "An artefact is exactly the files that its manifest lists, with their hashes.",
        "Delete the folder and build the student again, or restore it from a backup.",
    )
