"""frozen: tokens through an ONNX graph to an embedding, then a linear head and the surest label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer
from stepdown.core.inputs import Input
from stepdown.core.students import ONNXRUNTIME, ArtefactManifest, Device, Predictions
from stepdown.runtime.encoder import ServedEncoder, open_encoder
from stepdown.runtime.signals import SIGNALS, label_predictions, one_answer

RUNTIME = ONNXRUNTIME
SIGNAL_NAMES = (*SIGNALS, "truncated")
HEAD = "head.safetensors"
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SoftmaxHead:
    """logits = features @ weight + bias. weight: float32 (dimensions, labels); bias: float32 (labels,)."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, features: FloatArray) -> FloatArray:
        """float32 (n, labels) for features (n, dimensions)."""
        scores: FloatArray = features @ self.weight + self.bias
        return scores


def unit(embeddings: FloatArray) -> FloatArray:
    """Embeddings (n, hidden) at length one, as sentence encoders are trained to be compared."""
    lengths = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))[:, None]
    scaled: FloatArray = embeddings / np.maximum(lengths, 1e-12)
    return scaled


class FrozenStudent:
    """An opened frozen encoder with its head."""

    kind = "frozen"
    signal_names = SIGNAL_NAMES

    def __init__(self, labels: tuple[str, ...], encoder: ServedEncoder, head: SoftmaxHead) -> None:
        self._labels = labels
        self._encoder = encoder
        self._head = head

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        embedding, truncated = self._encoder.run(input.text)
        best, *signals = one_answer(self._head.logits(unit(embedding[None]))[0])
        return self._labels[best], (*signals, float(truncated))

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with probabilities."""
        embeddings, truncated = self._encoder.run_many([input.text for input in inputs])
        logits = self._head.logits(unit(embeddings))
        return label_predictions(self._labels, logits, truncated)


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> FrozenStudent:
    """Read the tokenizer and the head, load the graph."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / HEAD)
    head = SoftmaxHead(arrays["weight"], arrays["bias"])
    return FrozenStudent(manifest.labels, open_encoder(folder, manifest, threads, device), head)
