"""The tagger as it is served: its own graph, tokenizer and form, and the house's own reading of its outputs."""

from __future__ import annotations

from pathlib import Path

from stepdown.core.students import ArtefactManifest
from stepdown.students.encoders.pretrained import TOKENIZER
from stepdown.students.encoders.served import CHARACTERS_PER_TOKEN
from stepdown.students.exporter import Export
from stepdown.students.exports._forms import STAND_INS, packages
from stepdown.students.exports.encoder import GRAPH
from stepdown.students.form_files import FORM

PROGRAM = "stepdown.students.programs.tagger"


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """Everything as it is; the program reads the outputs with the modules that serve."""
    longest = int(manifest.options["max_length"])
    return Export(
        graph=(folder / GRAPH).read_bytes(),
        program=PROGRAM,
        files={name: (folder / name).read_bytes() for name in (TOKENIZER, FORM)},
        settings={"max_length": longest, "characters": longest * CHARACTERS_PER_TOKEN},
        stand_ins=STAND_INS,
        requires=packages(folder),
    )
