"""Every int8 product of a student gives the same sums on every processor. Kinds with a graph are found by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.batteries.trained import trained_folder
from tests.fixture_cache import KeptFolder

from stepdown.runtime.encoder import session
from stepdown.students.encoders.onnx_graph import LARGEST_FACTOR, rounded_rows
from stepdown.students.kinds import student_kinds

onnx = pytest.importorskip("onnx", reason="reading a graph needs the extra 'train'")

FACTOR = {"MatMulIntegerToFloat": 1, "QAttention": 1}
"""The place of the int8 matrix among the inputs of each operator that multiplies by one."""
NO_PRODUCT = {"Gather"}
"""Operators that may have an int8 matrix and multiply by none."""


@pytest.fixture(scope="module", params=student_kinds().names())
def factors(request: pytest.FixtureRequest, kept_folder: KeptFolder) -> list[np.ndarray]:
    """The int8 matrices (inner, outer) of every product in a kind's graph, trained on its own examples."""
    pytest.importorskip("torch", reason="training needs the extra 'train'")
    paths = list(trained_folder(request.param, kept_folder).glob("**/*.onnx"))
    if not paths:
        pytest.skip(f"{request.param} has no graph")
    return [matrix for path in paths for matrix in int8_factors(path)]


def int8_factors(path: Path) -> list[np.ndarray]:
    """Fails where an int8 matrix goes into an operator that is not known here."""
    body = onnx.load(str(path)).graph
    held = {each.name: onnx.numpy_helper.to_array(each) for each in body.initializer}
    found = []
    for node in body.node:
        matrices = [name for name in node.input if name in held and held[name].dtype == np.int8 and held[name].ndim > 1]
        if node.op_type in FACTOR:
            assert matrices == [node.input[FACTOR[node.op_type]]]
            found.append(held[matrices[0]])
        else:
            assert not matrices or node.op_type in NO_PRODUCT, f"does {node.op_type} saturate?"
    return found


def test_no_two_products_leave_16_bits(factors: list[np.ndarray]) -> None:
    assert factors
    for matrix in factors:
        wide = matrix.astype(np.int64)
        low, high = np.minimum(wide, 0) * 255, np.maximum(wide, 0) * 255
        # As vpmaddubsw adds them: two neighbours, with the uint8 that make the sum the least and the largest.
        assert (low[:-1] + low[1:]).min() >= -(2**15)
        assert (high[:-1] + high[1:]).max() < 2**15
        # And whichever two a kernel adds.
        assert np.abs(wide).max() <= LARGEST_FACTOR


def test_every_product_is_exact_here(factors: list[np.ndarray], rng: np.random.Generator) -> None:
    """onnxruntime with the kernels of this processor beside exact sums, on inputs that saturate first."""
    for matrix in factors:
        values = rng.choice([0, 255], size=(16, len(matrix))).astype(np.uint8)
        values[0], values[1] = 255, 0
        found = session(one_product(matrix)).run(None, {"values": values})[0]
        exact = (values.astype(np.int64) - 7) @ matrix.astype(np.int64)
        np.testing.assert_array_equal(found, exact.astype(np.float32))


def test_the_bound_is_the_largest_that_is_safe(rng: np.random.Generator) -> None:
    assert 2 * 255 * LARGEST_FACTOR < 2**15 <= 2 * 255 * (LARGEST_FACTOR + 1)
    matrix = rng.normal(size=(8, 64)).astype(np.float32)
    for largest in (LARGEST_FACTOR, 127):
        rounded, scales = rounded_rows(matrix, largest)
        assert np.abs(rounded).max() == largest
        assert np.abs(rounded * scales[:, None] - matrix).max() <= scales.max() / 2 + 1e-6


def one_product(matrix: np.ndarray) -> bytes:
    """A graph of nothing but uint8 (rows, inner) times `matrix`, with a zero point of 7 and scales of 1."""
    helper, types = onnx.helper, onnx.TensorProto
    width = matrix.shape[1]
    constants = {
        "matrix": matrix,
        "step": np.ones(1, dtype=np.float32),
        "scale": np.ones(width, dtype=np.float32),
        "zero": np.full(1, 7, dtype=np.uint8),
        "zeros": np.zeros(width, dtype=np.int8),
    }
    inputs = ["values", "matrix", "step", "scale", "zero", "zeros"]
    body = helper.make_graph(
        [helper.make_node("MatMulIntegerToFloat", inputs, ["sums"], domain="com.microsoft")],
        "product",
        [helper.make_tensor_value_info("values", types.UINT8, ["rows", len(matrix)])],
        [helper.make_tensor_value_info("sums", types.FLOAT, ["rows", width])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    operators = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(body, opset_imports=operators, ir_version=8).SerializeToString())
