"""The token CNN as a graph: three int8 rows a token, windows of three, two poolings and a product."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.kinds.token_cnn import TABLES, TINY
from stepdown.runtime.tokeniser import open_tokeniser
from stepdown.students.graphs import Graph, model_of

# Nothing is below zero, so that a row of zeros changes no pooling, and a text without tokens has one to pool.
TEXT = f"""
token_cnn (int64[tokens] ids) => (float[labels] logits)
<int64[1] start = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] end = {{9223372036854775807}},
 int64[1] last = {{-1}}, int64[1] before_last = {{-2}}, int64 here = {{1}}, int64 before = {{0}}, int64 after = {{2}},
 float least = {{1}}> {{
    whole = Gather(tables, ids)
    values = Cast<to = 1>(whole)
    steps = Gather(scales, ids)
    rows = Mul(values, steps)
    padded = Concat<axis = 0>(edge, rows, edge)
    left = Slice(padded, start, before_last)
    middle = Slice(padded, one, last)
    right = Slice(padded, two, end)
    of_left = Gather<axis = 1>(left, before)
    of_middle = Gather<axis = 1>(middle, here)
    of_right = Gather<axis = 1>(right, after)
    sum = Sum(of_middle, offset, of_left, of_right)
    hidden = Relu(sum)
    some = Concat<axis = 0>(hidden, nothing)
    largest = ReduceMax<axes = [0], keepdims = 0>(some)
    total = ReduceSum<keepdims = 0>(some, start)
    shape = Shape(ids)
    count = Cast<to = 1>(shape)
    length = Max(count, least)
    root = Sqrt(length)
    mean = Div(total, root)
    pooled = Concat<axis = 0>(largest, mean)
    normed = LayerNormalization<axis = -1, epsilon = {TINY}>(pooled, ones, zeros)
    product = MatMul(normed, weight)
    logits = Add(product, bias)
}}"""


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    """The formula of `students/token_windows.py`, with a row of zeros before and after a text. Raises MissingExtra."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / TABLES)
    hidden = len(arrays["offset"])
    weights = {name: arrays[name] for name in ("offset", "weight", "bias")}
    weights |= {"tables": arrays["tables"].reshape(-1, 3, hidden), "scales": arrays["scales"].reshape(-1, 3, 1)}
    weights |= {"edge": np.zeros((1, 3, hidden), np.float32), "nothing": np.zeros((1, hidden), np.float32)}
    weights |= {"ones": np.ones(2 * hidden, np.float32), "zeros": np.zeros(2 * hidden, np.float32)}
    encode = open_tokeniser(folder, manifest).encode
    return Graph(model_of(TEXT, weights), lambda text: encode(text)[0])
