"""safetensors: the artefact as it is served, less its probes, which are training texts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.probes import PROBES

EXTRA = ""
FORMAT = "The artefact that is served: weights as safetensors, the graph of an encoder as ONNX."


def write(artefact: Path, manifest: ArtefactManifest, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Copy every file but the probes."""
    for name in sorted(manifest.files.keys() - {PROBES}):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artefact / name, folder / name)
    return {}
