"""The encoder as it is served: its own graph and its own tokenizer."""

from __future__ import annotations

from pathlib import Path

from stepdown.core.students import ArtefactManifest
from stepdown.students.encoders.pretrained import TOKENIZER
from stepdown.students.encoders.served import CHARACTERS_PER_TOKEN
from stepdown.students.exporter import Export

PROGRAM = "stepdown.students.programs.encoder"
GRAPH = "encoder.onnx"


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """Graph and tokenizer as they are."""
    return with_tokenizer((folder / GRAPH).read_bytes(), PROGRAM, folder, manifest)


def with_tokenizer(graph: bytes, program: str, folder: Path, manifest: ArtefactManifest) -> Export:
    """A graph over token ids with the artefact's tokenizer and labels."""
    longest = int(manifest.options["max_length"])
    return Export(
        graph=graph,
        program=program,
        files={TOKENIZER: (folder / TOKENIZER).read_bytes()},
        settings={
            "labels": manifest.labels,
            "max_length": longest,
            "characters": longest * CHARACTERS_PER_TOKEN,
        },
    )
