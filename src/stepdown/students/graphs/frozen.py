"""The frozen encoder: its graph with the head on the embedding at the end of it."""

from __future__ import annotations

from pathlib import Path

from stepdown.core.students import ArtefactManifest
from stepdown.runtime.encoder import GRAPH
from stepdown.runtime.kinds.frozen import HEAD
from stepdown.runtime.tokeniser import open_tokeniser
from stepdown.students.graphs import Graph, model_of, onnx_package

TEXT = """
head (float[texts, hidden] embedding) => (float[texts, labels] logits) <int64[1] one = {1}, float tiny = {1e-12}> {
    squares = Mul(embedding, embedding)
    square = ReduceSum(squares, one)
    length = Sqrt(square)
    positive = Max(length, tiny)
    unit = Div(embedding, positive)
    logits = Gemm(unit, weight, bias)
}"""


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    """The embedding at length one, times the head. Raises MissingExtra."""
    from safetensors.numpy import load_file

    onnx = onnx_package()
    encoder = onnx.load_model_from_string((folder / GRAPH).read_bytes())
    between = [(encoder.graph.output[0].name, "embedding")]
    model = onnx.compose.merge_models(encoder, model_of(TEXT, load_file(folder / HEAD)), between, prefix2="head.")
    encode = open_tokeniser(folder, manifest).encode
    return Graph(model, lambda text: encode(text)[0][None])
