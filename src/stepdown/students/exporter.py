"""A student as files that run without stepdown: its artefact in some format, and a copy of the code that answers.

A format is one file in `students/exporters/`. The code is the same for all of them: what serves, module by module.
"""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from types import CodeType
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
_TRAINS = ("train", "examples", "seconds_needed", "options_for", "why_not", "out_of_sample", "graph")
"""The functions of a kind's module that nothing needs where it answers."""


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

    Raises TamperedError, UnknownKind for the format or the kind, and what the format raises.
    """
    exporter = exporters().load(format_name)
    manifest = read_manifest(artefact)
    source, requires = program_of(manifest.kind)
    folder = export / place
    folder.mkdir(parents=True)
    facts = exporter.write(artefact, manifest, folder, texts)
    sealed = seal(folder, msgspec.structs.replace(manifest, files={}))
    shutil.copyfile(run.__file__, export / RUN)
    for name, path in source.items():
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, export / name)
    own = [f"{place}/{name}" for name in (*sealed.files, MANIFEST)]
    beside = [path.name for path in sorted(export.glob(f"{place}.*"))]
    return ExportedModel(
        kind=manifest.kind,
        parent=manifest.digest,
        format=format_name,
        signal_names=manifest.signal_names,
        files={name: sha256(export / name) for name in sorted({*own, *beside, *source, RUN})},
        requires=requires,
        facts=facts,
    )


def program_of(kind: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The modules that a student of this kind answers with, by their path in an export; and the packages that they
    import. A third party's module becomes one of the export's own `runtime/kinds/`: the folder is the list there too.
    Raises UsageError for one that needs more of its package."""
    module: Any = served_kinds().load(kind)
    finder, own = _OwnModules(), dict[str, Path]()
    finder.import_hook("stepdown.runtime.program")
    if module.__name__.startswith("stepdown."):
        finder.import_hook(module.__name__)
    else:
        path = Path(module.__file__)
        own = {f"stepdown/runtime/kinds/{kind}.py": path}
        finder.import_hook("stepdown.runtime.kinds")
        finder.scan_code(_what_answers(path, module.__package__), finder.add_module(f"stepdown.runtime.kinds.{kind}"))
    files = [Path(path) for found in finder.modules.values() if (path := vars(found)["__file__"])]
    packages = {name.partition(".")[0] for name in finder.badmodules} - sys.stdlib_module_names - {"stepdown"}
    if own and module.__name__.partition(".")[0] in packages:
        raise UsageError(
            f"The kind {kind!r} has no export: {module.__name__} imports other modules of its own package.",
            "Expected one module that answers by itself, for an export carries that one.",
            "Keep serving it with stepdown, or move what answers into that module.",
        )
    return {**{path.relative_to(_SOURCE).as_posix(): path for path in files}, **own}, tuple(sorted(packages))


def _what_answers(path: Path, package: str) -> CodeType:
    """A module that trains and opens, without what only trains: its imports there are nothing that an export needs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        each
        for each in tree.body
        if not (isinstance(each, ast.FunctionDef) and each.name in _TRAINS)
        and not (isinstance(each, ast.If) and ast.unparse(each.test).endswith("TYPE_CHECKING"))
    ]
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom) and each.level:
            each.module, each.level = package, 0
    return compile(tree, str(path), "exec")


class _OwnModules(ModuleFinder):
    """Follows imports, those inside functions too, through stepdown and no further."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        if path is None and name != "stepdown":
            raise ImportError(name)
        return super().find_module(name, path or [str(_SOURCE)], parent)  # type: ignore[arg-type]
