"""The linear student as a graph: rows of the table for the places of a text's features, added up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.students.exporter import Export
from stepdown.students.exports._writing import Writing

PROGRAM = "stepdown.students.programs.linear"


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """logits = Σ rows / √Σ squares + bias, the table in int8 with a scale for each row. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / "weights.safetensors")
    graph = Writing("places", "Exporting a linear student")
    rows = graph.rounded_rows(arrays["weights"], arrays["scales"], "places")
    total = graph.node("ReduceSum", rows, graph.weight("features", np.array([0])), keepdims=0)
    squares = graph.node("Gather", graph.weight("squares", arrays["squares"]), "places")
    square = graph.node("ReduceSum", squares, graph.weight("all", np.array([0])), keepdims=0)
    norm = graph.node("Sqrt", graph.node("Max", square, graph.weight("tiny", np.float32(1e-12))))
    graph.node("Add", graph.node("Div", total, norm), graph.weight("bias", arrays["bias"]), output="logits")
    return Export(
        graph=graph.serialised({"logits": [len(manifest.labels)]}),
        program=PROGRAM,
        files={"ngrams.json": (folder / "ngrams.json").read_bytes()},
        settings={"labels": manifest.labels},
    )
