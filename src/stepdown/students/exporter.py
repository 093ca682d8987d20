"""A student as files that run without stepdown: its artefact in some format, and a copy of the code that answers.

A format is one file in `students/exporters/`. The code is the same for all of them: what serves, module by module.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, Protocol

import msgspec

import stepdown
from stepdown.core.errors import UsageError
from stepdown.core.exports import ExportedModel
from stepdown.core.kinds import Kinds
from stepdown.core.students import ArtefactManifest
from stepdown.runtime import run
from stepdown.runtime.artefact import MANIFEST, read_manifest, sha256
from stepdown.runtime.kinds import served_kinds
from stepdown.students.artefact import seal

RUN = "run.py"
_SOURCE = Path(stepdown.__file__).parent.parent


class Exporter(Protocol):
    """The protocol a module in `students/exporters/` keeps; it has the name of its format."""

    EXTRA: str
    """The extra of stepdown that exporting needs; what is exported never needs it."""

    FORMAT: str
    """What is written, in one sentence."""

    def write(self, artefact: Path, manifest: ArtefactManifest, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
        """Write a student into the empty `folder` as files that its kind opens, and what else the format is for into
        files beside it, whose names begin with the folder's and a dot.

        texts: what the export will be compared on. Returns facts for the manifest. Raises StepdownError.
        """


def exporters() -> Kinds[Exporter]:
    """Every format that a student can be exported to."""
    return Kinds("stepdown.students.exporters", "exporter")


def export_student(artefact: Path, format_name: str, export: Path, place: str, texts: Sequence[str]) -> ExportedModel:
    """Export an artefact into the folder `place` of an export, with the code that it runs on beside it.

    Raises TamperedError, UnknownKind for the format, UsageError for a kind that is no part of stepdown, and what the
    format raises.
    """
    exporter = exporters().load(format_name)
    manifest = read_manifest(artefact)
    source, requires = program_of(manifest.kind)
    folder = export / place
    folder.mkdir(parents=True)
    facts = exporter.write(artefact, manifest, folder, texts)
    sealed = seal(folder, msgspec.structs.replace(manifest, files={}))
    for name in source:
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_SOURCE / name, export / name)
    own = [f"{place}/{name}" for name in (*sealed.files, MANIFEST)]
    beside = [path.name for path in sorted(export.glob(f"{place}.*"))]
    return ExportedModel(
        kind=manifest.kind,
        parent=manifest.digest,
        format=format_name,
        signal_names=manifest.signal_names,
        files={name: sha256(export / name) for name in sorted({*own, *beside, *source})},
        requires=requires,
        facts=facts,
    )


def program_of(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules that a student of this kind answers with, as paths from the folder that the package is in; and the
    packages that they import. Raises UsageError for a kind of a third party, whose modules lie elsewhere."""
    kinds, finder = served_kinds(), _OwnModules()
    module = kinds.load(kind).__name__  # type: ignore[attr-defined]
    if not module.startswith("stepdown."):
        raise UsageError(
            f"The kind {kind!r} has no export.",
            f"Kinds that have one: {', '.join(name for name in kinds.names() if name != kind)}.",
            f"Keep serving it with stepdown; {module} is no part of the code that exports carry.",
        )
    for name in ("stepdown.runtime.program", module):
        finder.import_hook(name)
    files = (Path(vars(found)["__file__"]) for found in finder.modules.values())
    packages = {name.partition(".")[0] for name in finder.badmodules} - sys.stdlib_module_names - {"stepdown"}
    return tuple(sorted(path.relative_to(_SOURCE).as_posix() for path in files)), tuple(sorted(packages))


def run_program() -> str:
    """The source of `run.py`."""
    return Path(run.__file__).read_text(encoding="utf-8")


class _OwnModules(ModuleFinder):
    """Follows imports, those inside functions too, through stepdown and no further."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        if path is None and name != "stepdown":
            raise ImportError(name)
        return super().find_module(name, path or [str(_SOURCE)], parent)  # type: ignore[arg-type]
