"""The token CNN as a graph: three table rows a token, windows of three, two poolings and a product."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.kinds.token_cnn import TABLES
from stepdown.runtime.tokeniser import open_tokeniser
from stepdown.students.graphs import Graph
from stepdown.students.graphs._writing import GraphWriter

_LAST = 2**31 - 1


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    """The formula of `students/token_windows.py`, with a row of zeros before and after a text. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / TABLES)
    hidden = len(arrays["offset"])
    written = GraphWriter("ids")
    tables, scales = arrays["tables"].reshape(-1, 3, hidden), arrays["scales"].reshape(-1, 3)
    parts = written.rows_at({"weights": tables, "scales": scales}, "ids")
    edge = written.weight("edge", np.zeros((1, 3, hidden), dtype=np.float32))
    padded = written.node("Concat", edge, parts, edge, axis=0)
    reached = [
        written.node(
            "Gather", _between(written, padded, start, end), written.weight(f"part{place}", np.int64(place)), axis=1
        )
        for place, (start, end) in enumerate(((0, -2), (1, -1), (2, _LAST)))
    ]
    window = written.node(
        "Add", written.node("Add", reached[1], written.weight("offset", arrays["offset"])), reached[0]
    )
    rows = written.node("Relu", written.node("Add", window, reached[2]))
    # Nothing is below zero, so that a row of zeros changes no pooling, and a text without tokens has one to pool.
    rows = written.node("Concat", rows, written.weight("nothing", np.zeros((1, hidden), dtype=np.float32)), axis=0)
    largest = written.node("ReduceMax", rows, axes=[0], keepdims=0)
    summed = written.node("ReduceSum", rows, written.weight("tokens", np.array([0])), keepdims=0)
    length = written.node(
        "Cast", written.node("Gather", written.node("Shape", "ids"), written.weight("first", np.int64(0))), to=1
    )
    root = written.node("Sqrt", written.node("Max", length, written.weight("one", np.float32(1.0))))
    pooled = written.node("Concat", largest, written.node("Div", summed, root), axis=0)
    normed = written.node(
        "LayerNormalization",
        pooled,
        written.weight("norm_weight", np.ones(2 * hidden, dtype=np.float32)),
        written.weight("norm_bias", np.zeros(2 * hidden, dtype=np.float32)),
        axis=-1,
        epsilon=1e-5,
    )
    product = written.node("MatMul", normed, written.weight("weight", arrays["weight"]))
    written.node("Add", product, written.weight("bias", arrays["bias"]), output="logits")
    encode = open_tokeniser(folder, manifest).encode
    return Graph(written.serialised({"logits": [len(manifest.labels)]}), lambda text: encode(text)[0])


def _between(written: GraphWriter, rows: str, start: int, end: int) -> str:
    bounds = written.weight(f"start{start}", np.array([start])), written.weight(f"end{start}", np.array([end]))
    return written.node("Slice", rows, *bounds)
