"""The token CNN as a graph: three table rows a token, windows of three, two poolings and a product."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.students.exporter import Export
from stepdown.students.exports._writing import Writing
from stepdown.students.exports.encoder import with_tokenizer

PROGRAM = "stepdown.students.programs.token_cnn"
_LAST = 2**31 - 1


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """The formulas of `students/token_windows.py`, with a row of zeros before and after a text. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / "tables.safetensors")
    hidden = len(arrays["offset"])
    graph = Writing("ids", "Exporting a token CNN")
    tables, scales = arrays["tables"].reshape(-1, 3, hidden), arrays["scales"].reshape(-1, 3)
    parts = graph.rows_at(graph.rounded_table("", tables, scales), "ids")
    edge = graph.weight("edge", np.zeros((1, 3, hidden), dtype=np.float32))
    padded = graph.node("Concat", edge, parts, edge, axis=0)
    reached = [
        graph.node("Gather", _between(graph, padded, start, end), graph.weight(f"part{place}", np.int64(place)), axis=1)
        for place, (start, end) in enumerate(((0, -2), (1, -1), (2, _LAST)))
    ]
    window = graph.node("Add", graph.node("Add", reached[1], graph.weight("offset", arrays["offset"])), reached[0])
    rows = graph.node("Relu", graph.node("Add", window, reached[2]))
    # Nothing is below zero, so that a row of zeros changes no pooling, and a text without tokens has one to pool.
    rows = graph.node("Concat", rows, graph.weight("nothing", np.zeros((1, hidden), dtype=np.float32)), axis=0)
    largest = graph.node("ReduceMax", rows, axes=[0], keepdims=0)
    summed = graph.node("ReduceSum", rows, graph.weight("tokens", np.array([0])), keepdims=0)
    length = graph.node(
        "Cast", graph.node("Gather", graph.node("Shape", "ids"), graph.weight("first", np.int64(0))), to=1
    )
    root = graph.node("Sqrt", graph.node("Max", length, graph.weight("one", np.float32(1.0))))
    pooled = graph.node("Concat", largest, graph.node("Div", summed, root), axis=0)
    normed = graph.node(
        "LayerNormalization",
        pooled,
        graph.weight("norm_weight", np.ones(2 * hidden, dtype=np.float32)),
        graph.weight("norm_bias", np.zeros(2 * hidden, dtype=np.float32)),
        axis=-1,
        epsilon=1e-5,
    )
    product = graph.node("MatMul", normed, graph.weight("weight", arrays["weight"]))
    graph.node("Add", product, graph.weight("bias", arrays["bias"]), output="logits")
    seen = graph.node("Gather", graph.weight("seen_pieces", arrays["seen"].astype(np.float32)), "ids")
    graph.node("ReduceSum", seen, graph.weight("every", np.array([0])), keepdims=0, output="seen")
    written = graph.serialised({"logits": [len(manifest.labels)], "seen": []})
    return with_tokenizer(written, PROGRAM, folder, manifest)


def _between(graph: Writing, rows: str, start: int, end: int) -> str:
    bounds = graph.weight(f"start{start}", np.array([start])), graph.weight(f"end{start}", np.array([end]))
    return graph.node("Slice", rows, *bounds)
