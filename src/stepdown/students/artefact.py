"""An artefact as it is made: its files and the manifest that lists them by hash, in a folder named by its own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import ResourceError, StepdownError
from stepdown.core.inputs import Input
from stepdown.core.students import ArtefactManifest, Device
from stepdown.runtime.artefact import MANIFEST, UNFINISHED, content_of, read_manifest, runtime_of, sha256
from stepdown.runtime.kinds import served_kinds
from stepdown.runtime.probes import take_probes, write_probes


def seal(folder: Path, manifest: ArtefactManifest) -> ArtefactManifest:
    """Hash every file of `folder` into `manifest` and write that beside them, in one step: sealed or not at all.

    Returns the manifest with its files. Raises StepdownError for a file that may not be in an artefact, ResourceError
    when the disk is full.
    """
    files = {name: sha256(folder / name) for name in content_of(folder, runtime_of(folder, manifest))}
    sealed = msgspec.structs.replace(manifest, files=files)
    unfinished = folder / UNFINISHED
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


def add_probes(
    folder: Path, manifest: ArtefactManifest, inputs: Sequence[Input], device: Device = "cpu"
) -> ArtefactManifest:
    """Ask a student that was just sealed some of its training inputs, and seal it again with its answers.

    Returns the new manifest. Raises what opening it and `seal` raise.
    """
    student = served_kinds().load(manifest.kind).open(folder, manifest, 1, device)
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


def _disk(error: OSError, folder: Path) -> ResourceError:
    return ResourceError(
        f"{folder} could not be written ({error.strerror}).",
        "An artefact needs free disk and a folder that may be written.",
        "Free some space or choose another --home, then run the build again: finished students are kept.",
    )


def write_note(path: Path, value: object) -> None:
    """Write a value as JSON, there whole or not at all; what is lost with the power is made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(canonical_json(value))
    os.replace(unfinished, path)
