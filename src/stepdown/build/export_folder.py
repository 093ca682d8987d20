"""The folder of an export: made beside where it will lie, and put there in one step, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from stepdown.build.export_source import Source
from stepdown.core.canonical import canonical_json
from stepdown.core.certificate import Certificate
from stepdown.core.errors import ResourceError, UsageError
from stepdown.core.exports import MANIFEST, ExportedModel, ExportedRung, ExportManifest
from stepdown.project.home import Home, make_folder
from stepdown.runtime.artefact import sha256
from stepdown.runtime.cascade import CascadeSpec
from stepdown.runtime.program import CASCADE, FolderCascade, FolderRung
from stepdown.students.exporter import export_student

REQUIREMENTS = "requirements.txt"


def check_target(target: Path, force: bool) -> None:
    """Raises UsageError unless `target` is absent, empty, or (with force) an earlier export with nothing added."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is not a folder.", "Expected a folder that is absent or empty.", "Name another.")
    if not target.exists() or not any(target.iterdir()):
        return
    foreign = _foreign(target)
    if foreign is None or foreign:
        raise UsageError(
            f"{target} holds {foreign[0] if foreign else 'files'} that no export wrote.",
            "Expected a folder that is absent, empty, or an earlier export.",
            "Name another folder; nothing in this one was changed.",
        )
    if not force:
        raise UsageError(f"{target} holds an earlier export.", "It is only replaced when that is said.", "Add --force.")


@contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which is gone afterwards whatever happens; `publish` moves it before that."""
    make_folder(target.parent)
    draft = target.with_name(f".{target.name}.unfinished-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft)
    try:
        yield draft
    except OSError as error:
        raise ResourceError(
            f"The export could not be written to {target}: {error.strerror or error}.",
            "What was there before is unchanged.",
            "Free some space or check permissions, and run it again.",
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish(draft: Path, target: Path) -> None:
    """Put a finished draft in its place. An earlier export is moved aside first and comes back if that fails."""
    if not target.exists():
        draft.rename(target)
        return
    aside = target.with_name(f".{target.name}.before-{os.getpid()}")
    target.rename(aside)
    try:
        draft.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside)


def write_models(
    home: Home, spec: CascadeSpec, format_name: str, draft: Path, texts: Sequence[str]
) -> list[ExportedModel]:
    """Every rung's model. Raises as `export_student` does."""
    return [
        export_student(home.artefacts / rung.artefact, format_name, draft, folder, texts)
        for rung, folder in zip(spec.rungs, folders_of(spec), strict=True)
    ]


def folders_of(spec: CascadeSpec) -> list[str]:
    """Where each rung lies: in folders that sort in their order."""
    return [f"{place}-{rung.kind}" for place, rung in enumerate(spec.rungs, start=1)]


def write_cascade(
    draft: Path,
    source: Source,
    spec: CascadeSpec,
    rungs: Sequence[ExportedRung] | None,
    certificate: Certificate | None,
) -> None:
    """What the program reads. rungs: None before they are measured."""
    described = []
    for place, (rung, folder) in enumerate(zip(spec.rungs, folders_of(spec), strict=True)):
        artefact = rungs[place].model.digest if rungs else rung.artefact
        described.append(FolderRung(**{**msgspec.structs.asdict(rung), "artefact": artefact}, folder=folder))
    until = certificate.expires_at if certificate else None
    template = source.folder.read_task().template
    stated = FolderCascade(
        task=spec.task,
        family=source.record.family,
        certified_until=until,
        slots=template.slots if template else (),
        rungs=tuple(described),
    )
    write_json(draft / CASCADE, stated)


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a folder by relative path, the manifest left out."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: sha256(path) for name, path in names.items() if name != MANIFEST}


def requirements(packages: Iterable[str], versions: Mapping[str, str]) -> str:
    """The requirements.txt of an export: its packages in the versions that it was compared and measured with."""
    head = (
        f"# What run.py needs, as it was measured on Python {versions['python']}. Others may do, and were not measured."
    )
    # A local version ("+cpu") is no other release, and no registry has it.
    return "\n".join([head, *(f"{name}=={versions[name].partition('+')[0]}" for name in sorted(packages))]) + "\n"


def write_json(path: Path, value: object) -> None:
    path.write_bytes(canonical_json(value) + b"\n")


def _foreign(target: Path) -> list[str] | None:
    """Files that are no part of the export in a folder; None where there is no export in it at all."""
    try:
        said = msgspec.json.decode((target / MANIFEST).read_bytes(), type=ExportManifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return None
    # Python leaves compiled modules beside those it has run.
    present = (path for path in sorted(target.rglob("*")) if not path.is_dir() and path.parent.name != "__pycache__")
    names = [path.relative_to(target).as_posix() for path in present]
    return [name for name in names if name not in {*said.files, MANIFEST}]
