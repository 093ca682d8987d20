"""How each kind of student answers, one file each; the folder is the list. Third parties add theirs by entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from stepdown.core.kinds import Kinds
from stepdown.core.students import ArtefactManifest, Device, Runtime, Student

FORMER = {"gazetteer": "crf", "static": "token_cnn"}
"""Names of kinds in artefacts, cascades and settings of earlier versions."""


class ServedKind(Protocol):
    """The protocol a module in `runtime/kinds/` keeps; a third party's module keeps `StudentKind`'s too."""

    RUNTIME: Runtime
    SIGNAL_NAMES: tuple[str, ...]

    def open(self, folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> Student:
        """Open a verified artefact folder. numpy, onnxruntime, tokenizers and safetensors only."""


def served_kinds() -> Kinds[ServedKind]:
    """Every kind of student that can answer here."""
    return Kinds("stepdown.runtime.kinds", "student", FORMER)
