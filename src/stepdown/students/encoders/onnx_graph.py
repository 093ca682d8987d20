"""Writes an encoder as an ONNX graph, node by node, from its weights: fused operators, int8 matrices, nothing traced.

The graph takes ids of texts that all have the same number of tokens, so it has no mask and no padding, and a text's
answer does not depend on what else is in its batch. Activations are rounded with ranges found beforehand
(`ActivationRanges`), so there is no pass over the data to find them while answering. Tracing would need a larger
training stack and gives twice as many nodes.

Weights of int8 products stay within ±64. A processor with AVX2 and no VNNI adds two products of a uint8 and an int8 in
16 bits, and larger weights saturate there: the same artefact would answer differently from machine to machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import needs

FloatArray = NDArray[np.float32]
ActivationRanges = Mapping[str, tuple[float, float]]
"""The lowest and highest value that goes into each linear layer, by the layer's name."""

LINEAR = ("query_key_value", "mixed", "up", "down")
INPUT, OUTPUT, TAGS = "ids", "output", "tags"
LARGEST_INT8 = 127
LARGEST_FACTOR = 64
"""The largest weight of an int8 product: two products with a uint8 fit into 16 bits, 2 · 255 · 64 < 2¹⁵."""
_MICROSOFT = "com.microsoft"
_OPSET, _IR_VERSION = 17, 8


@dataclass(frozen=True)
class GraphOptions:
    """What the graph is like. ranges: int8 where given, float32 where None. head: logits out, else the embedding.

    tags: the logits of every token's tags come out as well. largest_factor: the bound of the weights of int8 products;
    127 only to measure what the smaller bound costs.
    """

    layers: int
    heads: int
    epsilon: float
    pooling: str
    ranges: ActivationRanges | None
    head: bool
    tags: bool = False
    largest_factor: int = LARGEST_FACTOR


@dataclass
class _Graph:
    """Nodes and constants under construction."""

    onnx: Any
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = attributes.pop("output", f"value_{len(self.nodes)}")
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return str(output)


def write_graph(weights: Mapping[str, FloatArray], options: GraphOptions) -> bytes:
    """A serialised ONNX model. weights: by the names of `encoders.network.Encoder`. Raises MissingExtra."""
    with needs("train", "Writing an encoder"):
        import onnx
    graph = _Graph(onnx)
    x = _embeddings(graph, weights, options)
    for layer in range(options.layers):
        x = _layer(graph, weights, f"layers.{layer}", x, options)
    vectors = x
    last = {} if options.head else {"output": OUTPUT}
    if options.pooling == "first":
        x = graph.node("Gather", [x, graph.constant(np.int64(0))], axis=1, **last)
    else:
        x = graph.node("ReduceMean", [x], axes=[1], keepdims=0, **last)
    if options.head:
        head = [graph.constant(weights["head.weight"]), graph.constant(weights["head.bias"])]
        graph.node("Gemm", [x, *head], transB=1, output=OUTPUT)
    width = weights["head.weight"].shape[0] if options.head else weights["positions"].shape[1]
    shapes: dict[str, list[str | int]] = {OUTPUT: ["texts", width]}
    if options.tags:
        scored = graph.node("MatMul", [vectors, graph.constant(weights["tagger.weight"].T)])
        graph.node("Add", [scored, graph.constant(weights["tagger.bias"])], output=TAGS)
        shapes[TAGS] = ["texts", "tokens", weights["tagger.weight"].shape[0]]
    return _serialised(graph, shapes)


def _serialised(graph: _Graph, outputs: Mapping[str, list[str | int]]) -> bytes:
    helper, types = graph.onnx.helper, graph.onnx.TensorProto
    body = helper.make_graph(
        graph.nodes,
        "encoder",
        [helper.make_tensor_value_info(INPUT, types.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info(name, types.FLOAT, shape) for name, shape in outputs.items()],
        graph.constants,
    )
    operators = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(body, opset_imports=operators, ir_version=_IR_VERSION, producer_name="stepdown")
    return bytes(model.SerializeToString(deterministic=True))


def _embeddings(graph: _Graph, weights: Mapping[str, FloatArray], options: GraphOptions) -> str:
    table = weights["tokens.weight"]
    if options.ranges is None:
        tokens = graph.node("Gather", [graph.constant(table), INPUT])
    else:
        rounded, scales = rounded_rows(table)
        exact = graph.node("Cast", [graph.node("Gather", [graph.constant(rounded), INPUT])], to=1)
        tokens = graph.node("Mul", [exact, graph.node("Gather", [graph.constant(scales[:, None]), INPUT])])
    shape = graph.node("Shape", [INPUT])
    length = graph.node("Slice", [shape, graph.constant(np.array([1])), graph.constant(np.array([2]))])
    bounds = [graph.constant(np.array([0])), length, graph.constant(np.array([0]))]
    positions = graph.node("Slice", [graph.constant(weights["positions"]), *bounds])
    x = graph.node("Add", [tokens, positions])
    norm = [graph.constant(weights["embedding_norm.weight"]), graph.constant(weights["embedding_norm.bias"])]
    return graph.node("LayerNormalization", [x, *norm], axis=-1, epsilon=options.epsilon)


def _layer(graph: _Graph, weights: Mapping[str, FloatArray], layer: str, x: str, options: GraphOptions) -> str:
    attended = _attention(graph, weights, f"{layer}.query_key_value", x, options)
    mixed = _linear(graph, weights, f"{layer}.mixed", attended, options)
    x = _normed(graph, weights, f"{layer}.attention_norm", (mixed, x), options)
    up = graph.node("Gelu", [_linear(graph, weights, f"{layer}.up", x, options)], domain=_MICROSOFT)
    down = _linear(graph, weights, f"{layer}.down", up, options)
    return _normed(graph, weights, f"{layer}.output_norm", (down, x), options)


def _attention(graph: _Graph, weights: Mapping[str, FloatArray], name: str, x: str, options: GraphOptions) -> str:
    weight, bias = weights[f"{name}.weight"], graph.constant(weights[f"{name}.bias"])
    if options.ranges is None:
        inputs = [x, graph.constant(weight.T), bias]
        return graph.node("Attention", inputs, domain=_MICROSOFT, num_heads=options.heads)
    values, step, zero = _rounded_input(graph, x, options.ranges[name])
    rounded, scales = rounded_rows(weight, options.largest_factor)
    no_mask, zeros = "", graph.constant(np.zeros(len(scales), dtype=np.int8))
    inputs = [values, graph.constant(rounded.T), bias, step, graph.constant(scales), no_mask, zero, zeros]
    return graph.node("QAttention", inputs, domain=_MICROSOFT, num_heads=options.heads)


def _linear(graph: _Graph, weights: Mapping[str, FloatArray], name: str, x: str, options: GraphOptions) -> str:
    weight, bias = weights[f"{name}.weight"], graph.constant(weights[f"{name}.bias"])
    if options.ranges is None:
        return graph.node("Add", [graph.node("MatMul", [x, graph.constant(weight.T)]), bias])
    values, step, zero = _rounded_input(graph, x, options.ranges[name])
    rounded, scales = rounded_rows(weight, options.largest_factor)
    zeros = graph.constant(np.zeros(len(scales), dtype=np.int8))
    inputs = [values, graph.constant(rounded.T), step, graph.constant(scales), zero, zeros, bias]
    return graph.node("MatMulIntegerToFloat", inputs, domain=_MICROSOFT)


def _normed(
    graph: _Graph, weights: Mapping[str, FloatArray], name: str, summands: tuple[str, str], options: GraphOptions
) -> str:
    norm = [graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])]
    return graph.node("SkipLayerNormalization", [*summands, *norm], domain=_MICROSOFT, epsilon=options.epsilon)


def _rounded_input(graph: _Graph, x: str, bounds: tuple[float, float]) -> tuple[str, str, str]:
    """x as uint8, with the names of its step and zero point. Values outside of the bounds saturate."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    step = np.float32(max(high - low, 1e-6) / 255.0)
    zero = np.uint8(np.clip(np.rint(-low / step), 0, 255))
    names = graph.constant(np.array([step])), graph.constant(np.array([zero]))
    return graph.node("QuantizeLinear", [x, *names]), *names


def rounded_rows(matrix: FloatArray, largest: int = LARGEST_INT8) -> tuple[NDArray[np.int8], FloatArray]:
    """Symmetric int8 in ±largest with one scale for each row: (rounded (rows, columns), scales (rows,))."""
    scales = (np.abs(matrix).max(axis=1) / largest).astype(np.float32)
    scales[scales == 0.0] = 1.0
    return np.clip(np.rint(matrix / scales[:, None]), -largest, largest).astype(np.int8), scales
