"""An export format as another package would add it, whose models are not quite their parents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from stepdown.core.students import ArtefactManifest
from stepdown.students.exporters import safetensors as honest

EXTRA = ""
FORMAT = "The artefact that is served with its bias moved."
moved_by = 0.0


def write(artefact: Path, manifest: ArtefactManifest, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    facts = honest.write(artefact, manifest, folder, texts)
    arrays = load_file(folder / "weights.safetensors")
    arrays["bias"][0] += moved_by
    save_file(arrays, folder / "weights.safetensors")
    return facts
