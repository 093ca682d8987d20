"""A small ONNX graph under construction, with one input of whole numbers and named weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepdown.core.errors import MissingExtra

_OPSET, _IR_VERSION = 17, 8


def onnx_package() -> Any:
    """The package onnx. Raises MissingExtra."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "train", "Exporting to onnx") from None
    return onnx


class GraphWriter:
    """given: the name of the input. Raises MissingExtra."""

    def __init__(self, given: str) -> None:
        self._onnx = onnx_package()
        self._given = given
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}

    def weight(self, name: str, value: Any) -> str:
        """A weight, by the name that readers of the graph will find it under."""
        self._weights[name] = self._onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """An operator on values; returns the name of its result."""
        name = output or f"value_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def rows_at(self, stored: Mapping[str, Any], places: str) -> str:
        """float32 rows of a table. stored: its "weights", int8 (rows, …, columns), and "scales" (rows, …)."""
        rows = self.node("Cast", self.node("Gather", self.weight("table", stored["weights"]), places), to=1)
        scales = self.weight("scales", stored["scales"][..., None])
        return self.node("Mul", rows, self.node("Gather", scales, places))

    def serialised(self, outputs: Mapping[str, Sequence[int | str]]) -> bytes:
        """The model as bytes, always the same for the same graph."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        body = helper.make_graph(
            self._nodes,
            "student",
            [helper.make_tensor_value_info(self._given, types.INT64, ["n"])],
            [helper.make_tensor_value_info(name, types.FLOAT, list(shape)) for name, shape in outputs.items()],
            list(self._weights.values()),
        )
        model = helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="stepdown",
        )
        return bytes(model.SerializeToString(deterministic=True))
