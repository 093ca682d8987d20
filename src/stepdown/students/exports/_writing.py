"""A small ONNX graph under construction, with one input of whole numbers and named weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stepdown.students.exporter import onnx_package

_OPSET, _IR_VERSION = 17, 8


class Writing:
    """needed_for: what is being done, for the message of MissingExtra."""

    def __init__(self, given: str, needed_for: str) -> None:
        self._onnx = onnx_package(needed_for)
        self._given = given
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def weight(self, name: str, value: Any) -> str:
        """A weight, by the name that readers of the graph will find it under."""
        self._weights.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """An operator on values; returns the name of its result."""
        name = output or f"value_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def rounded_rows(self, values: Any, scales: Any, places: str) -> str:
        """float32 rows of an int8 table (rows, …, columns) with scales (rows, …), looked up at `places`."""
        rows = self.node("Cast", self.node("Gather", self.weight("table", values), places), to=1)
        return self.node("Mul", rows, self.node("Gather", self.weight("scales", scales[..., None]), places))

    def serialised(self, outputs: Mapping[str, list[int]]) -> bytes:
        """The model as bytes, always the same for the same graph."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        body = helper.make_graph(
            self._nodes,
            "student",
            [helper.make_tensor_value_info(self._given, types.INT64, ["n"])],
            [helper.make_tensor_value_info(name, types.FLOAT, shape) for name, shape in outputs.items()],
            self._weights,
        )
        model = helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="stepdown",
        )
        return bytes(model.SerializeToString(deterministic=True))
