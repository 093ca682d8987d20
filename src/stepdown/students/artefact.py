"""An artefact: a student's files and the manifest that lists them by hash. Audited before anything in it is loaded."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import InputError, ResourceError, StepdownError, TamperedError
from stepdown.core.inputs import Input
from stepdown.core.students import ArtefactManifest, Device, Runtime, Student
from stepdown.students.kinds import student_kinds
from stepdown.students.probes import replay_probes, take_probes, write_probes

MANIFEST = "manifest.json"
MAX_FILES = 64
MAX_FILE_BYTES = 16 * 2**30
MAX_MANIFEST_BYTES = 64 * 2**20
_VERSIONS = (1, 2)
_UNFINISHED = ".manifest.json.unfinished"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def seal(folder: Path, manifest: ArtefactManifest) -> ArtefactManifest:
    """Hash every file of `folder` into `manifest` and write that beside them, in one step: sealed or not at all.

    Returns the manifest with its files. Raises StepdownError for a file that may not be in an artefact, ResourceError
    when the disk is full.
    """
    files = {name: _sha256(folder / name) for name in _content(folder, _runtime(folder, manifest))}
    sealed = msgspec.structs.replace(manifest, files=files)
    unfinished = folder / _UNFINISHED
    try:
        with unfinished.open("wb") as stream:
            stream.write(canonical_json(sealed))
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(folder / MANIFEST)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _disk(error, folder) from error
    return sealed


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
    runtime = _runtime(folder, manifest)
    for name in manifest.files:
        _check_name(folder, name, runtime)
    found = set(_content(folder, runtime))
    for name in sorted(manifest.files.keys() | found):
        if name not in found:
            raise _tampered(f"{name} is in the manifest of {folder} but not in the folder.")
        if name not in manifest.files:
            raise _tampered(f"{name} is in {folder} but not in its manifest.")
        if _sha256(folder / name) != manifest.files[name]:
            raise _tampered(f"{name} in {folder} does not have the hash that its manifest gives.")
    return manifest


def open_student(folder: Path, threads: int = 1, device: Device = "cpu") -> Student:
    """Audit an artefact, open it with its kind, and replay its probes.

    Raises TamperedError, InputError, UnknownKind; UsageError where its runtime lacks the device; DifferentAnswersError
    where it answers differently than where it was built.
    """
    manifest = read_manifest(folder)
    student = student_kinds().load(manifest.kind).open(folder, manifest, threads, device)
    replay_probes(folder, student)
    return student


def add_probes(
    folder: Path, manifest: ArtefactManifest, inputs: Sequence[Input], device: Device = "cpu"
) -> ArtefactManifest:
    """Ask a student that was just sealed some of its training inputs, and seal it again with its answers.

    Returns the new manifest. Raises what opening it and `seal` raise.
    """
    student = student_kinds().load(manifest.kind).open(folder, manifest, 1, device)
    write_probes(folder, take_probes(student, inputs))
    return seal(folder, manifest)


def place(folder: Path, artefacts: Path) -> Path:
    """Move a sealed folder to `artefacts`/<its hash>; where that is there already and whole, keep it and drop this one.

    Returns where it lies. Atomic: at no time is there half an artefact under `artefacts`. Raises TamperedError.
    """
    target = artefacts / read_manifest(folder).digest
    artefacts.mkdir(parents=True, exist_ok=True)
    if target.exists():
        try:
            read_manifest(target)
        except StepdownError:
            shutil.rmtree(target)
        else:
            shutil.rmtree(folder)
            return target
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST):
            raise _disk(error, artefacts) from error
        if error.errno == errno.EXDEV:
            _copy_in(folder, target)
        shutil.rmtree(folder)
    return target


def size_bytes(folder: Path) -> int:
    """How much disk an artefact takes, manifest included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _copy_in(folder: Path, target: Path) -> None:
    """Across file systems a rename is not possible: copy beside the target, then rename."""
    beside = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(folder, beside)
    beside.rename(target)


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


def _runtime(folder: Path, manifest: ArtefactManifest) -> Runtime:
    """What an artefact's kind runs on. Raises UnknownKind; InputError where the artefact was made for another."""
    runtime = student_kinds().load(manifest.kind).RUNTIME
    if manifest.runtime not in ("", runtime.name):
        raise InputError(
            f"{folder} was made for {manifest.runtime}.",
            f"The kind {manifest.kind!r} of this stepdown runs on {runtime.name}.",
            "Build the student again, or serve it with the version that built it.",
        )
    return runtime


def _content(folder: Path, runtime: Runtime) -> list[str]:
    """Relative paths of an artefact's files, sorted, the manifest left out. Refuses what may not be in one."""
    names = []
    for root, directories, files in os.walk(folder, followlinks=False):
        for entry in (*directories, *files):
            path = Path(root) / entry
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise _tampered(f"{name} in {folder} is a symbolic link; an artefact holds its own files.")
            if entry in directories or name in (MANIFEST, _UNFINISHED):
                continue
            _check_name(folder, name, runtime)
            if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                raise _tampered(f"{name} in {folder} is not a plain file of at most {MAX_FILE_BYTES} bytes.")
            names.append(name)
            if len(names) > MAX_FILES:
                raise _tampered(f"{folder} holds more than {MAX_FILES} files, {name} among them.")
    return sorted(names)


def _check_name(folder: Path, name: str, runtime: Runtime) -> None:
    path = PurePosixPath(name)
    escapes = path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or path.as_posix() != name
    if escapes or path.suffix not in runtime.suffixes:
        allowed = ", ".join(sorted(runtime.suffixes))
        raise _tampered(f"{name!r} in {folder} may not be part of an artefact for {runtime.name} ({allowed} only).")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tampered(got: str) -> TamperedError:
    return TamperedError(
        got,
        "An artefact is exactly the files that its manifest lists, with their hashes.",
        "Delete the folder and build the student again, or restore it from a backup.",
    )


def _disk(error: OSError, folder: Path) -> ResourceError:
    return ResourceError(
        f"{folder} could not be written ({error.strerror}).",
        "An artefact needs free disk and a folder that may be written.",
        "Free some space or choose another --home, then run the build again: finished students are kept.",
    )
