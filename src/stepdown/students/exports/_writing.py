"""A small ONNX graph under construction, with one input of whole numbers and named weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepdown.students.exporter import onnx_package

_OPSET, _IR_VERSION = 17, 8

Table = tuple[str, str]
"""The names of an int8 table and of its scales."""


class Writing:
    """needed_for: what is being done, for the message of MissingExtra."""

    def __init__(self, given: str, needed_for: str) -> None:
        self._onnx = onnx_package(needed_for)
        self._given = given
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}

    def weight(self, name: str, value: Any) -> str:
        """A weight, by the name that readers of the graph will find it under."""
        self._weights[name] = self._onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def shared(self, numbers: list[int]) -> str:
        """Whole numbers that several operators may need, named by themselves."""
        name = "numbers_" + "_".join(map(str, numbers))
        return name if name in self._weights else self.weight(name, np.array(numbers))

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """An operator on values; returns the name of its result."""
        name = output or f"value_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def between(self, values: str, start: str | list[int], end: str | list[int]) -> str:
        """A slice of values. start, end: the name of a bound, or the bound itself."""
        return self.node("Slice", values, *(self.shared(one) if isinstance(one, list) else one for one in (start, end)))

    def rounded_table(self, name: str, values: Any, scales: Any) -> Table:
        """An int8 table (rows, …, columns) with scales (rows, …)."""
        prefix = f"{name}_" if name else ""
        return self.weight(f"{prefix}table", values), self.weight(f"{prefix}scales", scales[..., None])

    def rows_at(self, table: Table, places: str) -> str:
        """float32 rows of a rounded table, looked up at `places`."""
        rows = self.node("Cast", self.node("Gather", table[0], places), to=1)
        return self.node("Mul", rows, self.node("Gather", table[1], places))

    def normed_sum(self, table: Table, squares: Any, bias: Any, places: str) -> None:
        """The output "logits": Σ rows / √Σ squares + bias over the rows at `places`."""
        total = self.node("ReduceSum", self.rows_at(table, places), self.weight("features", np.array([0])), keepdims=0)
        each = self.node("Gather", self.weight("squares", squares), places)
        square = self.node("ReduceSum", each, self.weight("all", np.array([0])), keepdims=0)
        norm = self.node("Sqrt", self.node("Max", square, self.weight("tiny", np.float32(1e-12))))
        self.node("Add", self.node("Div", total, norm), self.weight("bias", bias), output="logits")

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
