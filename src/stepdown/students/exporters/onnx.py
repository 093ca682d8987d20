"""onnx: the graph as it is, for onnxruntime on any machine that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepdown.students.exporter import onnx_package

EXTRA = "train"
FORMAT = "model.onnx: an ONNX graph with weights inside, run by onnxruntime."
GRAPH_MODULE = "stepdown.students.programs.graph"
REQUIRES = ("numpy", "onnxruntime", "tokenizers")


def write(graph: bytes, folder: Path) -> dict[str, Any]:
    """Write `model.onnx`."""
    model = onnx_package("Exporting to onnx").load_model_from_string(graph)
    (folder / "model.onnx").write_bytes(graph)
    opset = {each.domain or "ai.onnx": each.version for each in model.opset_import}
    return {"files": ["model.onnx"], "opset": opset, "ir": model.ir_version}
