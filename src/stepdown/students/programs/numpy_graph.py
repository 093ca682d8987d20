"""An exported graph run by numpy: weights out of `model.safetensors`, operators in the order of `graph.json`.

Operators mean what ONNX and onnxruntime say they mean. Sums of int8 products are exact, as they are there; the rest is
computed in float64 and rounded to float32 after each operator, which is as near as one gets without the same kernels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

_EXACT = 512
"""So many products of a uint8, less a zero point, and an int8 have an exact sum in float32: 512·255·127 < 2²⁴."""
_PER_ONE = 4096
"""Knots per unit of the table of the error function; straight lines between them are off by less than 1e-8."""
_ERF = np.array([math.erf(place / _PER_ONE) for place in range(6 * _PER_ONE + 2)])


def _erf(x: Any) -> Any:
    at = np.minimum(np.abs(x) * _PER_ONE, 6.0 * _PER_ONE)
    low = at.astype(np.int64)
    return np.sign(x) * (_ERF[low] + (at - low) * (_ERF[low + 1] - _ERF[low]))


def _norm(x: Any, weight: Any, bias: Any, epsilon: float) -> Any:
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
    return centred / spread * weight + bias


def _quantised(x: Any, step: Any, zero: Any) -> Any:
    return np.clip(np.rint(x / step) + np.float32(zero), 0, 255)


def whole_product(values: Any, weight: Any, zero: Any) -> Any:
    """(values − zero) @ weight for whole numbers held as float32: exact."""
    shifted = (values - np.float32(zero)).reshape(-1, weight.shape[0])
    columns = range(0, shifted.shape[-1], _EXACT)
    sums = sum((shifted[:, at : at + _EXACT] @ weight[at : at + _EXACT]).astype(np.float64) for at in columns)
    return np.asarray(sums).reshape(*values.shape[:-1], -1)


def _shares(scores: Any, axis: int) -> Any:
    shares = np.exp(scores - scores.max(axis=axis, keepdims=True))
    shares /= shares.sum(axis=axis, keepdims=True)
    return shares


def _attended(mixed: Any, heads: int) -> Any:
    texts, tokens, width = mixed.shape
    parts = mixed.astype(np.float64).reshape(texts, tokens, 3, heads, width // 3 // heads).transpose(2, 0, 3, 1, 4)
    query, key, value = parts
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    return (_shares(scores, -1) @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width // 3)


def _slice(x: Any, starts: Any, ends: Any, axes: Any = None) -> Any:
    chosen = [slice(None)] * x.ndim
    for place, axis in enumerate(range(len(starts)) if axes is None else axes):
        chosen[axis] = slice(int(starts[place]), int(ends[place]))
    return x[tuple(chosen)]


def _reduce(of: Callable[..., Any], x: Any, said: dict[str, Any], axes: Any = None) -> Any:
    axes = tuple(said["axes"] if axes is None else axes.tolist())
    return of(x.astype(np.float64), axis=axes, keepdims=bool(said.get("keepdims", 1)))


def operators(product: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """What each operator does to its attributes and inputs. product: (values, weight, zero) to sums of products."""
    return {
        "Add": lambda said, a, b: a + b,
        "Attention": lambda said, x, w, b: _attended(x @ w + b, said["num_heads"]),
        "Cast": lambda said, x: x,
        "Concat": lambda said, *parts: np.concatenate(parts, axis=said["axis"]),
        "Div": lambda said, a, b: a / b,
        "Gather": lambda said, x, places: np.take(x, places, axis=said.get("axis", 0)),
        "Gelu": lambda said, x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
        "Gemm": lambda said, x, w, b: x @ (w.T if said.get("transB") else w) + b,
        "LayerNormalization": lambda said, x, w, b: _norm(x, w, b, said["epsilon"]),
        "MatMul": lambda said, a, b: a @ b,
        "MatMulIntegerToFloat": lambda said, x, w, step, scale, zero, _, b: (
            product(x, w, zero) * (np.float32(step) * scale) + b
        ),
        "Max": lambda said, a, b: np.maximum(a, b),
        "Mul": lambda said, a, b: a * b,
        "QAttention": lambda said, x, w, b, step, scale, _mask, zero, _: _attended(
            (product(x, w, zero) * (np.float32(step) * scale) + b).astype(np.float32), said["num_heads"]
        ),
        "QuantizeLinear": lambda said, x, step, zero: _quantised(x, step, zero),
        "ReduceMax": lambda said, x: _reduce(np.max, x, said),
        "ReduceMean": lambda said, x: _reduce(np.mean, x, said),
        "ReduceSum": lambda said, x, axes: _reduce(np.sum, x, said, axes),
        "Relu": lambda said, x: np.maximum(x, np.float32(0.0)),
        "Reshape": lambda said, x, shape: x.reshape(shape),
        "Shape": lambda said, x: np.array(x.shape),
        "SkipLayerNormalization": lambda said, x, y, w, b: _norm(x + y, w, b, said["epsilon"]),
        "Slice": lambda said, *given: _slice(*given),
        "Softmax": lambda said, x: _shares(x.astype(np.float64), said["axis"]),
        "Sqrt": lambda said, x: np.sqrt(x),
        "Sub": lambda said, a, b: a - b,
    }


OPERATORS = operators(whole_product)


class Graph:
    """`graph.json` and `model.safetensors` of a folder."""

    def __init__(self, folder: Path, known: dict[str, Callable[..., Any]] = OPERATORS) -> None:
        self._operators = known
        graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        self._input, self._outputs, self._nodes = graph["input"], graph["outputs"], graph["nodes"]
        stored = load_file(folder / "model.safetensors")
        # Products run on floats, and whole numbers of eight bits are exact in them; tables are only looked up in.
        factors = {node["inputs"][1] for node in self._nodes if node["operator"] in ("QAttention", _INT8_PRODUCT)}
        self._weights = {name: each.astype(np.float32) if name in factors else each for name, each in stored.items()}
        self._weights[""] = np.zeros(0)

    def run(self, values: Any) -> list[Any]:
        """Every output of the graph for its one input."""
        known = {**self._weights, self._input: values}
        for node in self._nodes:
            given = [known[name] for name in node["inputs"]]
            found = self._operators[node["operator"]](node["attributes"], *given)
            known[node["output"]] = found.astype(np.float32) if np.issubdtype(found.dtype, np.floating) else found
        return [known[name] for name in self._outputs]


_INT8_PRODUCT = "MatMulIntegerToFloat"
