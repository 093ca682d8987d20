"""The linear student as a graph: rows of the table for the places of a text's features, added up."""

from __future__ import annotations

from pathlib import Path

from stepdown.core.students import ArtefactManifest
from stepdown.students.exporter import Export
from stepdown.students.exports._writing import Writing

PROGRAM = "stepdown.students.programs.linear"


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """logits = Σ rows / √Σ squares + bias, the table in int8 with a scale for each row. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / "weights.safetensors")
    graph = Writing("places", "Exporting a linear student")
    table = graph.rounded_table("", arrays["weights"], arrays["scales"])
    graph.normed_sum(table, arrays["squares"], arrays["bias"], "places")
    return Export(
        graph=graph.serialised({"logits": [len(manifest.labels)]}),
        program=PROGRAM,
        files={"ngrams.json": (folder / "ngrams.json").read_bytes()},
        settings={"labels": manifest.labels},
    )
