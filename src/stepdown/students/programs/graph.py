"""An exported ONNX graph, run by onnxruntime on one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime


class Graph:
    """`model.onnx` of a folder."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(folder / "model.onnx")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, values: Any) -> list[Any]:
        """Every output of the graph for its one input."""
        found: list[Any] = self._session.run(None, {self._session.get_inputs()[0].name: values})
        return found
