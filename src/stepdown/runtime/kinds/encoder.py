"""encoder: tokens through an ONNX graph, then the surest label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepdown.core.dataset import Answer
from stepdown.core.inputs import Input
from stepdown.core.students import ONNXRUNTIME, ArtefactManifest, Device, Predictions
from stepdown.runtime.encoder import ServedEncoder, open_encoder
from stepdown.runtime.signals import SIGNALS, label_predictions, one_answer

RUNTIME = ONNXRUNTIME
SIGNAL_NAMES = (*SIGNALS, "truncated")


class EncoderStudent:
    """An opened encoder."""

    kind = "encoder"
    signal_names = SIGNAL_NAMES

    def __init__(self, labels: tuple[str, ...], encoder: ServedEncoder) -> None:
        self._labels = labels
        self._encoder = encoder

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        logits, truncated = self._encoder.run(input.text)
        best, *signals = one_answer(logits)
        return self._labels[best], (*signals, float(truncated))

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with probabilities."""
        logits, truncated = self._encoder.run_many([input.text for input in inputs])
        return label_predictions(self._labels, logits, truncated)


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> EncoderStudent:
    """Read the tokenizer and load the graph."""
    return EncoderStudent(manifest.labels, open_encoder(folder, manifest, threads, device))
