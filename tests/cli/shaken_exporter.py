"""An export format as another package would add it, whose models are not quite their parents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stepdown.students.exporters import onnx as honest

EXTRA = "train"
FORMAT = "model.onnx: the graph with its bias moved."
GRAPH_MODULE = honest.GRAPH_MODULE
REQUIRES = honest.REQUIRES
moved_by = 0.0


def write(graph: bytes, folder: Path) -> dict[str, Any]:
    import onnx

    model = onnx.load_model_from_string(graph)
    bias = next(each for each in model.graph.initializer if each.name == "bias")
    values = onnx.numpy_helper.to_array(bias)
    moved = values + np.float32(moved_by) * (np.arange(len(values)) == 0)
    bias.CopyFrom(onnx.numpy_helper.from_array(moved.astype(np.float32), "bias"))
    return honest.write(model.SerializeToString(), folder)
