"""An exporter: a format that a student can leave the house in. One file each in `students/exporters/`.

What is special to a kind of student stands in its own file in `students/exports/`: its answer as an ONNX graph from
token ids (or the like) to numbers, the files that go with it, and the program that runs both. Every format starts from
that one description, so that a new kind gets all formats, and a new format all kinds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import MissingExtra, UsageError
from stepdown.core.exports import ExportedModel
from stepdown.core.kinds import Kinds
from stepdown.core.students import ArtefactManifest
from stepdown.students.artefact import read_manifest
from stepdown.students.bundling import bundle, source_of
from stepdown.students.kinds import FORMER

PROGRAMS = "stepdown.students.programs"
GRAPH_MODULE = f"{PROGRAMS}.graph"
MODELS = "models"


@dataclass(frozen=True)
class Export:
    """A student as a graph and what goes round it.

    graph: a serialised ONNX model with one input. program: the dotted name of a module with a class
    `Model(folder: Path, settings: dict)` whose `answer(text)` gives an answer and its signals, as the student does; it
    may import numpy, tokenizers, `stepdown.students.programs.graph`, and modules of the house that import no more.
    files: what the program reads, by name. settings: what it is given, JSON. stand_ins: for modules of the house that
    the program comes by and that import more than it may, others that have what it needs of them, by dotted name.
    requires: packages that this student's program needs beside those of every format.
    """

    graph: bytes
    program: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()


class Exportable(Protocol):
    """The protocol a module in `students/exports/` keeps; it has the name of its kind of student."""

    def export(self, folder: Path, manifest: ArtefactManifest) -> Export:
        """A verified artefact as a graph, a program and files. Raises MissingExtra."""


class Exporter(Protocol):
    """The protocol a module in `students/exporters/` keeps; it has the name of its format."""

    EXTRA: str
    """The extra of stepdown that exporting needs; what is exported never needs it."""

    FORMAT: str
    """What is written, in one sentence."""

    GRAPH_MODULE: str
    """The dotted name of the module that runs what `write` wrote; it becomes `models/graph.py`."""

    REQUIRES: tuple[str, ...]
    """The packages that the exported program needs."""

    def write(self, graph: bytes, folder: Path) -> dict[str, Any]:
        """Write an ONNX graph into `folder` in this format; returns facts for the manifest, "files" among them.

        Raises UsageError for an operator that the format has no word for, MissingExtra.
        """


def exporters() -> Kinds[Exporter]:
    """Every format that a student can be exported to."""
    return Kinds("stepdown.students.exporters", "exporter")


def exportables() -> Kinds[Exportable]:
    """What every kind of student that can be exported gives to the formats."""
    return Kinds("stepdown.students.exports", "student export", FORMER)


def export_student(artefact: Path, format_name: str, model: Path, program: Path) -> ExportedModel:
    """Export an artefact: its own files into the empty folder `model`, the code it runs on into `program`/models.

    Raises TamperedError, UnknownKind for the format, UsageError where the kind has no such export, MissingExtra.
    """
    exporter = exporters().load(format_name)
    manifest = read_manifest(artefact)
    if manifest.kind not in exportables().names():
        raise _no_export(manifest.kind, format_name)
    exported = exportables().load(manifest.kind).export(artefact, manifest)
    model.mkdir(parents=True, exist_ok=True)
    facts = exporter.write(exported.graph, model)
    for name, content in exported.files.items():
        (model / name).write_bytes(content)
    settings = {**exported.settings, "program": exported.program.rpartition(".")[2], "kind": manifest.kind}
    (model / "model.json").write_bytes(canonical_json(settings))
    stand_ins = {GRAPH_MODULE: exporter.GRAPH_MODULE, **exported.stand_ins}
    modules = {f"{MODELS}/{path.name}": path for path in bundle([exported.program], stand_ins, program / MODELS)}
    own = {name: model / name for name in (*facts.pop("files"), *exported.files, "model.json")}
    return ExportedModel(
        kind=manifest.kind,
        parent=manifest.digest,
        format=format_name,
        program=settings["program"],
        signal_names=manifest.signal_names,
        files={name: sha256(path) for name, path in sorted({**own, **modules}.items())},
        requires=tuple(sorted({*exporter.REQUIRES, *exported.requires})),
        facts=facts,
    )


def run_program() -> str:
    """The source of `run.py`."""
    return source_of(f"{PROGRAMS}.run")


def sha256(path: Path) -> str:
    """The hash of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def onnx_package(needed_for: str) -> Any:
    """The package onnx. Raises MissingExtra."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "train", needed_for) from None
    return onnx


def _no_export(kind: str, format_name: str) -> UsageError:
    return UsageError(
        f"The kind {kind!r} has no {format_name} export.",
        f"Kinds that have one: {', '.join(exportables().names())}.",
        f"Keep serving it with stepdown, or write students/exports/{kind}.py (docs/export.md).",
    )
