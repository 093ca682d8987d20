"""The frozen encoder: its graph with the head on the embedding at the end of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.encoder import GRAPH
from stepdown.runtime.kinds.frozen import HEAD
from stepdown.runtime.tokeniser import open_tokeniser
from stepdown.students.graphs import Graph
from stepdown.students.graphs._writing import onnx_package


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    """The embedding at length one, times the head. Raises MissingExtra."""
    from safetensors.numpy import load_file

    onnx = onnx_package()
    model = onnx.load_model_from_string((folder / GRAPH).read_bytes())
    body, embedding = model.graph, model.graph.output[0].name
    arrays = {**load_file(folder / HEAD), "axes": np.array([1]), "tiny": np.float32(1e-12)}
    body.initializer.extend(onnx.numpy_helper.from_array(value, f"head.{name}") for name, value in arrays.items())
    steps = [
        ("Mul", [embedding, embedding], "squares"),
        ("ReduceSum", ["squares", "head.axes"], "square"),
        ("Sqrt", ["square"], "length"),
        ("Max", ["length", "head.tiny"], "divisor"),
        ("Div", [embedding, "divisor"], "unit"),
        ("Gemm", ["unit", "head.weight", "head.bias"], "logits"),
    ]
    body.node.extend(onnx.helper.make_node(name, inputs, [output]) for name, inputs, output in steps)
    body.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["texts", len(manifest.labels)])
    )
    encode = open_tokeniser(folder, manifest).encode
    return Graph(bytes(model.SerializeToString(deterministic=True)), lambda text: encode(text)[0][None])
