"""safetensors: the weights by name, and the operators in JSON, which numpy alone can follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import UsageError
from stepdown.students.exporter import onnx_package

EXTRA = "train"
FORMAT = "model.safetensors: the weights (int8 with their scales where they were rounded); graph.json: the operators."
GRAPH_MODULE = "stepdown.students.programs.numpy_graph"
REQUIRES = ("numpy", "safetensors", "tokenizers")
_ROLES = {
    "MatMulIntegerToFloat": ("", "weight", "input_step", "scale", "input_zero", "weight_zero", "bias"),
    "QAttention": ("", "weight", "bias", "input_step", "scale", "", "input_zero", "weight_zero"),
    "QuantizeLinear": ("", "step", "zero"),
    "SkipLayerNormalization": ("", "", "weight", "bias"),
    "LayerNormalization": ("", "weight", "bias"),
    "Attention": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "MatMul": ("", "weight"),
    "Gather": ("table",),
}


def write(graph: bytes, folder: Path) -> dict[str, Any]:
    """Write `model.safetensors` and `graph.json`. Raises UsageError for an operator that the program does not know."""
    from safetensors.numpy import save_file

    from stepdown.students.programs.numpy_graph import OPERATORS

    onnx = onnx_package("Exporting to safetensors")
    body = onnx.load_model_from_string(graph).graph
    unknown = sorted({node.op_type for node in body.node} - OPERATORS.keys())
    if unknown:
        raise UsageError(
            f"This student has no safetensors export: its graph has the operator {', '.join(unknown)}.",
            f"The numpy program knows: {', '.join(OPERATORS)}.",
            "Export it to onnx, or add the operator to students/programs/numpy_graph.py.",
        )
    named = _names(body)
    weights = {named[each.name]: np.array(onnx.numpy_helper.to_array(each), order="C") for each in body.initializer}
    save_file(weights, folder / "model.safetensors")
    nodes = [
        {
            "operator": node.op_type,
            "inputs": [named.get(name, name) for name in node.input],
            "output": node.output[0],
            "attributes": {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute},
        }
        for node in body.node
    ]
    described = {"input": body.input[0].name, "outputs": [each.name for each in body.output], "nodes": nodes}
    (folder / "graph.json").write_bytes(canonical_json(described))
    files = ["graph.json", "model.safetensors"]
    return {"files": files, "operators": len(nodes), "tensors": len(weights)}


def _names(body: Any) -> dict[str, str]:
    """A name for every weight by where it is used: "007.QAttention.weight"; those with a name of their own keep it."""
    found: dict[str, str] = {}
    held = {each.name for each in body.initializer}
    for place, node in enumerate(body.node):
        roles = _ROLES.get(node.op_type, ())
        for index, name in enumerate(node.input):
            role = roles[index] if index < len(roles) and roles[index] else str(index)
            if name in held:
                new = f"{place:03d}.{node.op_type}.{role}"
                found.setdefault(name, new if name.startswith("constant_") else name)
    return {name: found.get(name, name) for name in held}
